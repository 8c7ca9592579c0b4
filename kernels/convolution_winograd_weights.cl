// Weight gradient of a 3x3 convolution at stride 1 for CPU devices, by the transpose of Winograd's F(4x4, 3x3):
// d weight = G^T (sum over tiles of (A dy A^T) (B^T x B)) G. Three steps: transform, 36 matrix products over the tiles, and once at
// the end the way back. Few channels go through the first two in one launch, more a few images at a time, so that what is between
// the launches stays in cache. Tiles are added in order.
#include "common/tile.clh"
#include "common/winograd.clh"

// One tile of x and of dy, transformed: the 36 values of channel c at input[f * input_stride + c], of output o at
// output[f * output_stride + o]. `tile` counts from x's and dy's first image on. The tile to its right is asked for meanwhile.
static inline void transform_tile(
    const int tile, const int height, const int width, const int channels, const int output_height, const int output_width,
    const int outputs, const int padding, global const float *restrict x, global const float *restrict dy,
    global const float *restrict zeros, global float *restrict input, const ulong input_stride, global float *restrict output,
    const ulong output_stride)
{
    const int columns = (output_width + 3) / 4, rows = (output_height + 3) / 4;
    const int column = tile % columns * 4, row = tile / columns % rows * 4, n = tile / columns / rows;
    const int left = column - padding, top = row - padding;
    global const float *tile_origin = x + (((long)n * height + top) * width + left) * channels;
    for (int c = 0; c < channels; c += LANES) {
        real_v r[36];
        global const float *origin = tile_origin + c;
        if (c % 16 == 0)
            for (int i = 2; i < 6; ++i)
                for (int j = 6; j < 10; ++j) PREFETCH_LEVEL2(origin + ((long)i * width + j) * channels)
        WINOGRAD_READ_TILE(r, origin, zeros, top, left, height, width, channels)
        global float *restrict to = input + c;
        _Pragma("unroll") for (int j = 0; j < 6; ++j) {
            real_v o0, o1, o2, o3, o4, o5;
            WINOGRAD_INPUT(r[j], r[6 + j], r[12 + j], r[18 + j], r[24 + j], r[30 + j], o0, o1, o2, o3, o4, o5)
            store_v(o0, to + j * input_stride);
            store_v(o1, to + (6 + j) * input_stride);
            store_v(o2, to + (12 + j) * input_stride);
            store_v(o3, to + (18 + j) * input_stride);
            store_v(o4, to + (24 + j) * input_stride);
            store_v(o5, to + (30 + j) * input_stride);
        }
    }
    for (int o = 0; o < outputs; o += LANES) {
        real_v r[24];
        if (o % 16 == 0)
            for (int i = 0; i < 4; ++i)
                for (int j = 4; j < 8; ++j)
                    PREFETCH_LEVEL2(dy + (((ulong)n * output_height + row + i) * output_width + column + j) * outputs + o)
        _Pragma("unroll") for (int i = 0; i < 4; ++i) {
            const int inside = row + i < output_height;
            global const float *p = dy + (((ulong)n * output_height + row + i) * output_width + column) * outputs + o;
            const real_v d0 = inside ? load_v(p) : splat_v(0.0f);
            const real_v d1 = inside && column + 1 < output_width ? load_v(p + outputs) : splat_v(0.0f);
            const real_v d2 = inside && column + 2 < output_width ? load_v(p + 2 * outputs) : splat_v(0.0f);
            const real_v d3 = inside && column + 3 < output_width ? load_v(p + 3 * outputs) : splat_v(0.0f);
            WINOGRAD_OUTPUT_TRANSPOSED(
                d0, d1, d2, d3, r[i * 6], r[i * 6 + 1], r[i * 6 + 2], r[i * 6 + 3], r[i * 6 + 4], r[i * 6 + 5])
        }
        global float *restrict to = output + o;
        _Pragma("unroll") for (int j = 0; j < 6; ++j) {
            real_v o0, o1, o2, o3, o4, o5;
            WINOGRAD_OUTPUT_TRANSPOSED(r[j], r[6 + j], r[12 + j], r[18 + j], o0, o1, o2, o3, o4, o5)
            store_v(o0, to + j * output_stride);
            store_v(o1, to + (6 + j) * output_stride);
            store_v(o2, to + (12 + j) * output_stride);
            store_v(o3, to + (18 + j) * output_stride);
            store_v(o4, to + (24 + j) * output_stride);
            store_v(o5, to + (30 + j) * output_stride);
        }
    }
}

