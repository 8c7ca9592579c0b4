// The weight gradient of a 3x3 convolution at stride 1 for GPU devices (the gpu profile), of multiples of 16 channels: as
// convolution_tiles_weights.cl, but SIDE by SIDE pixels of dy and the pixels of x that surround them lie in local memory, where all nine
// positions of the kernel read them, so that x is gathered once and not nine times.
//
// A work-group of ITEMS items computes the gradients of 16 channels and TILE_LANES outputs over tiles_per_group such tiles.
// tiles: HALO * X_STRIDE + SIDE * SIDE * DY_STRIDE floats, for TF32 2 6 per item more.
#ifndef LANES
#define LANES 4  // outputs of a work-group, in units of 16: 1, 2 or 4
#endif
#define TILE_ROWS 64
#define TILE_LANES (16 * LANES)
#define ROWS_FIRST 0
#include "common/tile_product.clh"
#define CHANNELS 16
#define KERNEL 3
#define POSITIONS (KERNEL * KERNEL)
#define SIDE 8
#define HALO_SIDE (SIDE + KERNEL - 1)
#define HALO (HALO_SIDE * HALO_SIDE)
#undef ITEMS
#define ITEMS (64 * LANES)
// Neighbouring items of a matrix unit read different banks.
#define X_STRIDE (TF32 ? 24 : CHANNELS)
#define DY_STRIDE (TF32 ? TILE_LANES + 8 : TILE_LANES)
// What an item gathers: quads of pixels.
#define X_QUADS (HALO * (CHANNELS / 4))
#define X_GATHERED ((X_QUADS + ITEMS - 1) / ITEMS)
#define DY_GATHERED (SIDE * SIDE * (TILE_LANES / 4) / ITEMS)

#if TF32
// An item's sums: of each position four, as multiply_fragments gives them, with channels as its lanes and outputs as its rows.
#define PARTS 1
typedef float4 sum_t;
#define FRAGMENT(line, column) (float4)( \
    at[((line) * HALO_SIDE + (column)) * X_STRIDE], at[((line) * HALO_SIDE + (column)) * X_STRIDE + 8], \
    at[((line) * HALO_SIDE + (column) + 4) * X_STRIDE], at[((line) * HALO_SIDE + (column) + 4) * X_STRIDE + 8])

ALWAYS_INLINE void add_tile(
    sum_t sum[POSITIONS][PARTS], const local float *x, const local float *dy, const int item, local float *exchange)
{
    const int g = item % WARP / 4, t = item % 4;
    const local float *const at = x + t * X_STRIDE + g, *const from = dy + t * DY_STRIDE + item / WARP * 8 + g;
    // Those of a line serve three lines of dy.
    float4 a[KERNEL][KERNEL];
    UNROLL for (int line = 0; line < KERNEL - 1; ++line)
        UNROLL for (int column = 0; column < KERNEL; ++column) a[line][column] = FRAGMENT(line, column);
    UNROLL for (int line = 0; line < SIDE; ++line) {
        UNROLL for (int column = 0; column < KERNEL; ++column)
            a[(line + KERNEL - 1) % KERNEL][column] = FRAGMENT(line + KERNEL - 1, column);
        const float2 b = (float2)(from[line * SIDE * DY_STRIDE], from[(line * SIDE + 4) * DY_STRIDE]);
        UNROLL for (int k = 0; k < POSITIONS; ++k)
            sum[k][0] = multiply_fragments(a[(line + k / KERNEL) % KERNEL][k % KERNEL], b, sum[k][0], item, exchange);
    }
}
#else
// Of each position the sums of two outputs, each a vector of two neighbouring channels.
#define PARTS 2
typedef float2 sum_t;
#define ITEM_CHANNEL(item) ((item) % (CHANNELS / 2) * 2)
#define ITEM_OUTPUT(item) ((item) / (CHANNELS / 2) * 2)
#define local_pair(p) (*(const local float2 *)(p))

ALWAYS_INLINE void add_tile(
    sum_t sum[POSITIONS][PARTS], const local float *x, const local float *dy, const int item, local float *exchange)
{
    x += ITEM_CHANNEL(item);
    dy += ITEM_OUTPUT(item);
    for (int line = 0; line < SIDE; ++line) {
        // The columns of x around a pixel; the next pixel needs one more.
        float2 near[KERNEL][KERNEL];
        UNROLL for (int k = 0; k < KERNEL; ++k)
            UNROLL for (int column = 0; column < KERNEL - 1; ++column)
                near[k][column] = local_pair(x + ((line + k) * HALO_SIDE + column) * X_STRIDE);
        UNROLL for (int w = 0; w < SIDE; ++w) {
            UNROLL for (int k = 0; k < KERNEL; ++k)
                near[k][(w + KERNEL - 1) % KERNEL] =
                    local_pair(x + ((line + k) * HALO_SIDE + w + KERNEL - 1) * X_STRIDE);
            const float2 g = local_pair(dy + (line * SIDE + w) * DY_STRIDE);
            UNROLL for (int k = 0; k < POSITIONS; ++k) {
                const float2 here = near[k / KERNEL][(w + k % KERNEL) % KERNEL];
                sum[k][0] = fma((float2)(g.s0), here, sum[k][0]);
                sum[k][1] = fma((float2)(g.s1), here, sum[k][1]);
            }
        }
    }
}
#endif

