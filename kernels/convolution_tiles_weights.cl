// The weight gradient of a convolution for GPU devices (the gpu profile), as a product whose tiles are gathered into local memory,
// like convolution_tiles.cl. memory as there.
#ifndef LANES
#define LANES 4  // sums along the outputs, in units of SIDE: 1, 2 or 4
#endif
#define TILE_ROWS LANES
#define TILE_LANES 4
#include "common/tile_product.clh"
#define SPAN (8 * DEPTH)

// partial[group][output][kernel position][channel]: the weight gradient of the group_pixels output pixels of a group, SIDE *
// LANES outputs by SIDE * 4 columns at a time. Work-groups: [columns / (SIDE * 4), outputs / (SIDE * LANES), groups].
kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void convolution_tiles_weight_partial(
    const int pixels, const int height, const int width, const int channels, const int output_height, const int output_width,
    const int outputs, const int kernel_size, const int stride, const int padding, const int group_pixels,
    global const float *restrict x, const ulong x_offset, global const float *restrict dy, const ulong dy_offset,
    global float *restrict partial, const ulong partial_offset, local float *memory)
{
    local float *rows = memory, *lanes = memory + DEPTH * ROW_STRIDE;
    const int item = (int)get_local_id(1) * SIDE + (int)get_local_id(0);
    const int column0 = (int)get_group_id(0) * SIDE * 4, output0 = (int)get_group_id(1) * SIDE * LANES;
    const int depth = kernel_size * kernel_size * channels;
    const int begin = (int)get_group_id(2) * group_pixels, end = min(begin + group_pixels, pixels);

    // The column of the patches that this item gathers.
    const int own = column0 + item % (SIDE * 4), tap = own / channels, c = own % channels;
    const int h_start = tap / kernel_size - padding, w_start = tap % kernel_size - padding;

    // Sums of SPAN pixels are added to the total: one sum over a whole group would gather the rounding of every pixel.
    float sum[ITEM_ROWS][ITEM_LANES], total[ITEM_ROWS][ITEM_LANES];
    for (int r = 0; r < ITEM_ROWS; ++r)
        for (int q = 0; q < ITEM_LANES; ++q) sum[r][q] = total[r][q] = 0.0f;

    for (int first = begin; first < end; first += DEPTH) {
        for (int q = 0; q < 4; ++q) {
            const int d = item / (SIDE * 4) + 4 * q, pixel = first + d;
            float v = 0.0f;
            if (own < depth && pixel < end) {
                const int h = pixel / output_width % output_height * stride + h_start, w = pixel % output_width * stride + w_start;
                if (h >= 0 && h < height && w >= 0 && w < width)
                    v = x[x_offset + (((ulong)(pixel / output_width / output_height) * height + h) * width + w) * channels + c];
            }
            lanes[d * LANE_STRIDE + item % (SIDE * 4)] = OPERAND(v);
        }
        for (int q = 0; q < LANES; ++q) {
            const int d = item / (SIDE * LANES) + DEPTH / LANES * q, o = item % (SIDE * LANES);
            const float v =
                first + d < end && output0 + o < outputs ? dy[dy_offset + (ulong)(first + d) * outputs + output0 + o] : 0.0f;
            rows[d * ROW_STRIDE + o] = OPERAND(v);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply_tile(sum, rows, lanes, item, memory + EXCHANGE);
        barrier(CLK_LOCAL_MEM_FENCE);
        if ((first + DEPTH - begin) % SPAN == 0 || first + DEPTH >= end) {
            for (int r = 0; r < ITEM_ROWS; ++r)
                for (int q = 0; q < ITEM_LANES; ++q) {
                    total[r][q] += sum[r][q];
                    sum[r][q] = 0.0f;
                }
        }
    }

    for (int r = 0; r < ITEM_ROWS; ++r) {
        const int o = output0 + TILE_ROW(item, r);
        for (int q = 0; q < ITEM_LANES; ++q) {
            const int at = column0 + TILE_LANE(item, q);
            if (o < outputs && at < depth)
                partial[partial_offset + ((ulong)get_group_id(2) * outputs + o) * depth + at] = total[r][q];
        }
    }
}
