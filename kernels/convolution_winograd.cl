// 3x3 convolution at stride 1 for CPU devices (the cpu profile) by Winograd's F(4x4, 3x3) or F(2x2, 3x3): forward, and with turned
// weights the input gradient. Channels-last values; channels and outputs are multiples of 16; weights packed by pack_weights.cl.
//
// A work-item takes every get_global_size(0)-th group of tiles and carries each through all three steps in scratch memory of
// its own that stays in cache: AREA transformed values per tile and channel, AREA matrix products, the way back with bias,
// residual and rectifier. A tile's result depends on nothing but the tile.
#include "common/tile.clh"
#include "common/winograd_tile.clh"

#ifndef GROUP_TILES
#define GROUP_TILES 192  // most tiles of a group
#endif
// Asks, for tile t + r at frequency f, for where one of its results goes and for what is added to it, or after those for one pixel that
// the worker's next group reads: a group multiplies for longer than memory takes to answer.
#define PREFETCH_PIXEL(r) \
    if (f < RESULTS * RESULTS) { \
        const ulong at = (result_pixels[t + r] + (ulong)(f / RESULTS * output_width + f % RESULTS)) * outputs + lane0; \
        TILE_LINES(PREFETCH_LEVEL2, y + y_offset + at) \
        if (add_residual) { TILE_LINES(PREFETCH_LEVEL2, residual + residual_offset + at) } \
    } else if (f < 2 * RESULTS * RESULTS && lane0 == 0) { \
        const int pixel = f - RESULTS * RESULTS; \
        const ulong at = (next_pixels[t + r] + (ulong)(pixel / RESULTS * width + pixel % RESULTS)) * channels; \
        for (int c = 0; c < channels; c += 16) PREFETCH_LEVEL2(x + x_offset + at + c) \
    }

// group_tiles: tiles per group, a multiple of ROWS, at most GROUP_TILES. scratch: AREA * (group_tiles * (channels + outputs) + 32)
// floats per work-item. packed: [AREA][outputs / BLOCK][channels][BLOCK]. The residual may be y itself. Global size: [workers].
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void convolution_winograd(
    const int batch, const int height, const int width, const int channels, const int output_height, const int output_width,
    const int outputs, const int padding, const int group_tiles,
    global const x_t *restrict x, const ulong x_offset, global const float *restrict packed, const ulong packed_offset,
    global const float *restrict bias, const ulong bias_offset, global const residual_t *residual, const ulong residual_offset,
    global y_t *y, const ulong y_offset, global float *restrict scratch, const ulong scratch_offset,
    const int add_bias, const int add_residual, const int rectify)
{
    const int columns = (output_width + RESULTS - 1) / RESULTS, rows = (output_height + RESULTS - 1) / RESULTS;
    const int tiles = batch * columns * rows;
    // 16 floats more than a power of two: AREA addresses at equal distances must not share one cache set.
    const int input_stride = group_tiles * channels + 16, output_stride = group_tiles * outputs + 16;
    global float *restrict transformed =
        scratch + scratch_offset + get_global_id(0) * (ulong)(AREA * (input_stride + output_stride));
    global float *restrict products = transformed + AREA * input_stride;
    // A rectifier without a branch that lets a NaN through, as relu_v does.
    const real_v least = splat_v(rectify ? 0.0f : -INFINITY);
    // In the first of the gaps.
    store_v(splat_v(0.0f), transformed + group_tiles * channels);
    global const x_t *zeros = (global const x_t *)(transformed + group_tiles * channels);

    for (int begin = (int)get_global_id(0) * group_tiles; begin < tiles; begin += (int)get_global_size(0) * group_tiles) {
        const int count = min(group_tiles, tiles - begin);
        const int padded_count = (count + ROWS - 1) / ROWS * ROWS;
        // The first pixel of each tile's results, and of what the tile in its place in the next group reads.
        ulong result_pixels[GROUP_TILES], next_pixels[GROUP_TILES];
        for (int t = 0; t < padded_count; ++t) {
            const int tile = begin + min(t, count - 1);  // rows beyond the last tile repeat it and are dropped
            const int later = tile + (int)get_global_size(0) * group_tiles;
            result_pixels[t] = ((ulong)(tile / columns / rows) * output_height + tile / columns % rows * RESULTS) * output_width
                + tile % columns * RESULTS;
            next_pixels[t] =
                ((ulong)(later / columns / rows) * height + later / columns % rows * RESULTS) * width + later % columns * RESULTS;
            const int left = tile % columns * RESULTS - padding, top = tile / columns % rows * RESULTS - padding;
            global const x_t *tile_origin =
                x + x_offset + (((long)(tile / columns / rows) * height + top) * width + left) * channels;
            for (int c = 0; c < channels; c += LANES) {
                real_v r[AREA];
                global const x_t *origin = tile_origin + c;
                READ_TILE(r, origin, zeros, top, left, height, width, channels)
                global float *restrict to = transformed + t * channels + c;
                _Pragma("unroll") for (int j = 0; j < RESULTS + 2; ++j) TRANSFORM_COLUMN(j)
            }
        }
        for (int f = 0; f < AREA; ++f) {
            for (int lane0 = 0; lane0 < outputs; lane0 += BLOCK) {
                global const float *restrict weights = packed + packed_offset + ((ulong)f * outputs + lane0) * channels;
                for (int t = 0; t < padded_count; t += ROWS) {
                    global const float *restrict a = transformed + f * input_stride + t * channels;
                    const int a_stride = channels;
                    global float *restrict first = products + f * output_stride + t * outputs + lane0;
                    const int first_stride = outputs;
                    EACH_ROW(TILE_ZERO)
                    global const float *next = weights + BLOCK * channels;
                    if (channels < 4 * ROWS) {
                        for (int r = 0; r < ROWS; ++r) PREFETCH_PIXEL(r)
                        TILE_MULTIPLY_AHEAD(channels, weights, next)
                    } else TILE_MULTIPLY_ASKING(channels, weights, PREFETCH_PIXEL, TILE_LINES(PREFETCH_LEVEL2, next + k * BLOCK))
                    EACH_ROW(TILE_STORE)
                }
            }
        }
        for (int t = 0; t < count; ++t) {
            const int tile = begin + t;
            const int column = tile % columns * RESULTS, row = tile / columns % rows * RESULTS;
            for (int lane = 0; lane < outputs; lane += LANES) {
                const real_v start = add_bias ? load_v(bias + bias_offset + lane) : splat_v(0.0f);
                real_v r[(RESULTS + 2) * RESULTS];
                global const float *restrict m = products + t * outputs + lane;
                _Pragma("unroll") for (int i = 0; i < RESULTS + 2; ++i) { RETURN_ROW(i) }
                const ulong at = result_pixels[t] * outputs + lane;
                if (row + RESULTS <= output_height && column + RESULTS <= output_width) {
                    _Pragma("unroll") for (int j = 0; j < RESULTS; ++j) RETURN_COLUMN(j, ALWAYS_THERE)
                } else {
                    _Pragma("unroll") for (int j = 0; j < RESULTS; ++j) RETURN_COLUMN(j, IF_INSIDE)
                }
            }
        }
    }
}