// sums of ROWS outputs by BLOCK channels over `tiles` tiles: a is dy's first value, b is x's.
#define MULTIPLY_TILES(output, outputs, input, channels, tiles) { \
        const int a_stride = 1, k = 0; \
        for (int t = 0; t < tiles; ++t) { \
            global const float *restrict a = output + (ulong)t * outputs; \
            global const float *restrict b = input + (ulong)t * channels; \
            const real_v w = load_v(b); \
            LOAD_HIGH \
            EACH_ROW(TILE_STEP) \
        } \
    }
#if BLOCK != LANES
#define LOAD_HIGH const real_v w_high = load_v(b + LANES);
#else
#define LOAD_HIGH
#endif

// Few channels: each work-item takes the group_tiles tiles of a group, chunk_tiles at a time, through both steps in scratch memory
// that stays in cache. sums: [group][36][outputs][channels]; scratch: 36 * (chunk_tiles * (channels + outputs) + 32) floats per
// group. Global size: [groups].
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void convolution_winograd_weight_group(
    const int tiles, const int group_tiles, const int chunk_tiles, const int height, const int width, const int channels,
    const int output_height, const int output_width, const int outputs, const int padding,
    global const float *restrict x, const ulong x_offset, global const float *restrict dy, const ulong dy_offset,
    global float *restrict sums, const ulong sums_offset, global float *restrict scratch, const ulong scratch_offset)
{
    const ulong input_stride = (ulong)chunk_tiles * channels + 16, output_stride = (ulong)chunk_tiles * outputs + 16;
    global float *restrict inputs = scratch + scratch_offset + get_global_id(0) * 36 * (input_stride + output_stride);
    global float *restrict gradients = inputs + 36 * input_stride;
    global float *restrict zeros = inputs + (ulong)chunk_tiles * channels; // the first of the gaps
    store_v(splat_v(0.0f), zeros);
    global float *restrict own = sums + sums_offset + get_global_id(0) * (ulong)(36 * outputs) * channels;
    const int begin = (int)get_global_id(0) * group_tiles, end = min(begin + group_tiles, tiles);
    for (int chunk = begin; chunk < end; chunk += chunk_tiles) {
        const int count = min(chunk_tiles, end - chunk);
        for (int t = 0; t < count; ++t)
            transform_tile(
                chunk + t, height, width, channels, output_height, output_width, outputs, padding, x + x_offset, dy + dy_offset, zeros,
                inputs + (ulong)t * channels, input_stride, gradients + (ulong)t * outputs, output_stride);
        for (int f = 0; f < 36; ++f) {
            for (int lane0 = 0; lane0 < channels; lane0 += BLOCK) {
                for (int o = 0; o + ROWS <= outputs; o += ROWS) {
                    global float *restrict first = own + ((ulong)f * outputs + o) * channels + lane0;
                    const int first_stride = channels;
                    EACH_ROW(TILE_ZERO)
                    if (chunk > begin) { EACH_ROW(TILE_LOAD) }
                    MULTIPLY_TILES((gradients + f * output_stride + o), outputs, (inputs + f * input_stride + lane0), channels, count)
                    EACH_ROW(TILE_STORE)
                }
            }
        }
    }
}

// transformed: [36][tiles][channels] then [36][tiles][outputs], each with 16 floats after every [tiles][...] part, then 16 floats per
// work-item.
// x and dy begin at the first image of this launch. Global size: [workers]; a work-item takes every get_global_size(0)-th tile.
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void convolution_winograd_weight_transform(
    const int tiles, const int height, const int width, const int channels, const int output_height, const int output_width,
    const int outputs, const int padding, global const float *restrict x, const ulong x_offset,
    global const float *restrict dy, const ulong dy_offset, global float *restrict transformed, const ulong transformed_offset)
{
    const ulong input_stride = (ulong)tiles * channels + 16, output_stride = (ulong)tiles * outputs + 16;
    global float *restrict inputs = transformed + transformed_offset;
    global float *restrict gradients = inputs + 36 * input_stride;
    global float *restrict zeros = gradients + 36 * output_stride + get_global_id(0) * 16;
    store_v(splat_v(0.0f), zeros);
    const int each = (tiles + (int)get_global_size(0) - 1) / (int)get_global_size(0);
    const int begin = (int)get_global_id(0) * each, end = min(begin + each, tiles);
    for (int tile = begin; tile < end; ++tile)
        transform_tile(
            tile, height, width, channels, output_height, output_width, outputs, padding, x + x_offset, dy + dy_offset, zeros,
            inputs + (ulong)tile * channels, input_stride, gradients + (ulong)tile * outputs, output_stride);
}

