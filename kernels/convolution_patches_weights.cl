// Weight gradient of any convolution for CPU devices (the cpu profile): tiles of ROWS output channels by BLOCK columns of the
// patches, summed over a group of output pixels per work-item; partial_sums.cl adds the groups.
#include "common/tile.clh"
#include "common/patches.clh"

// Rows beyond the last output read the last one again and are not stored.
#define OUTPUT_ROW(r) const int o##r = min(o + r, outputs - 1) - o;
#define ADD_ROW(r) if (o + r < outputs) { TILE_ADD(r) }
#define KEEP_ROW(r) if (o + r < outputs) { TILE_STORE(r) }
#if BLOCK == LANES
#define WEIGHT_STEP(r) sum##r = fma(splat_v(a[o##r]), w, sum##r);
#else
#define WEIGHT_STEP(r) { const real_v v = splat_v(a[o##r]); sum##r = fma(v, w, sum##r); high##r = fma(v, w_high, high##r); }
#endif

// partial[group][output][padded_depth], padded_depth = kernel_size^2 * channels rounded up to BLOCK. A work-item takes the
// group_pixels output pixels of its group, chunk_pixels at a time. scratch: chunk_pixels * padded_depth floats per group.
// Global size: [groups].
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void convolution_patches_weight_partial(
    const ulong pixels, const int height, const int width, const int channels, const int output_height,
    const int output_width, const int outputs, const int kernel_size, const int stride, const int padding,
    const ulong group_pixels, const int chunk_pixels, const int padded_depth, global const float *restrict x,
    const ulong x_offset, global const float *restrict dy, const ulong dy_offset, global float *restrict partial,
    const ulong partial_offset, global float *restrict scratch, const ulong scratch_offset)
{
    const int depth = kernel_size * kernel_size * channels;
    const int plain = kernel_size == 1 && stride == 1 && padding == 0 && padded_depth == channels;
    global float *restrict patches = scratch + scratch_offset + get_global_id(0) * (ulong)chunk_pixels * padded_depth;
    global float *restrict sums = partial + partial_offset + get_global_id(0) * (ulong)outputs * padded_depth;
    const ulong group_begin = get_global_id(0) * group_pixels, group_end = min(group_begin + group_pixels, pixels);
    for (ulong begin = group_begin; begin < group_end; begin += chunk_pixels) {
        const int chunk = (int)min((ulong)chunk_pixels, group_end - begin);
        output_place place = place_of(begin, output_height, output_width);
        for (int p = 0; p < (plain ? 0 : chunk); ++p, place = place_after(place, output_height, output_width)) {
            global float *patch = patches + (ulong)p * padded_depth;
            gather_patch(
                x + x_offset + place.image * (ulong)(height * width) * channels, patch, place.row * stride - padding,
                place.column * stride - padding, height, width, channels, kernel_size);
            zero_run(patch + depth, padded_depth - depth);
        }
        global const float *rows = plain ? x + x_offset + begin * channels : patches;
        for (int lane0 = 0; lane0 < padded_depth; lane0 += BLOCK) {
            for (int o = 0; o < outputs; o += ROWS) {
                global float *restrict first = sums + (ulong)o * padded_depth + lane0;
                const int first_stride = padded_depth;
                EACH_ROW(OUTPUT_ROW)
                EACH_ROW(TILE_ZERO)
                global const float *restrict a = dy + dy_offset + begin * outputs + o;
                global const float *restrict b = rows + lane0;
                for (int p = 0; p < chunk; ++p) {
                    const real_v w = load_v(b);
#if BLOCK != LANES
                    const real_v w_high = load_v(b + LANES);
#endif
                    EACH_ROW(WEIGHT_STEP)
                    a += outputs;
                    b += padded_depth;
                }
                // Chunk by chunk: one sum over a whole group would gather the rounding of every pixel.
                if (begin > group_begin) { EACH_ROW(ADD_ROW) }
                EACH_ROW(KEEP_ROW)
            }
        }
    }
}
