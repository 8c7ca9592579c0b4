// Sums in two launches, the order fixed: of a [rows, columns] matrix over its rows (bias gradients), and the second launch of weight
// gradients that are summed over groups of output pixels. The gpu profile has column_sums.cl and convolution_weight_merge.cl.

#define SUMMED 64 // columns of a work-item

// partial[chunk][column]. Global size: [ceil(columns / SUMMED), chunks].
kernel void column_sums_partial(
    const ulong rows, const int columns, const int rows_per_chunk, global const float *restrict x, const ulong x_offset,
    global float *restrict partial, const ulong partial_offset)
{
    const int c = (int)get_global_id(0) * SUMMED;
    const ulong chunk = get_global_id(1);
    const ulong first = chunk * (ulong)rows_per_chunk;
    const ulong last = min(first + (ulong)rows_per_chunk, rows);
    global const float *restrict from = x + x_offset + c;
    global float *restrict to = partial + partial_offset + chunk * columns + c;
    if (c + SUMMED <= columns) {
        float sums[SUMMED];
        for (int k = 0; k < SUMMED; ++k) sums[k] = 0.0f;
        for (ulong r = first; r < last; ++r)
            for (int k = 0; k < SUMMED; ++k) sums[k] += from[r * columns + k];
        for (int k = 0; k < SUMMED; ++k) to[k] = sums[k];
        return;
    }
    for (int k = 0; k < columns - c; ++k) {
        float sum = 0.0f;
        for (ulong r = first; r < last; ++r) sum += from[r * columns + k];
        to[k] = sum;
    }
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

// d weight [outputs, channels, taps] from [outputs][taps][channels], the groups added in order.
// Global size: [channels, outputs].
kernel void convolution_weight_combine(
    const int groups, const int channels, const int outputs, const int taps, const int padded_depth,
    global const float *restrict partial, const ulong partial_offset, global float *restrict gradients,
    const ulong gradients_offset)
{
    const ulong c = get_global_id(0), o = get_global_id(1);
    global const float *restrict in = partial + partial_offset + o * padded_depth + c;
    global float *restrict out = gradients + gradients_offset + (o * channels + c) * taps;
    for (int t = 0; t < taps; ++t) {
        float sum = 0.0f;
        for (int g = 0; g < groups; ++g) sum += in[(ulong)g * outputs * padded_depth + (ulong)t * channels];
        out[t] = sum;
    }
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
