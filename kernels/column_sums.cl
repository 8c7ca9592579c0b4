// Sums of a [rows, columns] matrix over its rows for GPU devices (bias gradients), in two launches.
#include "common/group_sums.clh"

// partial[chunk][column]. Work-groups: [columns / WIDTH, chunks]; scratch: [ITEMS].
kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void column_sums_chunk(
    const ulong rows, const int columns, const int rows_per_chunk, global const float *restrict x, const ulong x_offset,
    global float *restrict partial, const ulong partial_offset, local real_v *scratch)
{
    ITEM_OF_CHUNK(columns)
    global const float *restrict p = x + x_offset + (first + line) * columns + c;
    real_v sum = (real_v)(0.0f);
    for (int r = line; r < mine; r += BATCH * LINES) {
        real_v v[BATCH];
        EACH_OF_BATCH for (int q = 0; q < BATCH; ++q)
            v[q] = r + q * LINES < mine ? load_lanes(p + (ulong)(q * LINES) * columns, VECTOR) : (real_v)(0.0f);
        EACH_OF_BATCH for (int q = 0; q < BATCH; ++q) sum += v[q];
        p += (ulong)(BATCH * LINES) * columns;
    }
    sum = line_sum(sum, scratch, COLUMNS, LINES);
    if (line == 0 && c < columns) store_lanes(sum, partial + partial_offset + chunk * columns + c, VECTOR, 1);
}

// Adds the chunks. Work-groups: [columns]; scratch: [MERGERS].
kernel __attribute__((reqd_work_group_size(MERGERS, 1, 1))) void column_sums_merge(
    const int columns, const int chunks, global const float *restrict partial, const ulong partial_offset,
    global float *restrict sums, const ulong sums_offset, local float *scratch)
{
    const int item = (int)get_local_id(0), c = (int)get_group_id(0);
    float sum = 0.0f;
    UNROLL_CHUNKS for (int k = item; k < chunks; k += MERGERS) sum += partial[partial_offset + (ulong)k * columns + c];
    sum = merged_sum(sum, scratch, 1, MERGERS);
    if (item == 0) sums[sums_offset + c] = sum;
}
