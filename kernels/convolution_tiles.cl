// Convolution of any size, stride and padding for GPU devices (the gpu profile), as a product whose tiles are gathered from the
// images into local memory when they are needed: no patches in global memory. Channels-last values; packed weights
// (pack_weights.cl) [blocks of TILE_LANES outputs][taps][channels][TILE_LANES], for tf32 rounded.
//
// A work-group of ITEMS items computes a tile of TILE_ROWS pixels by TILE_LANES channels, DEPTH products at a time, and reads the
// next ones from global memory meanwhile. The depth runs over (kernel position, channel). Every sum is added in one order, whatever
// the device and the tile. tiles: ROW_MEMORY + DEPTH * LANE_STRIDE floats, for TF32 2 6 per item more, by
// fours for their alignment; an argument, because of an array in the kernel PoCL 3.1 leaves some uses to all threads at once.
#ifndef LANES
#define LANES 4  // channels that are computed by a work-group, in units of 16: 1, 2 or 4, for tf32 8 too
#endif
#ifndef ROWS
#define ROWS 4  // pixels that are, in units of 16: 2, 4 or 8
#endif
#ifndef TRANSPOSED
#define TRANSPOSED 0  // 0: the forward pass. 1: the input gradient, x is dy and y is dx
#endif
#ifndef PLANES
#define PLANES 0  // 1: the third dimension are pixelwise convolutions one after the other, each of x, weights and y of its own
#endif
#ifndef QUADS_READ
#define QUADS_READ 0  // 4 channels of x are neighbours from a multiple of 16 bytes on (8 for half)
#endif
#ifndef QUADS_WRITTEN
#define QUADS_WRITTEN 0  // 4 channels of y are
#endif
#define TILE_ROWS (16 * ROWS)
#define TILE_LANES (16 * LANES)
#define ROWS_FIRST 1
#include "common/storage.clh"
#include "common/tile_product.clh"
#include "common/distance.clh"

#include "common/convolution_finish.clh"

// Where an element of the depth lies: channel, column and row of the kernel's positions.
typedef struct {
    int channel, column, row;
} place_t;

static inline place_t place(const int d, const int channels, const int columns)
{
    const place_t at = {d % channels, d / channels % columns, d / channels / columns};
    return at;
}

// `by` elements further.
static inline place_t further(place_t at, const place_t by, const int channels, const int columns)
{
    at.channel += by.channel;
    at.column += by.column;
    at.row += by.row;
    if (at.channel >= channels) {
        at.channel -= channels;
        ++at.column;
    }
    if (at.column >= columns) {
        at.column -= columns;
        ++at.row;
    }
    return at;
}

// Whether a row or column is one of the image's: those before it are beyond it as unsigned numbers.
#define INSIDE(at, size) ((uint)(at) < (uint)(size))
// What an item gathers: 4 elements of every ROW_STEPth row of x, 4 lanes of every WEIGHT_STEPth element of the weights.
#define ROW_STEP (ITEMS / (DEPTH / 4))
#define GATHERED ((TILE_ROWS + ROW_STEP - 1) / ROW_STEP)
#define WEIGHT_STEP (ITEMS / (TILE_LANES / 4))
#define WEIGHTS (DEPTH / WEIGHT_STEP)
// Whether gathered row r is one of the tile's.
#define OF_TILE(row) (TILE_ROWS % ROW_STEP == 0 || (row) < TILE_ROWS)
// One element, where the 4 are no neighbours, and on to the next.
#define GATHER(s) { \
        const int h = h_from[r] + one.row * turn, w = w_from[r] + one.column * turn; \
        if (one.row < kh_taps && INSIDE(h, height) && INSIDE(w, width)) \
            v[r].s = load_x(x + (from[r] + (distance_t)(one.row * width + one.column) * turn * channels + one.channel)); \
        one = further(one, next, channels, kw_taps); \
    }

