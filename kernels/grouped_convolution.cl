// Convolution in groups of channels, channels-last: forward and input gradient. A work-item computes PIXELS pixels of
// VECTOR channels (of one group); sums run over taps, then over the group's channels, in order. Weights are packed by
// pack_weights.cl.
#include "common/lanes.clh"
#include "common/pixels.clh"

#define ACCUMULATE(p) sum##p = fma((real_v)(load_x(source##p + c)), w, sum##p);

// x: [batch, height, width, channels]; y: [batch, target_height, target_width, target_channels], written (mode 1) or added
// to (mode 2); pixels = batch * target_height * target_width; packed holds packed_count weights and
// then zeros, one for each channel that a pixel outside the image is read with. The residual may be y itself.
// Global size: [groups * ceil(targets_per_group / VECTOR), any], the second dimension strides over pixels.
#define GROUPED(NAME, TAP) \
kernel void NAME( \
    const ulong pixels, const int height, const int width, const int channels, const int sources_per_group, \
    const int target_height, const int target_width, const int target_channels, const int targets_per_group, \
    const int kernel_size, const int stride, const int padding, global const x_t *restrict x, const ulong x_offset, \
    global const float *restrict packed, const ulong packed_offset, global const float *restrict bias, \
    const ulong bias_offset, global const residual_t *residual, const ulong residual_offset, const ulong packed_count, \
    global y_t *y, const ulong y_offset, const int add_bias, const int add_residual, const int rectify, const int mode) \
{ \
    const int blocks = (targets_per_group + VECTOR - 1) / VECTOR; \
    const int group = (int)get_global_id(0) / blocks, block = (int)get_global_id(0) % blocks; \
    const int target_channel = group * targets_per_group + block * VECTOR; \
    const int lanes = min(VECTOR, targets_per_group - block * VECTOR); \
    const int source_channel = group * sources_per_group; \
    const int taps = kernel_size * kernel_size; \
    global const x_t *restrict zeros = (global const x_t *)(packed + packed_offset + packed_count); \
    for (ulong first = get_global_id(1) * PIXELS; first < pixels; first += get_global_size(1) * PIXELS) { \
        EACH_PIXEL(PLACE) \
        for (int tap = 0; tap < taps; ++tap) { \
            const int kh = tap / kernel_size, kw = tap % kernel_size; \
            EACH_PIXEL(TAP) \
            global const float *restrict weights = packed + packed_offset + (ulong)tap * target_channels + target_channel; \
            for (int c = 0; c < sources_per_group; ++c) { \
                const real_v w = load_v(weights); \
                weights += (ulong)taps * target_channels; \
                EACH_PIXEL(ACCUMULATE) \
            } \
        } \
        EACH_PIXEL(FINISH) \
    } \
}

GROUPED(grouped_convolution_forward, TAP_FORWARD)
GROUPED(grouped_convolution_input_gradient, TAP_TRANSPOSED)
