// The weight gradient of a convolution for GPU devices (the gpu profile), as a product whose tiles are gathered into local memory,
// like convolution_tiles.cl. tiles as there.
#ifndef LANES
#define LANES 4  // outputs of a work-group, in units of 16: 1, 2 or 4, for tf32 8 too
#endif
#ifndef QUADS_X
#define QUADS_X 0  // 4 channels of x, and of a row of partial, are neighbours from a multiple of 16 bytes on
#endif
#ifndef QUADS_DY
#define QUADS_DY 0  // 4 channels of dy are
#endif
#define TILE_ROWS (16 * LANES)
#define TILE_LANES 64
#define ROWS_FIRST 0
#include "common/tile_product.clh"
#include "common/distance.clh"
#define SPAN (8 * DEPTH)
// What an item gathers: 4 columns of the patches of every PATCH_STEPth pixel, 4 outputs of every DY_STEPth.
#define PATCH_STEP (ITEMS / (TILE_LANES / 4))
#define PATCHES (DEPTH / PATCH_STEP)
#define DY_STEP (ITEMS / (TILE_ROWS / 4))
#define DY_QUADS (DEPTH / DY_STEP)

// partial[group][output][kernel position][channel]: the weight gradient of the group_pixels output pixels of a group, TILE_ROWS
// outputs by TILE_LANES columns at a time. Work-groups: [columns / TILE_LANES, outputs / TILE_ROWS, groups].
kernel WORK_GROUP(ITEMS) void convolution_tiles_weight_partial(
    const int pixels, const int height, const int width, const int channels, const int output_height, const int output_width,
    const int outputs, const int kernel_size, const int stride, const int padding, const int group_pixels,
    global const float *restrict x, const ulong x_offset, global const float *restrict dy, const ulong dy_offset,
    global float *restrict partial, const ulong partial_offset, local float4 *tiles)
{
    local float *const memory = (local float *)tiles, *const rows = memory, *const lanes = memory + ROW_MEMORY;
    const int item = (int)get_local_id(0);
    const int column0 = (int)get_group_id(0) * TILE_LANES, output0 = (int)get_group_id(1) * TILE_ROWS;
    const int depth = kernel_size * kernel_size * channels;
    const int begin = (int)get_group_id(2) * group_pixels, end = min(begin + group_pixels, pixels);

    // Where they begin: pixels `patch_pixel` and `dy_pixel` of a chunk, column `own` and output `own_output`.
    const int own_column = item % (TILE_LANES / 4) * 4, own_row = item % (TILE_ROWS / 4) * 4;
    const int own = column0 + own_column, own_output = output0 + own_row;
    const int patch_pixel = item / (TILE_LANES / 4), dy_pixel = item / (TILE_ROWS / 4);
    int h_start[4], w_start[4];
    distance_t from[4];
    UNROLL for (int e = 0; e < 4; ++e) {
        const int tap = (own + e) / channels;
        h_start[e] = own + e < depth ? tap / kernel_size - padding : -(1 << 30);
        w_start[e] = tap % kernel_size - padding;
        from[e] = own + e < depth ? ((distance_t)h_start[e] * width + w_start[e]) * channels + (own + e) % channels : 0;
    }
    // A pixel's place in the images, without kernel position: line h and column w, `at` elements from x.
    const int w_end = output_width * stride, h_end = output_height * stride;
    int w = (begin + patch_pixel) % output_width * stride, h = (begin + patch_pixel) / output_width % output_height * stride;
    const int w_step = PATCH_STEP % output_width * stride, h_step = PATCH_STEP / output_width % output_height * stride;
    const int image_step = PATCH_STEP / output_width / output_height;
    const distance_t at_step = (((distance_t)image_step * height + h_step) * width + w_step) * channels;
    const distance_t next_line = ((distance_t)stride * width - w_end) * channels;
    const distance_t next_image = (distance_t)(height - h_end) * width * channels;
    x += x_offset + (((ulong)((begin + patch_pixel) / output_width / output_height) * height + h) * width + w) * channels;
    distance_t at = 0;
    dy += dy_offset + (ulong)(begin + dy_pixel) * outputs + own_output;

    // Sums of SPAN pixels are added to the total: one sum over a whole group would gather the rounding of every pixel.
    run_t sum[ITEM_ROWS], total[ITEM_ROWS];
    UNROLL for (int r = 0; r < ITEM_ROWS; ++r) sum[r] = total[r] = (run_t)(0.0f);

    for (int first = begin;; first += DEPTH) {
        float4 v[PATCHES], g[DY_QUADS];
        if (first < end) {
            UNROLL for (int q = 0; q < PATCHES; ++q) {
                v[q] = (float4)(0.0f);
                const int inside = first + patch_pixel + PATCH_STEP * q < end;
#define INSIDE(e) (inside && (uint)(h + h_start[e]) < (uint)height && (uint)(w + w_start[e]) < (uint)width)
#if QUADS_X
                if (INSIDE(0)) v[q] = quad(x + (at + from[0]));
#else
                if (INSIDE(0)) v[q].s0 = x[at + from[0]];
                if (INSIDE(1)) v[q].s1 = x[at + from[1]];
                if (INSIDE(2)) v[q].s2 = x[at + from[2]];
                if (INSIDE(3)) v[q].s3 = x[at + from[3]];
#endif
                w += w_step;
                h += h_step;
                at += at_step;
                if (w >= w_end) {
                    w -= w_end;
                    h += stride;
                    at += next_line;
                }
                if (h >= h_end) {
                    h -= h_end;
                    at += next_image;
                }
            }
            UNROLL for (int q = 0; q < DY_QUADS; ++q) {
                g[q] = (float4)(0.0f);
                if (first + dy_pixel + DY_STEP * q < end) {
                    global const float *const from_dy = dy + (ulong)(DY_STEP * q) * outputs;
#if QUADS_DY
                    if (own_output < outputs) g[q] = quad(from_dy);
#else
                    if (own_output < outputs) g[q].s0 = from_dy[0];
                    if (own_output + 1 < outputs) g[q].s1 = from_dy[1];
                    if (own_output + 2 < outputs) g[q].s2 = from_dy[2];
                    if (own_output + 3 < outputs) g[q].s3 = from_dy[3];
#endif
                }
            }
            dy += (ulong)DEPTH * outputs;
        }
        if (first > begin) {
            multiply_tile(sum, rows, lanes, item, memory + EXCHANGE);
            if ((first - begin) % SPAN == 0 || first >= end) {
                UNROLL for (int r = 0; r < ITEM_ROWS; ++r) {
                    total[r] += sum[r];
                    sum[r] = (run_t)(0.0f);
                }
            }
        }
        if (first >= end) break;
        barrier(CLK_LOCAL_MEM_FENCE);
        UNROLL for (int q = 0; q < PATCHES; ++q)
            put_lanes(OPERANDS(v[q]), lanes, patch_pixel + PATCH_STEP * q, own_column);
        UNROLL for (int q = 0; q < DY_QUADS; ++q)
            put_local_quad(OPERANDS(g[q]), rows + (dy_pixel + DY_STEP * q) * ROW_STRIDE + own_row);
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    UNROLL for (int r = 0; r < ITEM_ROWS; ++r) {
        const int o = output0 + TILE_ROW(item, r), column = column0 + TILE_LANE(item);
        if (o < outputs && column < depth) {
            global float *const to = partial + partial_offset + ((ulong)get_group_id(2) * outputs + o) * depth + column;
#if QUADS_X
            *(global run_t *)to = total[r];
#else
            float ends[RUN];
            store_run(total[r], ends);
            UNROLL for (int e = 0; e < RUN; ++e)
                if (column + e < depth) to[e] = ends[e];
#endif
        }
    }
}
