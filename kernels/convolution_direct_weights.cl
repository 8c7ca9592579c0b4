// Weight gradient of a convolution for CPU devices: tiles of CHANNELS input by BLOCK output channels for one tap, summed over
// the pixels of a few images per work-item; a second launch adds the groups of images in order and writes OIHW.
#ifndef BLOCK
#define BLOCK 16  // output channels per tile
#endif
#define CHANNELS 4  // input channels per tile: 4 x 16 floats fill 8 of AVX2's 16 registers, enough to hide the latency of fma

#define VECTOR BLOCK
#include "common/vector.clh"

// partial[group][block of outputs][tap][input channel][BLOCK]. Channels-last x and dy.
// Global size: [blocks * taps * ceil(channels / CHANNELS), groups]: the tiles of one group run together, its images in cache.
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void convolution_direct_weight_partial(
    const int batch, const int images_per_group, const int height, const int width, const int channels,
    const int output_height, const int output_width, const int output_channels, const int kernel_size, const int stride,
    const int padding, global const float *restrict x, const ulong x_offset, global const float *restrict dy,
    const ulong dy_offset, global float *restrict partial, const ulong partial_offset)
{
    const int channel_tiles = (channels + CHANNELS - 1) / CHANNELS;
    const int taps = kernel_size * kernel_size;
    const int tile = (int)get_global_id(0);
    const int c0 = tile % channel_tiles * CHANNELS;
    const int tap = tile / channel_tiles % taps;
    const int lane0 = tile / channel_tiles / taps * BLOCK;
    const int kh = tap / kernel_size, kw = tap % kernel_size;
    const int group = (int)get_global_id(1);
    const int first_image = group * images_per_group;
    const int last_image = min(first_image + images_per_group, batch);
    // Channels beyond the last read the last one again and are not stored.
    const int i1 = min(c0 + 1, channels - 1) - c0, i2 = min(c0 + 2, channels - 1) - c0, i3 = min(c0 + 3, channels - 1) - c0;
    const int whole = lane0 + BLOCK <= output_channels;

    // The output columns whose tap lies inside the image.
    const int shift = kw - padding;
    const int first_column = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
    const int last_column = width - 1 - shift < 0 ? 0 : min(output_width, (width - 1 - shift) / stride + 1);

    real_v s0 = (real_v)(0.0f), s1 = (real_v)(0.0f), s2 = (real_v)(0.0f), s3 = (real_v)(0.0f);
    for (int n = first_image; n < last_image; ++n) {
        for (int oh = 0; oh < output_height; ++oh) {
            const int h = oh * stride + kh - padding;
            if (h < 0 || h >= height) continue;
            global const float *restrict xp =
                x + x_offset + (((ulong)n * height + h) * width + (ulong)(first_column * stride + shift)) * channels + c0;
            global const float *restrict gp =
                dy + dy_offset + (((ulong)n * output_height + oh) * output_width + first_column) * output_channels + lane0;
            for (int ow = first_column; ow < last_column; ++ow) {
                real_v g;
                if (whole) g = load_v(gp);
                else {
                    float lanes[BLOCK];
                    for (int l = 0; l < BLOCK; ++l) lanes[l] = lane0 + l < output_channels ? gp[l] : 0.0f;
                    g = load_v(lanes);
                }
                s0 = fma((real_v)(xp[0]), g, s0);
                s1 = fma((real_v)(xp[i1]), g, s1);
                s2 = fma((real_v)(xp[i2]), g, s2);
                s3 = fma((real_v)(xp[i3]), g, s3);
                xp += stride * channels;
                gp += output_channels;
            }
        }
    }
    const ulong blocks = (ulong)(output_channels + BLOCK - 1) / BLOCK;
    global float *restrict out = partial + partial_offset
        + (((ulong)group * blocks + lane0 / BLOCK) * taps + tap) * channels * BLOCK + (ulong)c0 * BLOCK;
    store_v(s0, out);
    if (c0 + 1 < channels) store_v(s1, out + BLOCK);
    if (c0 + 2 < channels) store_v(s2, out + 2 * BLOCK);
    if (c0 + 3 < channels) store_v(s3, out + 3 * BLOCK);
}

// Adds the groups in order, BLOCK output channels at a time; writes d weight [outputs, channels, taps].
// Global size: [channels, taps, blocks of outputs].
kernel void convolution_direct_weight_combine(
    const int groups, const int channels, const int output_channels, const int taps,
    global const float *restrict partial, const ulong partial_offset, global float *restrict gradients,
    const ulong gradients_offset)
{
    const ulong c = get_global_id(0), t = get_global_id(1), block = get_global_id(2);
    const ulong blocks = get_global_size(2);
    const ulong group_size = blocks * taps * channels * BLOCK;
    global const float *restrict in = partial + partial_offset + ((block * taps + t) * channels + c) * BLOCK;
    real_v sum = (real_v)(0.0f);
    for (int g = 0; g < groups; ++g) sum += load_v(in + (ulong)g * group_size);
    float lanes[BLOCK];
    store_v(sum, lanes);
    const ulong first = block * BLOCK;
    const ulong last = min(first + BLOCK, (ulong)output_channels);
    for (ulong o = first; o < last; ++o)
        gradients[gradients_offset + (o * channels + c) * taps + t] = lanes[o - first];
}
