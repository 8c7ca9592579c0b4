// Convolution of any size, stride and padding for GPU devices (the gpu profile), as a product whose tiles are gathered from the
// images into local memory when they are needed: no patches in global memory. Channels-last values, OIHW weights.
//
// A work-group of SIDE x SIDE items computes a tile of SIDE * 4 by SIDE * LANES sums, DEPTH products at a time; each item 4 *
// LANES of them. Every sum is added in one order, whatever the device. memory: DEPTH * (ROW_STRIDE + LANE_STRIDE) floats, for
// TF32 2 6 per item more; an argument, because of an array in the kernel PoCL 3.1 leaves some uses to all threads at once.
#ifndef LANES
#define LANES 4  // sums along the channels that are computed, in units of SIDE: 1, 2 or 4
#endif
#define TILE_ROWS 4
#define TILE_LANES LANES
#include "common/tile_product.clh"

// The product's depth runs over (kernel position, channel): the position `tap` and the channel `c` of element `d` of a chunk.
// Channels in whole chunks keep one position per chunk, all positions of 16 channels after each other: their weights are
// neighbours in memory.
#define LOCATE(d, c, tap) \
    if (whole) { \
        c = chunk / taps * DEPTH + (d); \
        tap = chunk % taps; \
    } else { \
        tap = (chunk * DEPTH + (d)) / channels; \
        c = (chunk * DEPTH + (d)) % channels; \
    }

// y [batch, output_height, output_width, outputs] from x [batch, height, width, channels].
// transposed 0: the forward pass. 1: the input gradient, x is dy and y is dx. Pixels of dx whose row and column have the same
// remainders by the stride see the same kernel positions: each such phase is a product of its own, and the third dimension.
// The residual may be y itself. Work-groups: [rows of tiles of the largest phase, outputs / (SIDE * LANES), phases].
kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void convolution_tiles(
    const int batch, const int height, const int width, const int channels, const int output_height, const int output_width,
    const int outputs, const int kernel_size, const int stride, const int padding, const int transposed,
    global const float *restrict x, const ulong x_offset, global const float *restrict weights, const ulong weights_offset,
    global const float *restrict bias, const ulong bias_offset, global const float *residual, const ulong residual_offset,
    global float *y, const ulong y_offset, const int add_bias, const int add_residual, const int rectify,
    local float *memory)
{
    local float *rows = memory, *lanes = memory + DEPTH * ROW_STRIDE;
    const int item = (int)get_local_id(1) * SIDE + (int)get_local_id(0);
    const int row0 = (int)get_group_id(0) * SIDE * 4, lane0 = (int)get_group_id(1) * SIDE * LANES;
    const int phase = (int)get_group_id(2);

    // Results of this phase lie `step` apart; result (a, b) reads (a, b) * move + start, then `turn` further per position.
    const int step = transposed ? stride : 1, move = transposed ? 1 : stride, turn = transposed ? -1 : 1;
    const int h_first = phase / step, w_first = phase % step;
    const int lines = h_first < output_height ? (output_height - h_first - 1) / step + 1 : 0;
    const int columns = w_first < output_width ? (output_width - w_first - 1) / step + 1 : 0;
    const int results = batch * lines * columns;
    const int kh_first = transposed ? (h_first + padding) % stride : 0, kw_first = transposed ? (w_first + padding) % stride : 0;
    const int kh_taps = kh_first < kernel_size ? (kernel_size - kh_first - 1) / step + 1 : 0;
    const int kw_taps = kw_first < kernel_size ? (kernel_size - kw_first - 1) / step + 1 : 0;
    const int h_start = transposed ? (h_first + padding - kh_first) / stride : -padding;
    const int w_start = transposed ? (w_first + padding - kw_first) / stride : -padding;
    const int taps = kh_taps * kw_taps, area = kernel_size * kernel_size;
    const int lane_step = transposed ? area : channels * area, depth_step = transposed ? outputs * area : area;
    const int whole = channels % DEPTH == 0;
    const int chunks = whole ? channels / DEPTH * taps : (taps * channels + DEPTH - 1) / DEPTH;

    // What this item gathers: element item % DEPTH of four rows.
    int h_from[4], w_from[4];
    ulong image[4];
    for (int r = 0; r < 4; ++r) {
        const int result = row0 + item / DEPTH + SIDE * r;
        const int inside = result < results;
        const int b = inside ? result % columns : 0, a = inside ? result / columns % lines : 0;
        h_from[r] = inside ? a * move + h_start : -(1 << 30);
        w_from[r] = b * move + w_start;
        image[r] = x_offset + (inside ? (ulong)(result / columns / lines) * (ulong)(height * width) * channels : 0);
    }

    float sum[ITEM_ROWS][ITEM_LANES];
    for (int r = 0; r < ITEM_ROWS; ++r)
        for (int q = 0; q < ITEM_LANES; ++q) sum[r][q] = 0.0f;

    for (int chunk = 0; chunk < chunks; ++chunk) {
        int c, tap;
        LOCATE(item % DEPTH, c, tap)
        const int i = tap < taps ? tap / kw_taps * turn : 0, j = tap < taps ? tap % kw_taps * turn : 0;
        for (int r = 0; r < 4; ++r) {
            const int h = h_from[r] + i, w = w_from[r] + j;
            float v = 0.0f;
            if (tap < taps && h >= 0 && h < height && w >= 0 && w < width)
                v = x[image[r] + ((ulong)h * width + w) * channels + c];
            rows[item % DEPTH * ROW_STRIDE + item / DEPTH + SIDE * r] = OPERAND(v);
        }
        for (int q = 0; q < LANES; ++q) {
            // Neighbouring items read neighbouring weights.
            const int d = transposed ? item / (SIDE * LANES) + DEPTH / LANES * q : item % DEPTH;
            const int l = transposed ? item % (SIDE * LANES) : item / DEPTH + SIDE * q;
            LOCATE(d, c, tap)
            float v = 0.0f;
            if (tap < taps && lane0 + l < outputs) {
                const int position = (kh_first + tap / kw_taps * step) * kernel_size + kw_first + tap % kw_taps * step;
                v = weights[weights_offset + (ulong)(lane0 + l) * lane_step + (ulong)c * depth_step + position];
            }
            lanes[d * LANE_STRIDE + l] = OPERAND(v);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply_tile(sum, rows, lanes, item, memory + EXCHANGE);
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    for (int r = 0; r < ITEM_ROWS; ++r) {
        const int result = row0 + TILE_ROW(item, r);
        if (result < results) {
            const int h = result / columns % lines * step + h_first, w = result % columns * step + w_first;
            const ulong at = (((ulong)(result / columns / lines) * output_height + h) * output_width + w) * outputs;
            for (int q = 0; q < ITEM_LANES; ++q) {
                const int lane = lane0 + TILE_LANE(item, q);
                if (lane < outputs) {
                    float v = sum[r][q];
                    if (add_bias) v += bias[bias_offset + lane];
                    if (add_residual) v += residual[residual_offset + at + lane];
                    y[y_offset + at + lane] = rectify && v < 0.0f ? 0.0f : v;
                }
            }
        }
    }
}
