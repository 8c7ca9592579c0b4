// 3x3 convolution at stride 1 for GPU devices (the gpu profile), of multiples of 16 channels, and its input gradient, which is one with
// turned weights. As convolution_tiles.cl, but a tile's pixels are neighbours in one image, and lie in local memory with what surrounds
// them, DEPTH channels at a time: all nine positions of the kernel read them there, so that a pixel is gathered once and not nine times.
// Channels-last values; packed weights as there, in blocks of BLOCK outputs.
//
// A work-group of ITEMS items computes TILE_WIDTH by TILE_ROWS / TILE_WIDTH pixels of TILE_LANES channels. The depth runs over
// (16 channels, kernel position, channel). tiles: HALO * ROW_STRIDE + 9 * DEPTH * LANE_STRIDE floats, for TF32 2 6 per item more.
#ifndef LANES
#define LANES 4  // channels that are computed by a work-group, in units of 16: 1, 2 or 4
#endif
#ifndef ROWS
#define ROWS 4  // pixels that are, in units of 16: 4 or 8
#endif
#ifndef TILE_WIDTH
#define TILE_WIDTH 8  // pixels of a line of a tile: 8, 16 or 32
#endif
#ifndef TRANSPOSED
#define TRANSPOSED 0  // 1: the input gradient, x is dy and y is dx
#endif
#define TILE_ROWS (16 * ROWS)
#define TILE_LANES (16 * LANES)
#ifndef BLOCK
#define BLOCK TILE_LANES  // channels of a block of packed weights, a multiple of a tile's
#endif
#define TILE_HEIGHT (TILE_ROWS / TILE_WIDTH)
#define KERNEL 3
#define POSITIONS (KERNEL * KERNEL)
#define HALO_WIDTH (TILE_WIDTH + KERNEL - 1)
#define HALO (HALO_WIDTH * (TILE_HEIGHT + KERNEL - 1))
#define ROWS_FIRST 1
// Where pixel p of a tile lies among those of the halo, seen from the kernel's first position. An item's further pixels add nothing
// that would carry from a line to the next.
#define ROW_PLACE(p) ((p) / TILE_WIDTH * HALO_WIDTH + (p) % TILE_WIDTH)
#include "common/storage.clh"
#include "common/tile_product.clh"
#include "common/convolution_finish.clh"
// What an item gathers of 16 channels: quads of pixels, and of each position's weights.
#define HALO_QUADS (HALO * (DEPTH / 4))
#define GATHERED ((HALO_QUADS + ITEMS - 1) / ITEMS)
#define WEIGHTS (DEPTH * TILE_LANES / 4 / ITEMS)

