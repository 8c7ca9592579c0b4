// Weight gradients of grouped and depthwise convolutions, channels-last: each work-item sums over the pixels of a few images for
// one tap; a second launch adds the groups of images in order and writes OIHW.
#include "common/lanes.clh"

// The output columns whose tap lies inside the image, and the sums' pointers for one row: x at source_channel, dy at output.
#define COLUMNS \
    const int shift = kw - padding; \
    const int first_column = shift >= 0 ? 0 : (-shift + stride - 1) / stride; \
    const int last_column = width - 1 - shift < 0 ? 0 : min(output_width, (width - 1 - shift) / stride + 1);
#define ROW \
    global const float *restrict xp = \
        x + x_offset + (((ulong)n * height + h) * width + (ulong)(first_column * stride + shift)) * channels + source_channel; \
    global const float *restrict gp = \
        dy + dy_offset + (((ulong)n * output_height + oh) * output_width + first_column) * output_channels + output;

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

// partial[images][tap][channel]. Global size: [ceil(channels / VECTOR) * taps, groups of images].
kernel void depthwise_weight_partial(
    const int batch, const int images_per_chunk, const int height, const int width, const int channels,
    const int output_height, const int output_width, const int kernel_size, const int stride, const int padding,
    global const float *restrict x, const ulong x_offset, global const float *restrict dy, const ulong dy_offset,
    global float *restrict partial, const ulong partial_offset)
{
    const int taps = kernel_size * kernel_size;
    const int blocks = (channels + VECTOR - 1) / VECTOR;
    const int id = (int)get_global_id(0);
    const int tap = id / blocks;
    const int output = id % blocks * VECTOR, source_channel = output, output_channels = channels;
    const int lanes = min(VECTOR, channels - output);
    const int kh = tap / kernel_size, kw = tap % kernel_size;
    const int first_image = (int)get_global_id(1) * images_per_chunk;
    const int last_image = min(first_image + images_per_chunk, batch);
    COLUMNS
    const ulong x_step = (ulong)stride * channels;
    // Two sums, of even and odd columns, so that one fused multiply-add need not wait for the other.
    real_v s0 = (real_v)(0.0f), s1 = (real_v)(0.0f);
    for (int n = first_image; n < last_image; ++n) {
        for (int oh = 0; oh < output_height; ++oh) {
            const int h = oh * stride + kh - padding;
            if (h < 0 || h >= height) continue;
            ROW
            int ow = first_column;
            for (; ow + 1 < last_column; ow += 2) {
                s0 = fma(load_lanes(xp, lanes), load_lanes(gp, lanes), s0);
                s1 = fma(load_lanes(xp + x_step, lanes), load_lanes(gp + channels, lanes), s1);
                xp += 2 * x_step;
                gp += 2 * channels;
            }
            if (ow < last_column) s0 = fma(load_lanes(xp, lanes), load_lanes(gp, lanes), s0);
        }
    }
    const ulong row = (ulong)get_global_id(1) * taps + tap;
    store_lanes(s0 + s1, partial + partial_offset + row * channels + output, lanes, 1);
}

// d weight [output][input channel within the group][tap]: the groups of images added in order.
// Global size: [output channels, inputs_per_group * taps].
kernel void grouped_weight_combine(
    const int chunks, global const float *restrict partial, const ulong partial_offset, global float *restrict gradients,
    const ulong gradients_offset)
{
    const ulong output = get_global_id(0), row = get_global_id(1);
    const ulong outputs = get_global_size(0), rows = get_global_size(1);
    float sum = 0.0f;
    for (int chunk = 0; chunk < chunks; ++chunk)
        sum += partial[partial_offset + ((ulong)chunk * rows + row) * outputs + output];
    gradients[gradients_offset + output * rows + row] = sum;
}
