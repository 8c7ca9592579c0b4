// Weight gradients of grouped convolutions, channels-last: each work-item sums over the pixels of a few images for one tap;
// grouped_weight_combine (partial_sums.cl) adds the groups of images in order and writes OIHW.
#include "common/lanes.clh"
#include "common/weight_columns.clh"

#define INPUTS 4  // input channels per work-item

// partial[images][input channel within the group * taps + tap][output channel].
// Global size: [groups * ceil(outputs_per_group / VECTOR) * taps * ceil(inputs_per_group / INPUTS), groups of images].
kernel void grouped_weight_partial(
    const int batch, const int images_per_chunk, const int height, const int width, const int channels,
    const int inputs_per_group, const int output_height, const int output_width, const int output_channels,
    const int outputs_per_group, const int kernel_size, const int stride, const int padding, global const float *restrict x,
    const ulong x_offset, global const float *restrict dy, const ulong dy_offset, global float *restrict partial,
    const ulong partial_offset)
{
    const int taps = kernel_size * kernel_size;
    const int blocks = (outputs_per_group + VECTOR - 1) / VECTOR;
    const int tiles = (inputs_per_group + INPUTS - 1) / INPUTS;
    // Output channels vary fastest: neighbours read neighbours.
    const int id = (int)get_global_id(0);
    const int all_blocks = output_channels / outputs_per_group * blocks;
    const int block = id % all_blocks, tap = id / all_blocks % taps, tile = id / all_blocks / taps;
    const int group = block / blocks;
    const int output = group * outputs_per_group + block % blocks * VECTOR;
    const int lanes = min(VECTOR, outputs_per_group - block % blocks * VECTOR);
    const int c0 = tile * INPUTS;
    const int source_channel = group * inputs_per_group + c0;
    // Channels beyond the last read the last one again and are not stored.
    const int i1 = min(c0 + 1, inputs_per_group - 1) - c0, i2 = min(c0 + 2, inputs_per_group - 1) - c0,
              i3 = min(c0 + 3, inputs_per_group - 1) - c0;
    const int kh = tap / kernel_size, kw = tap % kernel_size;
    const int first_image = (int)get_global_id(1) * images_per_chunk;
    const int last_image = min(first_image + images_per_chunk, batch);
    COLUMNS
    real_v s0 = (real_v)(0.0f), s1 = (real_v)(0.0f), s2 = (real_v)(0.0f), s3 = (real_v)(0.0f);
    for (int n = first_image; n < last_image; ++n) {
        for (int oh = 0; oh < output_height; ++oh) {
            const int h = oh * stride + kh - padding;
            if (h < 0 || h >= height) continue;
            ROW
            for (int ow = first_column; ow < last_column; ++ow) {
                const real_v g = load_lanes(gp, lanes);
                s0 = fma((real_v)(xp[0]), g, s0);
                s1 = fma((real_v)(xp[i1]), g, s1);
                s2 = fma((real_v)(xp[i2]), g, s2);
                s3 = fma((real_v)(xp[i3]), g, s3);
                xp += stride * channels;
                gp += output_channels;
            }
        }
    }
    const ulong row = (ulong)get_global_id(1) * inputs_per_group * taps + (ulong)c0 * taps + tap;
    global float *restrict out = partial + partial_offset + row * output_channels + output;
    const ulong step = (ulong)taps * output_channels;
    store_lanes(s0, out, lanes, 1);
    if (c0 + 1 < inputs_per_group) store_lanes(s1, out + step, lanes, 1);
    if (c0 + 2 < inputs_per_group) store_lanes(s2, out + 2 * step, lanes, 1);
    if (c0 + 3 < inputs_per_group) store_lanes(s3, out + 3 * step, lanes, 1);
}
