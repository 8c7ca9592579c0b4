// Whole channels on the move between channels-last values; rows = batch * height * width. A mode writes (1) or adds (2).
#include "common/lanes.clh"

#define ROWS \
    const ulong first = get_global_id(1) * (ulong)rows_per_item; \
    const ulong last = min(first + (ulong)rows_per_item, rows); \
    for (ulong r = first; r < last; ++r)

// y[r][target_first + i] = x[r][source_first + i] for i in 0 ..< count; x_channels and y_channels are the rows' lengths.
// Global size: [ceil(count / VECTOR), groups of rows_per_item rows].
kernel void channels_copy(
    const ulong rows, const int rows_per_item, const int count, const int x_channels, const int source_first,
    const int y_channels, const int target_first, global const x_t *restrict x, const ulong x_offset,
    global y_t *restrict y, const ulong y_offset, const int mode)
{
    ITEM_CHANNELS(count)
    ROWS store_y_lanes(
        load_x_lanes(x + x_offset + r * x_channels + source_first + c, lanes),
        y + y_offset + r * y_channels + target_first + c, lanes, mode);
}

// y[r][first_channel + i] = 0 for i in 0 ..< count. Global size: as channels_copy.
kernel void channels_clear(
    const ulong rows, const int rows_per_item, const int count, const int channels, const int first_channel,
    global float *restrict y, const ulong y_offset)
{
    ITEM_CHANNELS(count)
    ROWS store_lanes((real_v)(0.0f), y + y_offset + r * channels + first_channel + c, lanes, 1);
}

// y[r][j * groups + i] = x[r][i * (channels / groups) + j]. Global size: [channels or 1, groups of rows_per_item rows]: the
// first dimension strides over the channels of y.
kernel void channel_shuffle(
    const ulong rows, const int rows_per_item, const int channels, const int groups, global const x_t *restrict x,
    const ulong x_offset, global y_t *restrict y, const ulong y_offset, const int mode)
{
    const int per_group = channels / groups;
    ROWS {
        global const x_t *restrict from = x + x_offset + r * channels;
        global y_t *restrict to = y + y_offset + r * channels;
        int i = (int)get_global_id(0) % groups, j = (int)get_global_id(0) / groups;
        for (int c = (int)get_global_id(0); c < channels; c += (int)get_global_size(0)) {
            const float v = load_x(from + i * per_group + j);
            store_y(mode == 2 ? load_y(to + c) + v : v, to + c);
            // Only a lone work-item goes on, to the next channel.
            if (++i == groups) {
                i = 0;
                ++j;
            }
        }
    }
}
