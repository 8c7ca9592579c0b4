// Sums of a [rows, columns] matrix over its rows (bias gradients), in two launches, the order fixed.

// partial[chunk][column]. Global size: [columns, chunks].
kernel void column_sums_partial(
    const ulong rows, const int columns, const int rows_per_chunk, global const float *restrict x, const ulong x_offset,
    global float *restrict partial, const ulong partial_offset)
{
    const int c = (int)get_global_id(0);
    const ulong chunk = get_global_id(1);
    const ulong first = chunk * (ulong)rows_per_chunk;
    const ulong last = min(first + (ulong)rows_per_chunk, rows);
    float sum = 0.0f;
    for (ulong r = first; r < last; ++r) sum += x[x_offset + r * columns + c];
    partial[partial_offset + chunk * columns + c] = sum;
}

// Adds the chunks. Global size: [columns].
kernel void column_sums_combine(
    const int columns, const int chunks, global const float *restrict partial, const ulong partial_offset,
    global float *restrict sums, const ulong sums_offset)
{
    const int c = (int)get_global_id(0);
    float sum = 0.0f;
    for (int chunk = 0; chunk < chunks; ++chunk) sum += partial[partial_offset + (ulong)chunk * columns + c];
    sums[sums_offset + c] = sum;
}
