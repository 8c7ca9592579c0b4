// Softmax and log-softmax of rows at a temperature, over all classes or over a subset of each row: 0 (log: -infinity) outside it,
// and everywhere in a row whose subset has no finite logit. Building blocks: the fused losses do the same without writing
// anything but the gradient. A row with nan or +infinity becomes nan.
#include "common/loss_row.clh"

// logits, subset, output: [rows, classes]; subset is 1 where a class is in, 0 where it is not, read if has_subset.
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void softmax_rows_forward(
    const uint classes,
    __global const float *restrict logits, const ulong logits_offset,
    __global const float *restrict subset, const ulong subset_offset,
    __global float *restrict output, const ulong output_offset,
    const float temperature, const uint has_subset, const uint logarithm, __local float4 *scratch)
{
    const row_float zero = ROW_SPLAT(0.0f), lowest = ROW_SPLAT(-INFINITY);
    const ulong first = (ulong)get_group_id(0) * classes;
    const __global float *x = logits + logits_offset + first;
    const __global float *kept = has_subset ? subset + subset_offset + first : x;
    __global float *y = output + output_offset + first;
    row_float largest_lanes = lowest, bad_lanes = zero;
    ROW_LOOP(i, classes) {
        const row_float value = row_load(x, i, classes);
        bad_lanes += ROW_ONE(ROW_IS_BAD(value));
        largest_lanes = max(
            largest_lanes, has_subset ? ROW_WHERE(row_load(kept, i, classes) > zero, value, -INFINITY) : value);
    }
    const float largest = row_max4(largest_lanes, lowest, lowest, lowest, scratch).x;
    const float bad = row_sum4(bad_lanes, zero, zero, zero, scratch).x;
    // An empty subset: everything is excluded, whatever is subtracted.
    const float shift = largest > -INFINITY ? largest : 0.0f;
    const float slope = 1.0f / temperature;
    row_float sum_lanes = zero;
    ROW_LOOP(i, classes) {
        const row_float value = row_load(x, i, classes);
        const row_float inside = has_subset ? ROW_WHERE(row_load(kept, i, classes) > zero, value, -INFINITY) : value;
        sum_lanes += row_exp((inside - shift) * slope);
    }
    const float sum = row_sum4(sum_lanes, zero, zero, zero, scratch).x;
    const float log_sum = sum > 0.0f ? log(sum) : 0.0f;
    const float inverse = inverse_or_zero(sum);
    ROW_LOOP(i, classes) {
        const row_float value = row_load(x, i, classes);
        const row_float inside = has_subset ? ROW_WHERE(row_load(kept, i, classes) > zero, value, -INFINITY) : value;
        const row_float shifted = (inside - shift) * slope;
        const row_float result = logarithm ? shifted - log_sum : row_exp(shifted) * inverse;
        row_store(y, i, classes, bad > 0.0f ? ROW_SPLAT(NAN) : result);
    }
}

// d_logits (+)= the way of d_output back. output: what forward wrote, of the same kind.
//   softmax: y (dy - sum(y dy)) / T; log-softmax: (dy - exp(y) sum(dy)) / T, both 0 where the class was excluded.
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void softmax_rows_backward(
    const uint classes,
    __global const float *restrict output, const ulong output_offset,
    __global const float *restrict d_output, const ulong d_output_offset,
    __global float *restrict d_logits, const ulong d_logits_offset,
    const float temperature, const uint logarithm, const uint accumulate, __local float4 *scratch)
{
    const row_float zero = ROW_SPLAT(0.0f);
    const ulong first = (ulong)get_group_id(0) * classes;
    const __global float *y = output + output_offset + first;
    const __global float *dy = d_output + d_output_offset + first;
    __global float *dx = d_logits + d_logits_offset + first;
    const float excluded = logarithm ? -INFINITY : 0.0f;
    row_float sum_lanes = zero;
    ROW_LOOP(i, classes) {
        const row_float value = logarithm ? row_load(y, i, classes) : row_load_or(y, i, classes, 0.0f);
        const row_float given = row_load_or(dy, i, classes, 0.0f);
        sum_lanes += ROW_WHERE(value != ROW_SPLAT(excluded), logarithm ? given : given * value, 0.0f);
    }
    const float sum = row_sum4(sum_lanes, zero, zero, zero, scratch).x;
    const float slope = 1.0f / temperature;
    ROW_LOOP(i, classes) {
        const row_float value = logarithm ? row_load(y, i, classes) : row_load_or(y, i, classes, 0.0f);
        const row_float given = row_load_or(dy, i, classes, 0.0f);
        const row_float result = logarithm ? given - row_exp(value) * sum : value * (given - sum);
        const row_float gradient = ROW_WHERE(value != ROW_SPLAT(excluded), result * slope, 0.0f);
        row_store(dx, i, classes, accumulate ? row_load_or(dx, i, classes, 0.0f) + gradient : gradient);
    }
}
