// Convolution for CPU devices (the cpu profile): register tiles of PIXELS output pixels by BLOCK channels, one tile per
// work-item, work-group size 1, channels-last values, weights packed by pack_weights.cl.
//
// The pixels of a tile are consecutive in the flattened batch x height x width order, so no size is special; a tap that
// falls outside the image reads from a row of zeros instead of testing inside the innermost loop.
#ifndef BLOCK
#define BLOCK 16  // output channels per tile: lanes of one accumulator
#endif
#ifndef PIXELS
#define PIXELS 6  // output pixels per tile: 6 x 16 floats fill 12 of AVX2's 16 registers
#endif

#define VECTOR BLOCK
#include "common/vector.clh"

#if PIXELS == 4
#define EACH_PIXEL(M) M(0) M(1) M(2) M(3)
#elif PIXELS == 6
#define EACH_PIXEL(M) M(0) M(1) M(2) M(3) M(4) M(5)
#elif PIXELS == 8
#define EACH_PIXEL(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)
#elif PIXELS == 12
#define EACH_PIXEL(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)
#endif

// Where one output pixel lies.
#define PLACE(p) \
    const ulong pixel##p = first + p; \
    const int column##p = (int)(pixel##p % (ulong)output_width); \
    const int row##p = pixel##p < pixels ? (int)(pixel##p / (ulong)output_width % (ulong)output_height) : FAR_AWAY; \
    const ulong image##p = pixel##p / (ulong)output_width / (ulong)output_height * (ulong)(height * width); \
    real_v sum##p = (real_v)(0.0f);
#define FAR_AWAY (-(1 << 28))  // a row that no tap brings back into an image

// Where one tap reads for one output pixel: forward, h = row * stride + kh - padding.
#define TAP_FORWARD(p) \
    const int h##p = row##p * stride + kh - padding, w##p = column##p * stride + kw - padding; \
    global const float *restrict source##p = \
        (h##p >= 0 && h##p < height && w##p >= 0 && w##p < width) \
            ? x + x_offset + (image##p + (ulong)(h##p * width + w##p)) * channels : zeros;

// Input gradient: the output pixel is a pixel of the layer's input; h * stride = row + padding - kh must hold exactly.
#define TAP_TRANSPOSED(p) \
    const int v##p = row##p + padding - kh, u##p = column##p + padding - kw; \
    global const float *restrict source##p = \
        (v##p >= 0 && u##p >= 0 && v##p % stride == 0 && u##p % stride == 0 && v##p / stride < height && u##p / stride < width) \
            ? x + x_offset + (image##p + (ulong)(v##p / stride * width + u##p / stride)) * channels : zeros;

#define ACCUMULATE(p) sum##p = fma((real_v)(source##p[c]), w, sum##p);

// Bias, residual, rectifier, store; lanes beyond the last output channel are dropped.
#define FINISH(p) \
    if (pixel##p < pixels) { \
        real_v v = sum##p + start; \
        const ulong i = pixel##p * (ulong)output_channels + (ulong)lane0; \
        if (whole) { \
            if (add_residual) v += load_v(residual + residual_offset + i); \
            if (rectify) v = relu_v(v); \
            store_v(v, y + y_offset + i); \
        } else { \
            float lanes[BLOCK]; \
            store_v(v, lanes); \
            for (int l = 0; l < output_channels - lane0; ++l) { \
                float s = lanes[l]; \
                if (add_residual) s += residual[residual_offset + i + l]; \
                y[y_offset + i + l] = rectify && s < 0.0f ? 0.0f : s; \
            } \
        } \
    }

// x: [batch, height, width, channels], y: [batch, output_height, output_width, output_channels];
// pixels = batch * output_height * output_width; zeros holds at least `channels` zeros. The residual may be y itself.
// Global size: [blocks of output channels, tiles of pixels].
#define CONVOLUTION(NAME, TAP) \
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void NAME( \
    const ulong pixels, const int height, const int width, const int channels, const int output_height, \
    const int output_width, const int output_channels, const int kernel_size, const int stride, const int padding, \
    global const float *restrict x, const ulong x_offset, global const float *restrict packed, const ulong packed_offset, \
    global const float *restrict bias, const ulong bias_offset, global const float *residual, const ulong residual_offset, \
    global const float *restrict zeros, global float *y, const ulong y_offset, \
    const int add_bias, const int add_residual, const int rectify) \
{ \
    const ulong first = get_global_id(1) * (ulong)PIXELS; \
    const int lane0 = (int)get_global_id(0) * BLOCK; \
    const int whole = lane0 + BLOCK <= output_channels; \
    global const float *restrict weights = \
        packed + packed_offset + (ulong)lane0 * (ulong)(kernel_size * kernel_size) * (ulong)channels; \
    EACH_PIXEL(PLACE) \
    for (int kh = 0; kh < kernel_size; ++kh) { \
        for (int kw = 0; kw < kernel_size; ++kw) { \
            EACH_PIXEL(TAP) \
            for (int c = 0; c < channels; ++c) { \
                const real_v w = load_v(weights); \
                weights += BLOCK; \
                EACH_PIXEL(ACCUMULATE) \
            } \
        } \
    } \
    real_v start = (real_v)(0.0f); \
    if (add_bias) { \
        if (whole) start = load_v(bias + bias_offset + lane0); \
        else { \
            float lanes[BLOCK]; \
            for (int l = 0; l < BLOCK; ++l) \
                lanes[l] = lane0 + l < output_channels ? bias[bias_offset + lane0 + l] : 0.0f; \
            start = load_v(lanes); \
        } \
    } \
    EACH_PIXEL(FINISH) \
}

CONVOLUTION(convolution_direct_forward, TAP_FORWARD)
CONVOLUTION(convolution_direct_input_gradient, TAP_TRANSPOSED)
