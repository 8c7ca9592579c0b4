// RLD's confidence pair at temperature a: p = softmax(s / a) of the label, q = softmax(t / a) of the teacher's first largest class
// (or of the label, as in DKD's TCKD), each against the rest of its row, and a^2 KL({q, 1 - q} || {p, 1 - p}).
// Logarithms of 1 - p and 1 - q come from sums over the other classes. A row whose label is outside 0..<classes gives 0.
#include "common/loss_terms.clh"

// log(rest / inside) of one class against the others of its row. All work-items of the group must call it.
ALWAYS_INLINE float confidence_gap(
    const __global float *x, const uint classes, const int inside, const float slope, float *other, float *others,
    __local float4 *scratch)
{
    const row_float zero = ROW_SPLAT(0.0f), lowest = ROW_SPLAT(-INFINITY);
    row_float largest = lowest;
    ROW_LOOP(i, classes) {
        largest = max(largest, ROW_WHERE(row_index(i, classes) != (row_int)(inside), row_load(x, i, classes), -INFINITY));
    }
    *other = row_max4(largest, lowest, lowest, lowest, scratch).x;
    row_float sum = zero;
    ROW_LOOP(i, classes) { sum += row_exp_others(row_load(x, i, classes), row_index(i, classes), inside, *other, slope); }
    *others = row_sum4(sum, zero, zero, zero, scratch).x;
    return row_gap(*others, *other, x[inside], slope);
}

// student, teacher: [rows, classes]; labels, divergence: [rows]; pairs: [4, rows], log p, log(1 - p), log q, log(1 - q).
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void rld_confidence_rows_forward(
    const uint rows, const uint classes,
    __global const float *restrict student, const ulong student_offset,
    __global const float *restrict teacher, const ulong teacher_offset,
    __global const int *restrict labels, const ulong labels_offset,
    __global float *restrict pairs, const ulong pairs_offset,
    __global float *restrict divergence, const ulong divergence_offset,
    const float temperature, const uint teacher_label, __local float4 *scratch)
{
    const row_float lowest = ROW_SPLAT(-INFINITY);
    const uint row = (uint)get_group_id(0);
    const __global float *s = student + student_offset + (ulong)row * classes;
    const __global float *t = teacher + teacher_offset + (ulong)row * classes;
    const int label = labels[labels_offset + row];
    const float slope = 1.0f / temperature;
    float4 logs = (float4)(0.0f);
    float value = 0.0f;
    if (label >= 0 && (uint)label < classes) {
        row_best best = row_best_start();
        ROW_LOOP(i, classes) { row_best_add(&best, row_load(t, i, classes), row_index(i, classes)); }
        const float largest = row_max4(best.largest, lowest, lowest, lowest, scratch).x;
        // A row of nan has no first largest class.
        const int top = clamp(row_best_finish(best, largest, scratch), 0, (int)classes - 1);
        float other, others;
        const binary_pair p = binary_from_gap(confidence_gap(s, classes, label, slope, &other, &others, scratch));
        const binary_pair q =
            binary_from_gap(confidence_gap(t, classes, teacher_label ? label : top, slope, &other, &others, scratch));
        logs = (float4)(p.log_inside, p.log_rest, q.log_inside, q.log_rest);
        value = temperature * temperature * binary_divergence(q, p);
    }
    if (get_local_id(0) == 0) {
        __global float *pair = pairs + pairs_offset + row;
        pair[0] = logs.x;
        pair[rows] = logs.y;
        pair[2 * (ulong)rows] = logs.z;
        pair[3 * (ulong)rows] = logs.w;
        divergence[divergence_offset + row] = value;
    }
}

// d_student (+)= factor * upstream[row] * a (p - q) at the label, -factor * upstream[row] * a (p - q) r_i elsewhere, r = softmax(s / a)
// over the other classes. pairs: what forward wrote.
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void rld_confidence_rows_backward(
    const uint rows, const uint classes,
    __global const float *restrict student, const ulong student_offset,
    __global const int *restrict labels, const ulong labels_offset,
    __global const float *restrict pairs, const ulong pairs_offset,
    __global const float *restrict upstream, const ulong upstream_offset,
    __global float *restrict d_student, const ulong d_student_offset,
    const float temperature, const float factor, const uint accumulate, __local float4 *scratch)
{
    const uint row = (uint)get_group_id(0);
    const __global float *s = student + student_offset + (ulong)row * classes;
    __global float *d = d_student + d_student_offset + (ulong)row * classes;
    const int label = labels[labels_offset + row];
    if (label >= 0 && (uint)label < classes) {
        const __global float *pair = pairs + pairs_offset + row;
        const float log_p = pair[0], log_rest_p = pair[rows];
        const float log_q = pair[2 * (ulong)rows], log_rest_q = pair[3 * (ulong)rows];
        const binary_pair p = {exp(log_p), exp(log_rest_p), log_p, log_rest_p};
        const binary_pair q = {exp(log_q), exp(log_rest_q), log_q, log_rest_q};
        float other, others;
        confidence_gap(s, classes, label, 1.0f / temperature, &other, &others, scratch);
        const row_pair_gradient g =
            row_pair_gradient_from(p, q, factor * upstream[upstream_offset + row] * temperature, others);
        ROW_LOOP(i, classes) {
            const row_int index = row_index(i, classes);
            const row_float e = row_exp_others(row_load(s, i, classes), index, label, other, 1.0f / temperature);
            const row_float gradient = ROW_WHERE(index != (row_int)(label), e * g.outside, g.inside);
            row_store(d, i, classes, accumulate ? row_load_or(d, i, classes, 0.0f) + gradient : gradient);
        }
    } else if (!accumulate) {
        row_fill(d, classes, 0.0f);
    }
}