// partial[group][output][kernel position][channel]: the weight gradient of the group's tiles.
// Work-groups: [channels / 16, outputs / TILE_LANES, groups].
kernel WORK_GROUP(ITEMS) void convolution_halo_weight_partial(
    const int batch, const int height, const int width, const int channels, const int output_height, const int output_width,
    const int outputs, const int padding, const int tiles_per_group, global const float *restrict x, const ulong x_offset,
    global const float *restrict dy, const ulong dy_offset, global float *restrict partial, const ulong partial_offset,
    local float4 *tiles)
{
    local float *const x_rows = (local float *)tiles, *const dy_rows = x_rows + HALO * X_STRIDE;
    const int item = (int)get_local_id(0), channel0 = (int)get_group_id(0) * CHANNELS;
    const int output0 = (int)get_group_id(1) * TILE_LANES;
    const int across = (output_width + SIDE - 1) / SIDE, down = (output_height + SIDE - 1) / SIDE;
    const int begin = (int)get_group_id(2) * tiles_per_group, end = min(begin + tiles_per_group, batch * across * down);
    x += x_offset + channel0;
    dy += dy_offset + output0;

    // The sums of a tile are added to the total: one sum over a whole group would gather the rounding of every pixel.
    sum_t sum[POSITIONS][PARTS], total[POSITIONS][PARTS];
    UNROLL for (int k = 0; k < POSITIONS; ++k)
        UNROLL for (int p = 0; p < PARTS; ++p) sum[k][p] = total[k][p] = (sum_t)(0.0f);

    for (int tile = begin; tile < end; ++tile) {
        const int h0 = tile / across % down * SIDE, w0 = tile % across * SIDE;
        const ulong image = (ulong)(tile / across / down);
        global const float *const x_image = x + image * height * width * channels;
        global const float *const dy_image = dy + image * output_height * output_width * outputs;
        float4 v[X_GATHERED], g[DY_GATHERED];
        UNROLL for (int q = 0; q < X_GATHERED; ++q) {
            const int of_halo = item + ITEMS * q, pixel = of_halo / (CHANNELS / 4);
            const int h = h0 + pixel / HALO_SIDE - padding, w = w0 + pixel % HALO_SIDE - padding;
            v[q] = (float4)(0.0f);
            if ((uint)h < (uint)height && (uint)w < (uint)width && pixel < HALO)
                v[q] = quad(x_image + ((h * width + w) * channels + of_halo % (CHANNELS / 4) * 4));
        }
        UNROLL for (int q = 0; q < DY_GATHERED; ++q) {
            const int of_tile = item + ITEMS * q, pixel = of_tile / (TILE_LANES / 4), lane = of_tile % (TILE_LANES / 4) * 4;
            const int h = h0 + pixel / SIDE, w = w0 + pixel % SIDE;
            g[q] = (float4)(0.0f);
            if (h < output_height && w < output_width && output0 + lane < outputs)
                g[q] = quad(dy_image + ((h * output_width + w) * outputs + lane));
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        UNROLL for (int q = 0; q < X_GATHERED; ++q) {
            const int of_halo = item + ITEMS * q;
            if (X_QUADS % ITEMS == 0 || of_halo < X_QUADS)
                put_local_quad(OPERANDS(v[q]), x_rows + of_halo / (CHANNELS / 4) * X_STRIDE + of_halo % (CHANNELS / 4) * 4);
        }
        UNROLL for (int q = 0; q < DY_GATHERED; ++q) {
            const int of_tile = item + ITEMS * q;
            put_local_quad(
                OPERANDS(g[q]), dy_rows + of_tile / (TILE_LANES / 4) * DY_STRIDE + of_tile % (TILE_LANES / 4) * 4);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        add_tile(sum, x_rows, dy_rows, item, dy_rows + SIDE * SIDE * DY_STRIDE);
        UNROLL for (int k = 0; k < POSITIONS; ++k)
            UNROLL for (int p = 0; p < PARTS; ++p) {
                total[k][p] += sum[k][p];
                sum[k][p] = (sum_t)(0.0f);
            }
    }

    partial += partial_offset + (ulong)get_group_id(2) * outputs * POSITIONS * channels + channel0;
#define PLACE(output, k) ((((ulong)(output)) * POSITIONS + (k)) * channels)
#if TF32
    const int g = item % WARP / 4, output = output0 + item / WARP * 8 + item % 4 * 2;
    UNROLL for (int k = 0; k < POSITIONS; ++k) {
        if (output < outputs) {
            partial[PLACE(output, k) + g] = total[k][0].s0;
            partial[PLACE(output, k) + g + 8] = total[k][0].s2;
        }
        if (output + 1 < outputs) {
            partial[PLACE(output + 1, k) + g] = total[k][0].s1;
            partial[PLACE(output + 1, k) + g + 8] = total[k][0].s3;
        }
    }
#else
    UNROLL for (int p = 0; p < PARTS; ++p) {
        const int output = output0 + ITEM_OUTPUT(item) + p;
        if (output < outputs)
            UNROLL for (int k = 0; k < POSITIONS; ++k)
                *(global float2 *)(partial + PLACE(output, k) + ITEM_CHANNEL(item)) = total[k][p];
    }
#endif
}
