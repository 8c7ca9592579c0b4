// Operations on values element by element, and per-channel additions on channels-last values.
// `count` elements; each work-item takes ITEM of them, in order. A mode writes (1) or adds to what is there (2).
#include "common/storage.clh"
#ifndef ITEM
#define ITEM 1  // elements per work-item; on a CPU large enough to amortise a work-item
#endif
#define FOR_ITEM(i, count) \
    const ulong item_first = get_global_id(0) * (ulong)(ITEM); \
    const ulong item_last = min(item_first + (ulong)(ITEM), (ulong)(count)); \
    for (ulong i = item_first; i < item_last; ++i)

// y = max(x, 0); a NaN passes.
kernel void relu_forward(
    const ulong count, global const x_t *restrict x, const ulong x_offset, global y_t *restrict y, const ulong y_offset)
{
    FOR_ITEM(i, count) {
        const float v = load_x(x + x_offset + i);
        store_y(v < 0.0f ? 0.0f : v, y + y_offset + i);
    }
}

// dx = dy where y > 0.
kernel void relu_backward(
    const ulong count, global const float *restrict y, const ulong y_offset, global const float *restrict dy,
    const ulong dy_offset, global float *restrict dx, const ulong dx_offset, const int mode)
{
    FOR_ITEM(i, count) {
        const float g = y[y_offset + i] <= 0.0f ? 0.0f : dy[dy_offset + i];
        dx[dx_offset + i] = mode == 2 ? dx[dx_offset + i] + g : g;
    }
}

// y = min(max(x, 0), 6); a NaN passes. x and y may be one value.
kernel void relu6_forward(
    const ulong count, global const x_t *x, const ulong x_offset, global y_t *y, const ulong y_offset)
{
    FOR_ITEM(i, count) {
        const float v = load_x(x + x_offset + i);
        store_y(v < 0.0f ? 0.0f : v > 6.0f ? 6.0f : v, y + y_offset + i);
    }
}

// dx = dy where 0 < y < 6.
kernel void relu6_backward(
    const ulong count, global const float *restrict y, const ulong y_offset, global const float *restrict dy,
    const ulong dy_offset, global float *restrict dx, const ulong dx_offset, const int mode)
{
    FOR_ITEM(i, count) {
        const float v = y[y_offset + i];
        const float g = v <= 0.0f || v >= 6.0f ? 0.0f : dy[dy_offset + i];
        dx[dx_offset + i] = mode == 2 ? dx[dx_offset + i] + g : g;
    }
}

// y = a + b.
kernel void add_forward(
    const ulong count, global const x_t *restrict a, const ulong a_offset, global const residual_t *restrict b,
    const ulong b_offset, global y_t *restrict y, const ulong y_offset)
{
    FOR_ITEM(i, count) store_y(load_x(a + a_offset + i) + load_residual(b + b_offset + i), y + y_offset + i);
}

// dx = dy: the backward of an addition towards one of its inputs.
kernel void add_backward(
    const ulong count, global const float *restrict dy, const ulong dy_offset, global float *restrict dx,
    const ulong dx_offset, const int mode)
{
    FOR_ITEM(i, count) dx[dx_offset + i] = mode == 2 ? dx[dx_offset + i] + dy[dy_offset + i] : dy[dy_offset + i];
}

// In place: y = y + bias[channel]. Channels-last, count = rows * channels.
kernel void add_bias(
    const ulong count, const int channels, global const float *restrict bias, const ulong bias_offset, global float *restrict y,
    const ulong y_offset)
{
    FOR_ITEM(i, count) y[y_offset + i] += bias[bias_offset + i % (ulong)channels];
}
