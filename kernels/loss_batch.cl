// The small launches beside a loss kernel, those that sum of one work-group each and in a fixed order. One program, because a driver
// may take tens of milliseconds for each, however short.
#ifndef LOCAL_SIZE
#define LOCAL_SIZE 64 // work-items of the one work-group; any value from 1
#endif
#include "common/loss_reduce.clh"

// accumulator: the words of common/loss_reduce.clh.
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void loss_reduce_rows(
    const uint rows, const uint terms,
    __global const float *restrict term_rows, const ulong term_rows_offset,
    __global const uint *restrict row_status, const ulong row_status_offset,
    __global uint *restrict accumulator, const ulong accumulator_offset,
    const float weight0, const float weight1, const float weight2, const float weight3,
    __global const float *restrict row_scale, const ulong row_scale_offset, const uint has_scale, const float sum_scale)
{
    __local float2 pairs[LOCAL_SIZE];
    __local uint words[LOCAL_SIZE * 6];
    loss_reduce(
        rows, terms, term_rows + term_rows_offset, row_status + row_status_offset, accumulator + accumulator_offset,
        (float4)(weight0, weight1, weight2, weight3), row_scale + row_scale_offset, has_scale, sum_scale, words, pairs);
}

// inverse_count[0] = 1 / number of labels other than the ignored one, 0 without any: what a loss kernel multiplies its
// gradient by when some rows may be ignored.
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void loss_count_rows(
    const uint rows,
    __global const int *restrict labels, const ulong labels_offset,
    __global float *restrict inverse_count, const ulong inverse_count_offset,
    const int ignore_label)
{
    __local uint counts[LOCAL_SIZE];
    const uint lane = (uint)get_local_id(0);
    uint count = 0;
    for (uint row = lane; row < rows; row += LOCAL_SIZE) {
        count += labels[labels_offset + row] != ignore_label ? 1u : 0u;
    }
    counts[lane] = count;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (lane == 0) {
        uint all = 0;
        for (uint i = 0; i < LOCAL_SIZE; i++) {
            all += counts[i];
        }
        inverse_count[inverse_count_offset] = all ? 1.0f / (float)all : 0.0f;
    }
}

// row_scale[row] = weight / sum of the weights of the row's group; 0 for a row that does not count. What a loss kernel multiplies
// a row's gradient by. Weights are 1 without has_weights; the group is 1 without has_groups, else 1, 2 or 0 (does not count).
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void loss_scale_rows(
    const uint rows,
    __global const int *restrict labels, const ulong labels_offset,
    __global const float *restrict row_weights, const ulong row_weights_offset,
    __global const uint *restrict row_groups, const ulong row_groups_offset,
    __global float *restrict row_scale, const ulong row_scale_offset,
    const int ignore_label, const uint has_ignored, const uint has_weights, const uint has_groups)
{
    __local float2 pairs[LOCAL_SIZE];
    __local float inverses[2];
    const uint lane = (uint)get_local_id(0);
    float2 sum1 = (float2)(0.0f, 0.0f), sum2 = sum1;
    for (uint row = lane; row < rows; row += LOCAL_SIZE) {
        const float weight = has_weights ? row_weights[row_weights_offset + row] : 1.0f;
        const bool counts = !has_ignored || labels[labels_offset + row] != ignore_label;
        const uint group = !counts ? 0u : has_groups ? row_groups[row_groups_offset + row] : 1u;
        sum1 = pair_add(sum1, group == 1u ? weight : 0.0f);
        sum2 = pair_add(sum2, group == 2u ? weight : 0.0f);
    }
    sum1 = pair_total(pairs, sum1);
    sum2 = pair_total(pairs, sum2);
    if (lane == 0) {
        inverses[0] = sum1.x > 0.0f ? 1.0f / sum1.x : 0.0f;
        inverses[1] = sum2.x > 0.0f ? 1.0f / sum2.x : 0.0f;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint row = lane; row < rows; row += LOCAL_SIZE) {
        const float weight = has_weights ? row_weights[row_weights_offset + row] : 1.0f;
        const bool counts = !has_ignored || labels[labels_offset + row] != ignore_label;
        const uint group = !counts ? 0u : has_groups ? row_groups[row_groups_offset + row] : 1u;
        row_scale[row_scale_offset + row] = group == 0u ? 0.0f : weight * inverses[group - 1u];
    }
}

// Turns the cross-entropy with a label into the one with a soft target, after a loss kernel: the target of row r is
// t = (1 - smoothing) (share e_a + (1 - share) e_b) + smoothing / classes, a the row's label, b that of the row that it was
// mixed with, rows - 1 - r. As -log p_i = log-sum-exp - z_i, only linear terms change:
// term += z_a - t . z; d term / d z += e_a - t.
// Global size: rows.
kernel void soft_targets(
    const uint rows, const uint classes, global const float *restrict student, const ulong student_offset,
    global const int *restrict labels, const ulong labels_offset, global float *restrict gradient,
    const ulong gradient_offset, global float *restrict terms, const ulong terms_offset, const float smoothing,
    const float share, const float gradient_scale)
{
    const uint row = get_global_id(0);
    const ulong start = (ulong)row * classes;
    global const float *z = student + student_offset + start;
    global float *d = gradient + gradient_offset + start;
    const uint a = (uint)labels[labels_offset + row];
    const uint b = (uint)labels[labels_offset + rows - 1 - row];
    const int usable = a < classes && b < classes;
    const float uniform = usable ? smoothing / (float)classes : 0.0f;
    const float own = (1.0f - smoothing) * share;
    const float other = (1.0f - smoothing) * (1.0f - share);
    float mean = 0.0f;
    for (uint i = 0; i < classes; ++i) {
        mean += uniform * z[i];
        d[i] -= gradient_scale * uniform;
    }
    if (usable) {
        d[a] += gradient_scale * (1.0f - own);
        d[b] -= gradient_scale * other;
        terms[terms_offset + row] += (1.0f - own) * z[a] - other * z[b] - mean;
    }
}
