// Pooling over windows of channels-last values: largest value, mean with padding counted as zeros, and the adaptive mean.
// Each work-item takes `pixels_per_item` pixels, of each VECTOR channels or, as the global size says, several times as many.
// Global size: [up to ceil(channels / VECTOR), groups of pixels].
// Backward passes gather: each input pixel visits the windows that cover it, in order; a mode writes (1) or adds (2).
#include "common/lanes.clh"
#include "common/position.clh"

#define ITEM(pixels) \
    const ulong first = get_global_id(1) * (ulong)pixels_per_item; \
    const ulong last = min(first + (ulong)pixels_per_item, (ulong)(pixels));
// The channels of an item at a pixel, and how many of a vector there are.
#define EACH_CHANNEL \
    for (int c = (int)get_global_id(0) * VECTOR; c < channels; c += (int)get_global_size(0) * VECTOR)
#define CHANNELS_HERE min(VECTOR, channels - c)
// A pixel's image, row and column in a plane of some height and width.
#define SPLIT(pixel, plane_height, plane_width) \
    const position_t place = position(pixel, pixels, plane_height, plane_width); \
    const ulong n = place.image; \
    const int row = place.row, column = place.column;
// The windows along one axis that cover position i.
#define FIRST_WINDOW(i) ((i) + padding < kernel_size ? 0 : ((i) + padding - kernel_size) / stride + 1)
#define LAST_WINDOW(i, windows) min(((i) + padding) / stride + 1, windows)

// winners[pixel][channel] (if asked for): the tap that was largest, the first of equals; a NaN wins.
kernel void max_pool_forward(
    const ulong pixels, const int pixels_per_item, const int height, const int width, const int channels,
    const int output_height, const int output_width, const int kernel_size, const int stride, const int padding,
    global const x_t *restrict x, const ulong x_offset, global y_t *restrict y, const ulong y_offset,
    global float *restrict winners, const ulong winners_offset, const int keep_winners)
{
    ITEM(pixels)
    for (ulong pixel = first; pixel < last; ++pixel) {
        SPLIT(pixel, output_height, output_width)
        const int h0 = row * stride - padding, w0 = column * stride - padding;
        const int kh_first = max(-h0, 0), kw_first = max(-w0, 0);
        const int kh_last = min(kernel_size, height - h0), kw_last = min(kernel_size, width - w0);
        EACH_CHANNEL {
            const int lanes = CHANNELS_HERE;
            real_v best = (real_v)(-INFINITY);
            real_v winner = (real_v)((float)(kh_first * kernel_size + kw_first));
            for (int kh = kh_first; kh < kh_last; ++kh) {
                for (int kw = kw_first; kw < kw_last; ++kw) {
                    const real_v v = load_x_lanes(
                        x + x_offset + ((n * height + h0 + kh) * width + w0 + kw) * (ulong)channels + c, lanes);
                    winner = select(winner, (real_v)((float)(kh * kernel_size + kw)), (v > best) | (v != v));
                    best = select(best, v, (v > best) | (v != v));
                }
            }
            store_y_lanes(best, y + y_offset + pixel * channels + c, lanes, 1);
            if (keep_winners) store_lanes(winner, winners + winners_offset + pixel * channels + c, lanes, 1);
        }
    }
}

// pixels: of the input, as in the other backward passes.
kernel void max_pool_backward(
    const ulong pixels, const int pixels_per_item, const int height, const int width, const int channels,
    const int output_height, const int output_width, const int kernel_size, const int stride, const int padding,
    global const float *restrict dy, const ulong dy_offset, global const float *restrict winners,
    const ulong winners_offset, global float *restrict dx, const ulong dx_offset, const int mode)
{
    ITEM(pixels)
    for (ulong pixel = first; pixel < last; ++pixel) {
        SPLIT(pixel, height, width)
        const int oh0 = FIRST_WINDOW(row), oh1 = LAST_WINDOW(row, output_height);
        const int ow0 = FIRST_WINDOW(column), ow1 = LAST_WINDOW(column, output_width);
        EACH_CHANNEL {
            const int lanes = CHANNELS_HERE;
            real_v sum = (real_v)(0.0f);
            for (int oh = oh0; oh < oh1; ++oh) {
                for (int ow = ow0; ow < ow1; ++ow) {
                    const ulong o = ((n * output_height + oh) * output_width + ow) * (ulong)channels + c;
                    const int tap = (row + padding - oh * stride) * kernel_size + column + padding - ow * stride;
                    const real_v winner = load_lanes(winners + winners_offset + o, lanes);
                    const real_v g = load_lanes(dy + dy_offset + o, lanes);
                    sum += select((real_v)(0.0f), g, winner == (real_v)((float)tap));
                }
            }
            store_lanes(sum, dx + dx_offset + pixel * channels + c, lanes, mode);
        }
    }
}