// y [batch, output_height, output_width, outputs] from x [batch, height, width, channels]. Transposed, pixels of dx whose row and
// column have the same remainders by the stride see the same kernel positions: each such phase is a product of its own, and the
// third dimension. The residual may be y itself. Work-groups: [tiles of the largest phase, outputs / TILE_LANES, phases].
kernel WORK_GROUP(ITEMS) void convolution_tiles(
    const int batch, const int height, const int width, const int channels, const int output_height, const int output_width,
    const int outputs, const int kernel_size, const int stride, const int padding,
    global const x_t *restrict x, const ulong x_offset, global const float *restrict weights, const ulong weights_offset,
    global const float *restrict bias, const ulong bias_offset, global const residual_t *residual, const ulong residual_offset,
    global y_t *y, const ulong y_offset, const int add_bias, const int add_residual, const int rectify,
    local float4 *tiles)
{
    local float *const memory = (local float *)tiles, *const rows = memory, *const lanes = memory + ROW_MEMORY;
    const int item = (int)get_local_id(0);
    const int row0 = (int)get_group_id(0) * TILE_ROWS, lane0 = (int)get_group_id(1) * TILE_LANES;

    // Results of this phase lie `step` apart; result (a, b) reads (a, b) * move + start, then `turn` further per position.
#if TRANSPOSED
    const int step = stride, move = 1, turn = -1, phase = (int)get_group_id(2);
    const int h_first = phase / step, w_first = phase % step;
    const int lines = h_first < output_height ? (output_height - h_first - 1) / step + 1 : 0;
    const int columns = w_first < output_width ? (output_width - w_first - 1) / step + 1 : 0;
    const int kh_first = (h_first + padding) % stride, kw_first = (w_first + padding) % stride;
    const int kh_taps = kh_first < kernel_size ? (kernel_size - kh_first - 1) / step + 1 : 0;
    const int kw_taps = kw_first < kernel_size ? (kernel_size - kw_first - 1) / step + 1 : 0;
    const int h_start = (h_first + padding - kh_first) / stride, w_start = (w_first + padding - kw_first) / stride;
#else
    const int step = 1, move = stride, turn = 1, h_first = 0, w_first = 0, lines = output_height, columns = output_width;
    const int kh_first = 0, kw_first = 0, kh_taps = kernel_size, kw_taps = kernel_size, h_start = -padding, w_start = -padding;
#endif
    const int results = batch * lines * columns;
    const int depth = kh_taps * kw_taps * channels;
#if PLANES
    x += get_global_id(2) * (ulong)results * channels;
    weights += get_global_id(2) * (ulong)get_num_groups(1) * TILE_LANES * channels;
    y += get_global_id(2) * (ulong)results * outputs;
#endif

    // Where they begin: row `own_row` with element `own_element`, the weights of element `weight_element` with lane `weight_lane`.
    const int own_row = item / (DEPTH / 4), own_element = item % (DEPTH / 4) * 4;
    const int weight_element = item / (TILE_LANES / 4), weight_lane = item % (TILE_LANES / 4) * 4;
    int h_from[GATHERED], w_from[GATHERED];
    distance_t from[GATHERED];
    // A phase beyond a small image has no results, and no columns to divide by.
    const int first_image = results > 0 ? row0 / columns / lines : 0;
    x += x_offset + (ulong)first_image * height * width * channels;
    UNROLL for (int r = 0; r < GATHERED; ++r) {
        const int row = own_row + ROW_STEP * r, result = row0 + row;
        const int inside = OF_TILE(row) && result < results;
        const int b = inside ? result % columns : 0, a = inside ? result / columns % lines : 0;
        h_from[r] = inside ? a * move + h_start : -(1 << 30);
        w_from[r] = b * move + w_start;
        const int image = inside ? result / columns / lines - first_image : 0;
        from[r] = (((distance_t)image * height + (inside ? h_from[r] : 0)) * width + w_from[r]) * channels;
    }
    const place_t chunk_step = place(DEPTH, channels, max(kw_taps, 1));
    place_t at = place(own_element, channels, max(kw_taps, 1));
    weights += weights_offset + (ulong)lane0 * (kernel_size * kernel_size) * channels + weight_lane;
#if TRANSPOSED
    const place_t weight_step = place(WEIGHT_STEP, channels, max(kw_taps, 1));
    place_t weight_at = place(weight_element, channels, max(kw_taps, 1));
#else
    weights += weight_element * TILE_LANES;
#endif
#if !QUADS_READ
    const place_t next = {1, 0, 0};
#endif

    run_t sum[ITEM_ROWS];
    UNROLL for (int r = 0; r < ITEM_ROWS; ++r) sum[r] = (run_t)(0.0f);

    for (int first = 0;; first += DEPTH) {
        float4 v[GATHERED], weight[WEIGHTS];
        if (first < depth) {
            // All rows move alike; beyond the last position, out of the image.
            const int h_move = at.row < kh_taps ? at.row * turn : INT_MIN, w_move = at.column * turn;
            const distance_t moved = (distance_t)(at.row * width + at.column) * turn * channels + at.channel;
            UNROLL for (int r = 0; r < GATHERED; ++r) {
                v[r] = (float4)(0.0f);
#if QUADS_READ
                if (INSIDE((uint)h_from[r] + (uint)h_move, height) && INSIDE(w_from[r] + w_move, width))
                    v[r] = load_x_quad(x + (from[r] + moved));
#else
                place_t one = at;
                GATHER(s0) GATHER(s1) GATHER(s2) GATHER(s3)
#endif
            }
            at = further(at, chunk_step, channels, kw_taps);
            UNROLL for (int q = 0; q < WEIGHTS; ++q) {
                weight[q] = (float4)(0.0f);
#if TRANSPOSED
                if (weight_at.row < kh_taps) {
                    const int position = (kh_first + weight_at.row * step) * kernel_size + kw_first + weight_at.column * step;
                    weight[q] = quad(weights + ((ulong)position * channels + weight_at.channel) * TILE_LANES);
                }
                weight_at = further(weight_at, weight_step, channels, kw_taps);
#else
                if (first + weight_element + WEIGHT_STEP * q < depth) weight[q] = quad(weights + WEIGHT_STEP * TILE_LANES * q);
#endif
            }
#if !TRANSPOSED
            weights += DEPTH * TILE_LANES;
#endif
        }
        if (first > 0) multiply_tile(sum, rows, lanes, item, memory + EXCHANGE);
        if (first >= depth) break;
        barrier(CLK_LOCAL_MEM_FENCE);
        UNROLL for (int r = 0; r < GATHERED; ++r) {
            const int row = own_row + ROW_STEP * r;
            if (OF_TILE(row)) put_local_quad(OPERANDS(v[r]), rows + row * ROW_STRIDE + own_element);
        }
        UNROLL for (int q = 0; q < WEIGHTS; ++q)
            put_lanes(weight[q], lanes, weight_element + WEIGHT_STEP * q, weight_lane);
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    UNROLL for (int r = 0; r < ITEM_ROWS; ++r) {
        const int result = row0 + TILE_ROW(item, r);
        if (result < results) {
#if TRANSPOSED
            const int h = result / columns % lines * step + h_first, b = result % columns * step + w_first;
            const ulong pixel = ((ulong)(result / columns / lines) * output_height + h) * output_width + b;
#else
            const ulong pixel = result;
#endif
            const int lane = lane0 + TILE_LANE(item);
            const ulong to = pixel * outputs + lane;
            run_t z = sum[r];
#if QUADS_WRITTEN
            if (lane < outputs) {
                if (add_bias) z += load_run(bias + bias_offset + lane);
                if (add_residual) z += load_residual_run(residual + residual_offset + to);
                store_y_run(rectify ? relu_run(z) : z, y + y_offset + to);
            }
#else
            float ends[RUN];
            store_run(z, ends);
            UNROLL for (int e = 0; e < RUN; ++e) {
                if (lane + e < outputs) {
                    float s = ends[e];
                    if (add_bias) s += bias[bias_offset + lane + e];
                    if (add_residual) s += load_residual(residual + residual_offset + to + e);
                    store_y(rectify && s < 0.0f ? 0.0f : s, y + y_offset + to + e);
                }
            }
#endif
        }
    }
}
