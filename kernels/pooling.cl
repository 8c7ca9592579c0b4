// Global average pooling of channels-last values: [batch, plane, channels] -> [batch, channels].
#include "common/lanes.clh"
#if defined(__x86_64__) || defined(__aarch64__)
#define UNROLL_PIXELS // its compiler warns that it cannot
#else
#define UNROLL_PIXELS _Pragma("unroll 16") // loads in flight
#endif

// Global size: [ceil(channels / VECTOR), batch].
kernel void global_average_pool_forward(
    const int channels, const int plane, global const x_t *restrict x, const ulong x_offset, global y_t *restrict y,
    const ulong y_offset)
{
    ITEM_CHANNELS(channels)
    const ulong n = get_global_id(1);
    global const x_t *restrict p = x + x_offset + n * (ulong)plane * channels + c;
    real_v sum = (real_v)(0.0f);
    UNROLL_PIXELS for (int i = 0; i < plane; ++i) sum += load_x_lanes(p + (ulong)i * channels, lanes);
    store_y_lanes(sum / (float)plane, y + y_offset + n * channels + c, lanes, 1);
}

// dx = dy / plane, written (mode 1) or added (mode 2). Global size: [ceil(channels / VECTOR), batch].
kernel void global_average_pool_backward(
    const int channels, const int plane, global const float *restrict dy, const ulong dy_offset,
    global float *restrict dx, const ulong dx_offset, const int mode)
{
    ITEM_CHANNELS(channels)
    const ulong n = get_global_id(1);
    const real_v g = load_lanes(dy + dy_offset + n * channels + c, lanes) / (float)plane;
    global float *restrict p = dx + dx_offset + n * (ulong)plane * channels + c;
    for (int i = 0; i < plane; ++i) store_lanes(g, p + (ulong)i * channels, lanes, mode);
}