// sums[f][output][channel] (+)= sum over tiles of dy[f][tile][output] x[f][tile][channel] for `count` outputs from first_output on, a
// tile of ROWS outputs (which divide both) by BLOCK channels at a time. Global size: [channels / BLOCK, 36].
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void convolution_winograd_weight_multiply(
    const int tiles, const int channels, const int outputs, const int first_output, const int count,
    global const float *restrict transformed, const ulong transformed_offset, global float *restrict sums,
    const ulong sums_offset, const int accumulate)
{
    const int f = (int)get_global_id(1), lane0 = (int)get_global_id(0) * BLOCK;
    const ulong input_stride = (ulong)tiles * channels + 16, output_stride = (ulong)tiles * outputs + 16;
    global const float *restrict input = transformed + transformed_offset + f * input_stride + lane0;
    global const float *restrict output =
        transformed + transformed_offset + 36 * input_stride + f * output_stride + first_output;
    for (int o = 0; o + ROWS <= count; o += ROWS) {
        global float *restrict first = sums + sums_offset + ((ulong)f * count + o) * channels + lane0;
        const int first_stride = channels;
        EACH_ROW(TILE_ZERO)
        if (accumulate) { EACH_ROW(TILE_LOAD) }
        MULTIPLY_TILES((output + o), outputs, input, channels, tiles)
        EACH_ROW(TILE_STORE)
    }
}

// d weight [count, channels, 3, 3] = G^T (sums, those of all groups added in order) G. Global size: [channels / LANES, count].
kernel void convolution_winograd_weight_finish(
    const int channels, const int count, const int groups, global const float *restrict sums, const ulong sums_offset,
    global float *restrict gradients, const ulong gradients_offset)
{
    const ulong c = get_global_id(0) * LANES, o = get_global_id(1);
    const ulong stride = (ulong)count * channels;
    global const float *restrict m = sums + sums_offset + o * channels + c;
    real_v r[18];
    _Pragma("unroll") for (int i = 0; i < 6; ++i) {
        real_v m0 = load_v(m + (i * 6) * stride), m1 = load_v(m + (i * 6 + 1) * stride);
        real_v m2 = load_v(m + (i * 6 + 2) * stride), m3 = load_v(m + (i * 6 + 3) * stride);
        real_v m4 = load_v(m + (i * 6 + 4) * stride), m5 = load_v(m + (i * 6 + 5) * stride);
        for (int g = 1; g < groups; ++g) {
            global const float *restrict p = m + (ulong)(g * 36) * stride;
            m0 += load_v(p + (i * 6) * stride);
            m1 += load_v(p + (i * 6 + 1) * stride);
            m2 += load_v(p + (i * 6 + 2) * stride);
            m3 += load_v(p + (i * 6 + 3) * stride);
            m4 += load_v(p + (i * 6 + 4) * stride);
            m5 += load_v(p + (i * 6 + 5) * stride);
        }
        WINOGRAD_WEIGHT_TRANSPOSED(m0, m1, m2, m3, m4, m5, r[i * 3], r[i * 3 + 1], r[i * 3 + 2])
    }
    float lanes[9 * LANES];
    _Pragma("unroll") for (int j = 0; j < 3; ++j) {
        real_v g0, g1, g2;
        WINOGRAD_WEIGHT_TRANSPOSED(r[j], r[3 + j], r[6 + j], r[9 + j], r[12 + j], r[15 + j], g0, g1, g2)
        store_v(g0, lanes + j * LANES);
        store_v(g1, lanes + (3 + j) * LANES);
        store_v(g2, lanes + (6 + j) * LANES);
    }
    global float *restrict to = gradients + gradients_offset + (o * channels + c) * 9;
    for (int l = 0; l < LANES; ++l)
        for (int tap = 0; tap < 9; ++tap) to[l * 9 + tap] = lanes[tap * LANES + l];
}