kernel void average_pool_forward(
    const ulong pixels, const int pixels_per_item, const int height, const int width, const int channels,
    const int output_height, const int output_width, const int kernel_size, const int stride, const int padding,
    global const x_t *restrict x, const ulong x_offset, global y_t *restrict y, const ulong y_offset)
{
    ITEM(pixels)
    for (ulong pixel = first; pixel < last; ++pixel) {
        SPLIT(pixel, output_height, output_width)
        const int h0 = row * stride - padding, w0 = column * stride - padding;
        EACH_CHANNEL {
            const int lanes = CHANNELS_HERE;
            real_v sum = (real_v)(0.0f);
            for (int h = max(h0, 0); h < min(h0 + kernel_size, height); ++h)
                for (int w = max(w0, 0); w < min(w0 + kernel_size, width); ++w)
                    sum += load_x_lanes(x + x_offset + ((n * height + h) * width + w) * (ulong)channels + c, lanes);
            store_y_lanes(sum / (float)(kernel_size * kernel_size), y + y_offset + pixel * channels + c, lanes, 1);
        }
    }
}

kernel void average_pool_backward(
    const ulong pixels, const int pixels_per_item, const int height, const int width, const int channels,
    const int output_height, const int output_width, const int kernel_size, const int stride, const int padding,
    global const float *restrict dy, const ulong dy_offset, global float *restrict dx, const ulong dx_offset, const int mode)
{
    ITEM(pixels)
    for (ulong pixel = first; pixel < last; ++pixel) {
        SPLIT(pixel, height, width)
        const int oh0 = FIRST_WINDOW(row), oh1 = LAST_WINDOW(row, output_height);
        const int ow0 = FIRST_WINDOW(column), ow1 = LAST_WINDOW(column, output_width);
        EACH_CHANNEL {
            const int lanes = CHANNELS_HERE;
            real_v sum = (real_v)(0.0f);
            for (int oh = oh0; oh < oh1; ++oh)
                for (int ow = ow0; ow < ow1; ++ow)
                    sum += load_lanes(
                        dy + dy_offset + ((n * output_height + oh) * output_width + ow) * (ulong)channels + c, lanes);
            store_lanes(sum / (float)(kernel_size * kernel_size), dx + dx_offset + pixel * channels + c, lanes, mode);
        }
    }
}

// Window o of `windows` over an axis of `extent`: floor(o extent / windows) up to ceil((o + 1) extent / windows).
#define WINDOW_START(o, extent, windows) (int)((long)(o) * (extent) / (windows))
#define WINDOW_END(o, extent, windows) (int)((((long)(o) + 1) * (extent) + (windows) - 1) / (windows))

kernel void adaptive_average_pool_forward(
    const ulong pixels, const int pixels_per_item, const int height, const int width, const int channels,
    const int output_height, const int output_width, global const x_t *restrict x, const ulong x_offset,
    global y_t *restrict y, const ulong y_offset)
{
    ITEM(pixels)
    for (ulong pixel = first; pixel < last; ++pixel) {
        SPLIT(pixel, output_height, output_width)
        const int h0 = WINDOW_START(row, height, output_height), h1 = WINDOW_END(row, height, output_height);
        const int w0 = WINDOW_START(column, width, output_width), w1 = WINDOW_END(column, width, output_width);
        EACH_CHANNEL {
            const int lanes = CHANNELS_HERE;
            real_v sum = (real_v)(0.0f);
            for (int h = h0; h < h1; ++h)
                for (int w = w0; w < w1; ++w)
                    sum += load_x_lanes(x + x_offset + ((n * height + h) * width + w) * (ulong)channels + c, lanes);
            store_y_lanes(sum / (float)((h1 - h0) * (w1 - w0)), y + y_offset + pixel * channels + c, lanes, 1);
        }
    }
}

kernel void adaptive_average_pool_backward(
    const ulong pixels, const int pixels_per_item, const int height, const int width, const int channels,
    const int output_height, const int output_width, global const float *restrict dy, const ulong dy_offset,
    global float *restrict dx, const ulong dx_offset, const int mode)
{
    ITEM(pixels)
    for (ulong pixel = first; pixel < last; ++pixel) {
        SPLIT(pixel, height, width)
        // The windows that cover a position are those of the outputs that its own share of the axis touches.
        const int oh0 = WINDOW_START(row, output_height, height), oh1 = WINDOW_END(row, output_height, height);
        const int ow0 = WINDOW_START(column, output_width, width), ow1 = WINDOW_END(column, output_width, width);
        EACH_CHANNEL {
            const int lanes = CHANNELS_HERE;
            real_v sum = (real_v)(0.0f);
            for (int oh = oh0; oh < oh1; ++oh) {
                const int rows = WINDOW_END(oh, height, output_height) - WINDOW_START(oh, height, output_height);
                for (int ow = ow0; ow < ow1; ++ow) {
                    const int columns = WINDOW_END(ow, width, output_width) - WINDOW_START(ow, width, output_width);
                    const ulong o = ((n * output_height + oh) * output_width + ow) * (ulong)channels + c;
                    sum += load_lanes(dy + dy_offset + o, lanes) / (float)(rows * columns);
                }
            }
            store_lanes(sum, dx + dx_offset + pixel * channels + c, lanes, mode);
        }
    }
}
