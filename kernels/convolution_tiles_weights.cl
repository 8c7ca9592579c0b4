// The weight gradient of a convolution for GPU devices (the gpu profile), as a product whose tiles are gathered into local memory,
// like convolution_tiles.cl. tiles as there.
#ifndef LANES
#define LANES 4  // outputs of a work-group, in units of 16: 1, 2 or 4
#endif
#ifndef QUADS_X
#define QUADS_X 0  // 4 channels of x, and of a row of partial, are neighbours from a multiple of 16 bytes on
#endif
#ifndef QUADS_DY
#define QUADS_DY 0  // 4 channels of dy are
#endif
#define ITEMS (64 * LANES)
#define TILE_ROWS (16 * LANES)
#define TILE_LANES 64
#define ROWS_FIRST 0
#include "common/tile_product.clh"
#define SPAN (8 * DEPTH)
#define GATHERED (4 / LANES)

// partial[group][output][kernel position][channel]: the weight gradient of the group_pixels output pixels of a group, TILE_ROWS
// outputs by TILE_LANES columns at a time. Work-groups: [columns / TILE_LANES, outputs / TILE_ROWS, groups].
kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void convolution_tiles_weight_partial(
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

    // What this item gathers: 4 columns of the patches of every (4 LANES)th pixel, and 4 outputs of one pixel per chunk.
    const int own = column0 + item % 16 * 4, own_output = output0 + item % (4 * LANES) * 4;
    const int patch_depth = item / 16, dy_depth = item / (4 * LANES);
    int h_start[4], w_start[4];
    long from[4];
    UNROLL for (int e = 0; e < 4; ++e) {
        const int tap = (own + e) / channels;
        h_start[e] = own + e < depth ? tap / kernel_size - padding : -(1 << 30);
        w_start[e] = tap % kernel_size - padding;
        from[e] = (long)x_offset;
        if (own + e < depth) from[e] += ((long)h_start[e] * width + w_start[e]) * channels + (own + e) % channels;
    }
    int b = (begin + patch_depth) % output_width, a = (begin + patch_depth) / output_width % output_height;
    long image = (begin + patch_depth) / output_width / output_height;
    const int b_step = 4 * LANES % output_width, a_step = 4 * LANES / output_width % output_height;
    const int image_step = 4 * LANES / output_width / output_height;
    dy += dy_offset + own_output;

    // Sums of SPAN pixels are added to the total: one sum over a whole group would gather the rounding of every pixel.
    run_t sum[ITEM_ROWS][ITEM_RUNS], total[ITEM_ROWS][ITEM_RUNS];
    UNROLL for (int r = 0; r < ITEM_ROWS; ++r)
        UNROLL for (int u = 0; u < ITEM_RUNS; ++u) sum[r][u] = total[r][u] = (run_t)(0.0f);

    float4 v[GATHERED], g = (float4)(0.0f);
    for (int first = begin;; first += DEPTH) {
        if (first < end) {
            UNROLL for (int q = 0; q < GATHERED; ++q) {
                v[q] = (float4)(0.0f);
                const int inside = first + patch_depth + 4 * LANES * q < end;
                const long pixel = ((image * height + a * stride) * width + b * stride) * channels;
#define INSIDE(e) \
    (inside && a * stride + h_start[e] >= 0 && a * stride + h_start[e] < height && b * stride + w_start[e] >= 0 \
     && b * stride + w_start[e] < width)
#if QUADS_X
                if (INSIDE(0)) v[q] = quad(x + (from[0] + pixel));
#else
                if (INSIDE(0)) v[q].s0 = x[from[0] + pixel];
                if (INSIDE(1)) v[q].s1 = x[from[1] + pixel];
                if (INSIDE(2)) v[q].s2 = x[from[2] + pixel];
                if (INSIDE(3)) v[q].s3 = x[from[3] + pixel];
#endif
                b += b_step;
                a += a_step;
                image += image_step;
                if (b >= output_width) {
                    b -= output_width;
                    ++a;
                }
                if (a >= output_height) {
                    a -= output_height;
                    ++image;
                }
            }
            g = (float4)(0.0f);
            if (first + dy_depth < end) {
                global const float *const from_dy = dy + (ulong)(first + dy_depth) * outputs;
#if QUADS_DY
                if (own_output < outputs) g = quad(from_dy);
#else
                if (own_output < outputs) g.s0 = from_dy[0];
                if (own_output + 1 < outputs) g.s1 = from_dy[1];
                if (own_output + 2 < outputs) g.s2 = from_dy[2];
                if (own_output + 3 < outputs) g.s3 = from_dy[3];
#endif
            }
        }
        if (first > begin) {
            multiply_tile(sum, rows, lanes, item, memory + EXCHANGE);
            if ((first - begin) % SPAN == 0 || first >= end) {
                UNROLL for (int r = 0; r < ITEM_ROWS; ++r)
                    UNROLL for (int u = 0; u < ITEM_RUNS; ++u) {
                        total[r][u] += sum[r][u];
                        sum[r][u] = (run_t)(0.0f);
                    }
            }
        }
        if (first >= end) break;
        barrier(CLK_LOCAL_MEM_FENCE);
        UNROLL for (int q = 0; q < GATHERED; ++q)
            put_local_quad(OPERANDS(v[q]), lanes + (patch_depth + 4 * LANES * q) * LANE_STRIDE + item % 16 * 4);
        put_local_quad(OPERANDS(g), rows + dy_depth * ROW_STRIDE + item % (4 * LANES) * 4);
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    UNROLL for (int r = 0; r < ITEM_ROWS; ++r) {
        const int o = output0 + TILE_ROW(item, r);
        UNROLL for (int u = 0; u < ITEM_RUNS; ++u) {
            const int at = column0 + TILE_LANE(item, u);
            if (o < outputs && at < depth) {
                global float *const to = partial + partial_offset + ((ulong)get_group_id(2) * outputs + o) * depth + at;
#if QUADS_X
                *(global run_t *)to = total[r][u];
#else
                float ends[RUN];
                store_run(total[r][u], ends);
                UNROLL for (int e = 0; e < RUN; ++e)
                    if (at + e < depth) to[e] = ends[e];
#endif
            }
        }
    }
}
