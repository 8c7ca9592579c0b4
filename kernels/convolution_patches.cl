// Convolution of any size, stride and padding for CPU devices (the cpu profile), as a matrix product over patches: a
// work-item copies the patches of some output pixels into scratch memory that stays in cache, a row each, zeros outside the
// image, so that the register tile of the product knows nothing of images. Channels-last values, weights packed by
// pack_weights.cl as [blocks of outer channels][taps][inner channels][BLOCK].
#include "common/tile.clh"
#include "common/patches.clh"

// Bias, residual, rectifier and store of `n` lanes of a row of a tile, from lane l on; `at` is the index of the row's first lane. The
// residual may be y itself.
#define FINISH_PART(value, l, n) { \
        real_v v = value; \
        if (add_bias) v += load_lanes(bias + bias_offset + lane0 + l, n); \
        if (add_residual) v += load_residual_lanes(residual + residual_offset + at + l, n); \
        if (rectify) v = relu_v(v); \
        store_y_lanes(v, y + y_offset + at + l, n, 1); \
    }
#if BLOCK == LANES
#define FINISH_ROW(r) \
    if (r < count) { \
        const ulong at = PIXEL(r) * (ulong)outputs + lane0; \
        FINISH_PART(sum##r, 0, outputs - lane0) \
    }
#else
#define FINISH_ROW(r) \
    if (r < count) { \
        const ulong at = PIXEL(r) * (ulong)outputs + lane0; \
        FINISH_PART(sum##r, 0, outputs - lane0) \
        if (lane0 + LANES < outputs) FINISH_PART(high##r, LANES, outputs - lane0 - LANES) \
    }
#endif

// How many rows ahead a tile asks for results, from memory into the second-level cache: it may be done before memory answers.
#define AHEAD (4 * ROWS)
// Asks for where row r of the tile at `next` goes, and for what is added to it.
#define PREFETCH_ROW(r) \
    { \
        const ulong at = (next.pixel + r) * (ulong)outputs + next.lane; \
        TILE_LINES(PREFETCH_LEVEL2, y + y_offset + at) \
        if (add_residual) { TILE_LINES(PREFETCH_LEVEL2, residual + residual_offset + at) } \
    }

typedef struct {
    ulong pixel;
    int lane;
} tile_place;

// The tile AHEAD rows on, among `group` pixels from `begin` on that are taken once for each BLOCK of outputs; behind the last block the
// worker goes on with a group `step` pixels on.
static inline tile_place place_ahead(
    const ulong begin, const int p, const int lane0, const int group, const int outputs, const ulong step)
{
    tile_place next = {begin + (ulong)(p + AHEAD), lane0};
    if (p + AHEAD >= group) {
        next.pixel -= group;
        next.lane += BLOCK;
        if (next.lane >= outputs) {
            next.pixel += step;
            next.lane = 0;
        }
    }
    return next;
}

// pixels = batch * output_height * output_width; group_pixels: patches per group, a multiple of ROWS;
// scratch: group_pixels * kernel_size^2 * channels floats per work-item. Global size: [workers]; a work-item takes every
// get_global_size(0)-th group.
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void convolution_patches_forward(
    const ulong pixels, const int height, const int width, const int channels, const int output_height,
    const int output_width, const int outputs, const int kernel_size, const int stride, const int padding,
    const int group_pixels, global const x_t *restrict x, const ulong x_offset, global const float *restrict packed,
    const ulong packed_offset, global const float *restrict bias, const ulong bias_offset, global const residual_t *residual,
    const ulong residual_offset, global y_t *y, const ulong y_offset, global float *restrict scratch,
    const ulong scratch_offset, const int add_bias, const int add_residual, const int rectify)
{
    const int depth = kernel_size * kernel_size * channels;
    // Rows of a 1x1 convolution at stride 1 are the input's, if that is float; only the last tile, if it is not whole, is copied.
#if X_HALF
    const int plain = 0;
#else
    const int plain = kernel_size == 1 && stride == 1 && padding == 0;
#endif
    global float *restrict patches = scratch + scratch_offset + get_global_id(0) * (ulong)group_pixels * depth;
    const ulong step = get_global_size(0) * (ulong)group_pixels;
    for (ulong begin = get_global_id(0) * (ulong)group_pixels; begin < pixels; begin += step) {
        const int group = (int)min((ulong)group_pixels, pixels - begin);
        const int copied = plain && group % ROWS == 0 ? 0 : group;
        output_place place = place_of(begin, output_height, output_width);
        for (int p = 0; p < copied; ++p, place = place_after(place, output_height, output_width)) {
            gather_patch(
                x + x_offset + place.image * (ulong)(height * width) * channels, patches + (ulong)p * depth,
                place.row * stride - padding, place.column * stride - padding, height, width, channels, kernel_size);
        }
#if X_HALF
        global const float *rows = patches;
#else
        global const float *rows = copied ? patches : x + x_offset + begin * channels;
#endif
        for (int lane0 = 0; lane0 < outputs; lane0 += BLOCK) {
            global const float *restrict weights = packed + packed_offset + (ulong)lane0 * depth;
            for (int p = 0; p < group; p += ROWS) {
                const int count = min(ROWS, group - p);
                global const float *restrict a = rows + (ulong)p * depth;
                const int a_stride = depth;
#define PIXEL(r) (begin + p + r)
                const tile_place next = place_ahead(begin, p, lane0, group, outputs, step);
                EACH_ROW(TILE_ZERO)
                if (depth < 4 * ROWS) {
                    EACH_ROW(PREFETCH_ROW)
                    TILE_MULTIPLY(depth, weights)
                } else if (lane0 == 0 && !copied) {
                    // Rows that nobody has copied come from memory: those of the next tile, in as many pieces as this one has steps.
                    TILE_MULTIPLY_ASKING(depth, weights, PREFETCH_ROW, PREFETCH(a + ROWS * depth + k * ROWS))
                } else TILE_MULTIPLY_ASKING(depth, weights, PREFETCH_ROW, )
                EACH_ROW(FINISH_ROW)
#undef PIXEL
            }
        }
    }
}

// Input gradient: pixels of dx whose row and column have the same remainders by the stride see the same taps, so they form
// one product: dx[h, w] = sum over taps (kh, kw) with (h + padding - kh) and (w + padding - kw) divisible by the stride of
// dy[(h + padding - kh) / stride, ...] W. x, height, width, channels are dy's; outputs, output_height, output_width dx's.
// group_pixels: at most PIXEL_TILES * ROWS. scratch: group_pixels * ceil(kernel_size / stride)^2 * channels floats per work-item.
// Global size: [workers].
#define PIXEL_TILES 16  // tiles of ROWS pixels in a group, at most
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void convolution_patches_input_gradient(
    const int batch, const int height, const int width, const int channels, const int output_height,
    const int output_width, const int outputs, const int kernel_size, const int stride, const int padding,
    const int group_pixels, global const x_t *restrict x, const ulong x_offset, global const float *restrict packed,
    const ulong packed_offset, global y_t *y, const ulong y_offset, global float *restrict scratch,
    const ulong scratch_offset, const int add_residual)
{
    const int add_bias = 0, rectify = 0;
    global const float *bias = packed;
    global const residual_t *residual = (global const residual_t *)y;
    const ulong bias_offset = 0, residual_offset = y_offset;
    const int taps = (kernel_size + stride - 1) / stride;
    global float *restrict patches =
        scratch + scratch_offset + get_global_id(0) * (ulong)group_pixels * (ulong)(taps * taps * channels);
    ulong item = 0;  // groups are counted through all remainders
    for (int phase = 0; phase < stride * stride; ++phase) {
        const int h_first = phase / stride, w_first = phase % stride;
        const int lines = h_first < output_height ? (output_height - h_first - 1) / stride + 1 : 0;
        const int columns = w_first < output_width ? (output_width - w_first - 1) / stride + 1 : 0;
        const ulong pixels = (ulong)batch * lines * columns;
        const int kh_first = (h_first + padding) % stride, kw_first = (w_first + padding) % stride;
        const int kh_taps = kh_first < kernel_size ? (kernel_size - kh_first - 1) / stride + 1 : 0;
        const int kw_taps = kw_first < kernel_size ? (kernel_size - kw_first - 1) / stride + 1 : 0;
        const int depth = kh_taps * kw_taps * channels;
        if (depth == 0 && add_residual) continue;
        const int v_first = (h_first + padding - kh_first) / stride, u_first = (w_first + padding - kw_first) / stride;
        for (ulong begin = 0; begin < pixels; begin += group_pixels, ++item) {
            if (item % get_global_size(0) != get_global_id(0)) continue;
            const int group = (int)min((ulong)group_pixels, pixels - begin);
            ulong target[PIXEL_TILES * ROWS];
            output_place place = place_of(begin, lines, columns);
            for (int p = 0; p < group; ++p, place = place_after(place, lines, columns)) {
                target[p] = (place.image * (ulong)output_height + (ulong)(place.row * stride + h_first)) * (ulong)output_width
                    + (ulong)(place.column * stride + w_first);
                global const x_t *image = x + x_offset + place.image * (ulong)(height * width) * channels;
                global float *to = patches + (ulong)p * depth;
                for (int i = 0; i < kh_taps; ++i) {
                    const int v = place.row + v_first - i;
                    for (int j = 0; j < kw_taps; ++j, to += channels) {
                        const int u = place.column + u_first - j;
                        if (v >= 0 && v < height && u >= 0 && u < width)
                            copy_run(image + ((long)v * width + u) * channels, to, channels);
                        else zero_run(to, channels);
                    }
                }
            }
            for (int lane0 = 0; lane0 < outputs; lane0 += BLOCK) {
                global const float *weights =
                    packed + packed_offset + (ulong)lane0 * (ulong)(kernel_size * kernel_size * channels);
                for (int p = 0; p < group; p += ROWS) {
                    const int count = min(ROWS, group - p);
                    global const float *restrict a = patches + (ulong)p * depth;
                    const int a_stride = depth;
                    EACH_ROW(TILE_ZERO)
                    for (int kh = kh_first; kh < kernel_size; kh += stride) {
                        for (int kw = kw_first; kw < kernel_size; kw += stride) {
                            TILE_MULTIPLY(channels, weights + (kh * kernel_size + kw) * channels * BLOCK)
                            a += channels;
                        }
                    }
#define PIXEL(r) target[p + r]
                    EACH_ROW(FINISH_ROW)
#undef PIXEL
                }
            }
        }
    }
}
