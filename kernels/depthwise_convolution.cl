// Convolution with one filter per channel, channels-last: forward and input gradient. A work-item computes PIXELS pixels of
// VECTOR channels; the sum runs over the taps in order.
#include "common/lanes.clh"
#include "common/pixels.clh"

#define ACCUMULATE(p) sum##p = fma(load_x_lanes(source##p, lanes), w, sum##p);

// x: [batch, height, width, channels]; y: [batch, target_height, target_width, channels], written (mode 1) or added to
// (mode 2); packed: [taps][channels] = packed_count weights and VECTOR zeros (grouped_pack_weights). The residual may be y.
// Global size: [ceil(channels / VECTOR), ceil(pixels / PIXELS)], pixels = batch * target_height * target_width.
#define DEPTHWISE(NAME, TAP) \
kernel void NAME( \
    const ulong pixels, const int height, const int width, const int channels, const int target_height, \
    const int target_width, const int kernel_size, const int stride, const int padding, global const x_t *restrict x, \
    const ulong x_offset, global const float *restrict packed, const ulong packed_offset, global const float *restrict bias, \
    const ulong bias_offset, global const residual_t *residual, const ulong residual_offset, const ulong packed_count, \
    global y_t *y, const ulong y_offset, const int add_bias, const int add_residual, const int rectify, const int mode) \
{ \
    const ulong first = get_global_id(1) * (ulong)PIXELS; \
    const int source_channel = (int)get_global_id(0) * VECTOR, target_channel = source_channel; \
    const int target_channels = channels; \
    const int lanes = min(VECTOR, channels - target_channel); \
    global const x_t *restrict zeros = (global const x_t *)(packed + packed_offset + packed_count); \
    EACH_PIXEL(PLACE) \
    for (int kh = 0; kh < kernel_size; ++kh) { \
        for (int kw = 0; kw < kernel_size; ++kw) { \
            EACH_PIXEL(TAP) \
            const real_v w = load_v(packed + packed_offset + (ulong)(kh * kernel_size + kw) * channels + target_channel); \
            EACH_PIXEL(ACCUMULATE) \
        } \
    } \
    EACH_PIXEL(FINISH) \
}

DEPTHWISE(depthwise_convolution_forward, TAP_FORWARD)
DEPTHWISE(depthwise_convolution_input_gradient, TAP_TRANSPOSED)
