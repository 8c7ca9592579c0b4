// 3x3 convolution at stride 1 for GPU devices (the gpu profile) by Winograd's F(4x4, 3x3): forward, and with turned weights the
// input gradient. Some images at a time in three launches, of which the one between these two is 36 products by
// convolution_tiles.cl (PLANES): [tiles][channels] of every frequency by [channels][outputs].
//
// An item is one channel of one tile: neighbours read and write neighbours. Global size: [tiles * channels], of the way back
// [tiles * outputs].
#define LANES 1
#define VECTOR 1
#define splat_v(x) (x)
#include "common/vector.clh"
#include "common/winograd_tile.clh"

// transformed [36][tiles][channels] from x [images, height, width, channels].
kernel void winograd_transform_input(
    const int tiles, const int height, const int width, const int channels, const int output_height, const int output_width,
    const int padding, global const x_t *restrict x, const ulong x_offset,
    global float *restrict transformed, const ulong transformed_offset)
{
    const int columns = (output_width + RESULTS - 1) / RESULTS, rows = (output_height + RESULTS - 1) / RESULTS;
    const int id = (int)get_global_id(0), c = id % channels, tile = id / channels;
    const int left = tile % columns * RESULTS - padding, top = tile / columns % rows * RESULTS - padding;
    global const x_t *origin = x + x_offset + (((long)(tile / columns / rows) * height + top) * width + left) * channels + c;
    real_v r[AREA];
    READ_TILE(r, origin, origin, top, left, height, width, channels)
    const ulong input_stride = (ulong)tiles * channels;
    global float *restrict to = transformed + transformed_offset + id;
    _Pragma("unroll") for (int j = 0; j < RESULTS + 2; ++j) TRANSFORM_COLUMN(j)
}

// y [images, output_height, output_width, outputs] from products [36][tiles][outputs]. The residual may be y itself.
kernel void winograd_transform_output(
    const int tiles, const int output_height, const int output_width, const int outputs,
    global const float *restrict products, const ulong products_offset,
    global const float *restrict bias, const ulong bias_offset, global const residual_t *residual, const ulong residual_offset,
    global y_t *y, const ulong y_offset, const int add_bias, const int add_residual, const int rectify)
{
    const int columns = (output_width + RESULTS - 1) / RESULTS, rows = (output_height + RESULTS - 1) / RESULTS;
    const int id = (int)get_global_id(0), lane = id % outputs, tile = id / outputs;
    const int column = tile % columns * RESULTS, row = tile / columns % rows * RESULTS;
    // A rectifier without a branch that lets a NaN through, as relu_v does.
    const real_v least = rectify ? 0.0f : -INFINITY, start = add_bias ? bias[bias_offset + lane] : 0.0f;
    const ulong output_stride = (ulong)tiles * outputs;
    global const float *restrict m = products + products_offset + id;
    const ulong at = (((ulong)(tile / columns / rows) * output_height + row) * output_width + column) * outputs + lane;
    real_v r[(RESULTS + 2) * RESULTS];
    _Pragma("unroll") for (int i = 0; i < RESULTS + 2; ++i) { RETURN_ROW(i) }
    _Pragma("unroll") for (int j = 0; j < RESULTS; ++j) RETURN_COLUMN(j, IF_INSIDE)
}
