// Between the library's logical order (NCHW) and the order on the device (NHWC).
// Global size: at least count = batch * plane * channels; a mode writes (1) or adds to what is there (2).
#include "common/storage.clh"

kernel void nchw_to_nhwc(
    const ulong count, const int channels, const int plane, global const float *restrict x, const ulong x_offset, global float *restrict y,
    const ulong y_offset, const int mode)
{
    const ulong e = get_global_id(0);
    if (e >= count) return;
    const ulong c = e % (ulong)channels, r = e / (ulong)channels;
    const ulong n = r / (ulong)plane, p = r % (ulong)plane;
    const float v = x[x_offset + (n * channels + c) * plane + p];
    const ulong i = y_offset + e;
    y[i] = mode == 2 ? y[i] + v : v;
}

kernel void nhwc_to_nchw(
    const ulong count, const int channels, const int plane, global const x_t *restrict x, const ulong x_offset, global float *restrict y,
    const ulong y_offset, const int mode)
{
    const ulong e = get_global_id(0);
    if (e >= count) return;
    const ulong c = e % (ulong)channels, r = e / (ulong)channels;
    const ulong n = r / (ulong)plane, p = r % (ulong)plane;
    const float v = load_x(x + x_offset + e);
    const ulong i = y_offset + (n * channels + c) * plane + p;
    y[i] = mode == 2 ? y[i] + v : v;
}
