// Sums of a [rows, columns] matrix over its rows for GPU devices (bias gradients), in two launches.
#include "common/group_sums.clh"

// partial[chunk][column]. Work-groups: [columns / WIDTH, chunks]; scratch: ITEMS floats.
kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void column_sums_chunk(
    const ulong rows, const int columns, const int rows_per_chunk, global const float *restrict x, const ulong x_offset,
    global float *restrict partial, const ulong partial_offset, local float *scratch)
{
    ITEM_OF_CHUNK(columns)
    global const float *restrict p = x + x_offset + first * columns + c;
    float sum = 0.0f;
    UNROLL_ROWS for (int r = 0; r < count; r += LINES)
        sum += r + item / WIDTH < mine ? p[(ulong)(r + item / WIDTH) * columns] : 0.0f;
    sum = line_sum(sum, scratch);
    if (item < WIDTH && c < columns) partial[partial_offset + chunk * columns + c] = sum;
}

// Adds the chunks. Work-groups: [columns]; scratch: MERGERS floats.
kernel __attribute__((reqd_work_group_size(MERGERS, 1, 1))) void column_sums_merge(
    const int columns, const int chunks, global const float *restrict partial, const ulong partial_offset,
    global float *restrict sums, const ulong sums_offset, local float *scratch)
{
    const int item = (int)get_local_id(0), c = (int)get_group_id(0);
    float sum = 0.0f;
    for (int k = item; k < chunks; k += MERGERS) sum += partial[partial_offset + (ulong)k * columns + c];
    scratch[item] = sum;
    MERGE_ALL(ADDED)
    if (item == 0) sums[sums_offset + c] = scratch[0];
}
