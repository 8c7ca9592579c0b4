// Cross-entropy of student logits with labels, loss and gradient in one launch.
//   term[row] = logsumexp(s) - s_y;  gradient = gradient_scale * weight * (softmax(s) - onehot(y)).
// student, gradient: [rows, classes]; labels, row_status: [rows]; term_rows: [1, rows]. All outputs are overwritten.
#include "common/loss_terms.clh"

__kernel void cross_entropy_rows_fused(
    const uint rows, const uint classes,
    __global const float *restrict student, const ulong student_offset,
    __global const int *restrict labels, const ulong labels_offset,
    __global const float *restrict row_scale, const ulong row_scale_offset,
    __global float *restrict gradient, const ulong gradient_offset,
    __global float *restrict term_rows, const ulong term_rows_offset,
    __global uint *restrict row_status, const ulong row_status_offset,
    const int ignore_label, const uint row_mode, const float gradient_scale, const float weight)
{
    __local float4 scratch[LOCAL_SIZE];
    const uint row = (uint)get_group_id(0);
    const float scale = loss_row_scale(gradient_scale, row_scale + row_scale_offset, row_mode, row);
    const ulong first = (ulong)row * classes;
    const __global float *s = student + student_offset + first;
    __global float *g = gradient + gradient_offset + first;
    const int label = labels[labels_offset + row];
    uint status = loss_label_status(label, ignore_label, row_mode & ROWS_IGNORED, classes);
    float term = 0.0f;
    if (status == ROW_COUNTED) {
        const float label_logit = s[label];
        row_float largest = ROW_SPLAT(-INFINITY), ahead = ROW_SPLAT(0.0f), bad = ROW_SPLAT(0.0f);
        ROW_LOOP(i, classes) {
            const row_float x = row_load(s, i, classes);
            const row_int index = row_index(i);
            largest = max(largest, ROW_WHERE(index != (row_int)(label), x, -INFINITY));
            ahead += row_ahead(x, index, label_logit, label);
            bad += ROW_ONE(ROW_IS_BAD(x));
        }
        const float other = row_max4(largest, largest, largest, largest, scratch).x;
        const float4 counts = row_sum4(ahead, bad, ROW_SPLAT(0.0f), ROW_SPLAT(0.0f), scratch);
        status |= row_correctness(counts.x);
        status |= counts.y > 0.0f || max(other, label_logit) == -INFINITY ? ROW_BAD_STUDENT : 0u;
        if (!(status & ROW_BAD)) {
            row_float sum = ROW_SPLAT(0.0f);
            ROW_LOOP(i, classes) { sum += row_exp_others(row_load(s, i, classes), row_index(i), label, other, 1.0f); }
            const float others = row_sum4(sum, ROW_SPLAT(0.0f), ROW_SPLAT(0.0f), ROW_SPLAT(0.0f), scratch).x;
            const float gap = row_gap(others, other, label_logit, 1.0f);
            term = softplus(gap);
            const float rest = scale * weight * logistic(gap);
            const float each = rest * inverse_or_zero(others);
            ROW_LOOP(i, classes) {
                const row_int index = row_index(i);
                const row_float e = row_exp_others(row_load(s, i, classes), index, label, other, 1.0f);
                row_store(g, i, classes, ROW_WHERE(index != (row_int)(label), e * each, -rest));
            }
        }
    }
    if (status == 0u || (status & ROW_BAD)) {
        term = status == 0u ? 0.0f : NAN;
        row_fill(g, classes, term);
    }
    if (get_local_id(0) == 0) {
        term_rows[term_rows_offset + row] = term;
        row_status[row_status_offset + row] = status | ((status & ROW_BAD) || isfinite(term) ? 0u : ROW_BAD_LOSS);
    }
}