// y [batch, output_height, output_width, outputs] from x [batch, height, width, channels]. The residual may be y itself.
// Work-groups: [tiles of an image * batch, outputs / TILE_LANES].
kernel WORK_GROUP(ITEMS) void convolution_halo(
    const int height, const int width, const int channels, const int output_height, const int output_width, const int outputs,
    const int padding, global const x_t *restrict x, const ulong x_offset, global const float *restrict weights,
    const ulong weights_offset, global const float *restrict bias, const ulong bias_offset, global const residual_t *residual,
    const ulong residual_offset, global y_t *y, const ulong y_offset, const int add_bias, const int add_residual,
    const int rectify, local float4 *tiles)
{
    local float *const rows = (local float *)tiles, *const lanes = rows + HALO * ROW_STRIDE;
    const int item = (int)get_local_id(0), lane0 = (int)get_group_id(1) * TILE_LANES;
    const int across = (output_width + TILE_WIDTH - 1) / TILE_WIDTH, down = (output_height + TILE_HEIGHT - 1) / TILE_HEIGHT;
    const int tile = (int)get_group_id(0) % (across * down);
    const ulong image = (ulong)((int)get_group_id(0) / (across * down));
    const int h0 = tile / across * TILE_HEIGHT, w0 = tile % across * TILE_WIDTH;
    x += x_offset + image * height * width * channels;
    weights += weights_offset + (ulong)(lane0 / BLOCK * BLOCK) * POSITIONS * channels + lane0 % BLOCK;
    weights += item * 4 / TILE_LANES * BLOCK + item * 4 % TILE_LANES;

    run_t sum[ITEM_ROWS];
    UNROLL for (int r = 0; r < ITEM_ROWS; ++r) sum[r] = (run_t)(0.0f);

    for (int first = 0; first < channels; first += DEPTH) {
        float4 v[GATHERED], weight[POSITIONS * WEIGHTS];
        UNROLL for (int q = 0; q < GATHERED; ++q) {
            const int of_halo = item + ITEMS * q, pixel = of_halo / (DEPTH / 4);
            const int h = h0 + pixel / HALO_WIDTH - padding, w = w0 + pixel % HALO_WIDTH - padding;
            v[q] = (float4)(0.0f);
            if ((uint)h < (uint)height && (uint)w < (uint)width && pixel < HALO)
                v[q] = load_x_quad(x + ((h * width + w) * channels + first + of_halo % (DEPTH / 4) * 4));
        }
        UNROLL for (int k = 0; k < POSITIONS * WEIGHTS; ++k)
            weight[k] = quad(
                weights + ((ulong)(k / WEIGHTS) * channels + first + k % WEIGHTS * (ITEMS * 4 / TILE_LANES)) * BLOCK);
        barrier(CLK_LOCAL_MEM_FENCE);
        UNROLL for (int q = 0; q < GATHERED; ++q) {
            const int of_halo = item + ITEMS * q;
            if (HALO_QUADS % ITEMS == 0 || of_halo < HALO_QUADS)
                put_local_quad(OPERANDS(v[q]), rows + of_halo / (DEPTH / 4) * ROW_STRIDE + of_halo % (DEPTH / 4) * 4);
        }
        // A convolution reads the positions in their order, its gradient in the opposite one.
        UNROLL for (int k = 0; k < POSITIONS * WEIGHTS; ++k) {
            const int position = TRANSPOSED ? POSITIONS - 1 - k / WEIGHTS : k / WEIGHTS, at = (item + k % WEIGHTS * ITEMS) * 4;
            put_lanes(weight[k], lanes + position * (DEPTH * LANE_STRIDE), at / TILE_LANES, at % TILE_LANES);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int line = 0; line < KERNEL; ++line)
            UNROLL for (int column = 0; column < KERNEL; ++column)
                multiply_tile(
                    sum, rows + (line * HALO_WIDTH + column) * ROW_STRIDE,
                    lanes + (line * KERNEL + column) * (DEPTH * LANE_STRIDE), item,
                    lanes + POSITIONS * DEPTH * LANE_STRIDE);
    }

    const int pixel = TILE_ROW(item, 0), lane = lane0 + TILE_LANE(item);
    const int h = h0 + pixel / TILE_WIDTH, w = w0 + pixel % TILE_WIDTH;
    if (lane >= outputs) return;
    const run_t own_bias = add_bias ? load_run(bias + bias_offset + lane) : (run_t)(0.0f);
    const ulong own = ((image * output_height + h) * output_width + w) * outputs + lane;
    y += y_offset + own;
    residual += residual_offset + own;
    UNROLL for (int r = 0; r < ITEM_ROWS; ++r) {
        const int lines = ROW_FURTHER(r) / TILE_WIDTH, columns = ROW_FURTHER(r) % TILE_WIDTH;
        if (h + lines < output_height && w + columns < output_width) {
            const int further = (lines * output_width + columns) * outputs;
            run_t z = sum[r] + own_bias;
            if (add_residual) z += load_residual_run(residual + further);
            store_y_run(rectify ? relu_run(z) : z, y + further);
        }
    }
}
