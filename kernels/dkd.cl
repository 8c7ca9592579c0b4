// DKD, loss and gradient in one launch: terms ce, tckd, nckd on x = the logits or, if asked for, the standardised logits (ce
// always on the logits).
//   tckd = T^2 KL({q, 1 - q} || {p, 1 - p}), q = softmax(x_t / T)_y, p = softmax(x_s / T)_y;
//   nckd = T^2 KL(rt || r), rt and r = softmax(x_t / T) and softmax(x_s / T) over the classes other than y.
//   gradient = gradient_scale * [weight_ce * (softmax(s) - onehot(y)) + d x_s / d s (weight_tckd * T (p - q) {1 at y, -r_i
//   elsewhere} + weight_nckd * T (r_i - rt_i) off y)].
// student, teacher, gradient: [rows, classes]; labels, row_status: [rows]; term_rows: [3, rows]. All outputs are overwritten.
#include "common/loss_terms.clh"

__kernel void dkd_rows_fused(
    const uint rows, const uint classes,
    __global const float *restrict student, const ulong student_offset,
    __global const float *restrict teacher, const ulong teacher_offset,
    __global const int *restrict labels, const ulong labels_offset,
    __global const float *restrict row_scale, const ulong row_scale_offset,
    __global float *restrict gradient, const ulong gradient_offset,
    __global float *restrict term_rows, const ulong term_rows_offset,
    __global uint *restrict row_status, const ulong row_status_offset,
    const int ignore_label, const uint row_mode, const float gradient_scale,
    const float weight_ce, const float weight_tckd, const float weight_nckd, const float temperature, const uint standardize)
{
    __local float4 scratch[LOCAL_SIZE];
    const row_float zero = ROW_SPLAT(0.0f), lowest = ROW_SPLAT(-INFINITY);
    const uint row = (uint)get_group_id(0);
    const ulong first = (ulong)row * classes;
    const __global float *s = student + student_offset + first;
    const __global float *t = teacher + teacher_offset + first;
    __global float *g = gradient + gradient_offset + first;
    const int label = labels[labels_offset + row];
    const float scale = loss_row_scale(gradient_scale, row_scale + row_scale_offset, row_mode, row);
    uint status = loss_label_status(label, ignore_label, row_mode & ROWS_IGNORED, classes);
    float4 terms = (float4)(0.0f);
    if (status == ROW_COUNTED) {
        const float label_logit = s[label], label_teacher = t[label];
        row_scan scan = row_scan_start();
        row_float largest = lowest;
        ROW_LOOP(i, classes) {
            const row_float y = row_load(t, i, classes);
            const row_int index = row_index(i);
            row_scan_add(&scan, row_load(s, i, classes), y, index, label, label_logit);
            largest = max(largest, ROW_WHERE(index != (row_int)(label), y, -INFINITY));
        }
        const row_facts facts = row_scan_finish(scan, label_logit, scratch);
        const float other_t = row_max4(largest, lowest, lowest, lowest, scratch).x;
        status |= facts.status;
        if (!(status & ROW_BAD)) {
            standardization zs = standardize_none(facts.largest_s), zt = standardize_none(facts.largest_t);
            if (standardize) {
                standardize_rows(s, t, classes, facts.smallest, facts.count, &zs, &zt, scratch);
            }
            const float ks = zs.slope / temperature, kt = zt.slope / temperature;

            row_float sum_ce = zero, sum_s = zero, sum_t = zero;
            ROW_LOOP(i, classes) {
                const row_float x = row_load(s, i, classes);
                const row_int index = row_index(i);
                sum_ce += row_exp_others(x, index, label, facts.other_s, 1.0f);
                sum_s += row_exp_others(x, index, label, facts.other_s, ks);
                sum_t += row_exp_others(row_load(t, i, classes), index, label, other_t, kt);
            }
            const float4 sums = row_sum4(sum_ce, sum_s, sum_t, zero, scratch);
            const row_cross_entropy ce = row_cross_entropy_from(sums.x, facts.other_s, label_logit, scale * weight_ce);
            const binary_pair p = binary_from_gap(row_gap(sums.y, facts.other_s, label_logit, ks));
            const binary_pair q = binary_from_gap(row_gap(sums.z, other_t, label_teacher, kt));
            const row_pair_gradient pair = row_pair_gradient_from(p, q, scale * weight_tckd * temperature, sums.y);
            // Without a finite logit off the label on either side there is nothing to compare.
            const bool has_rest = sums.y > 0.0f && sums.z > 0.0f;
            const float log_ratio = log(sums.z) - log(sums.y);
            const float inverse_s = inverse_or_zero(sums.y), inverse_t = inverse_or_zero(sums.z);
            const float factor = scale * weight_nckd * temperature;

            row_float divergence = zero;
            row_chain chain = row_chain_start();
            ROW_LOOP(i, classes) {
                const row_float x = row_load(s, i, classes);
                const row_int index = row_index(i);
                const row_int is_other = index != (row_int)(label);
                const row_float e = row_exp_others(x, index, label, facts.other_s, ks);
                row_float gradient_i = ROW_WHERE(is_other, e * pair.outside, pair.inside);
                if (has_rest) {
                    const row_float xs = ROW_WHERE(is_other, (x - facts.other_s) * ks, -INFINITY);
                    const row_float xt = ROW_WHERE(is_other, (row_load(t, i, classes) - other_t) * kt, -INFINITY);
                    const row_float r = e * inverse_s;
                    const row_float rt = row_exp(xt) * inverse_t;
                    divergence += divergence_lanes(rt, r, xt - xs - log_ratio);
                    gradient_i = ROW_FMA(ROW_SPLAT(factor), r - rt, gradient_i);
                }
                row_store(g, i, classes, row_chain_add(&chain, gradient_i, x, index, label, ce, zs, standardize));
            }
            const float square = temperature * temperature;
            terms.x = ce.value;
            terms.y = square * binary_divergence(q, p);
            terms.z = square * row_chain_finish(chain, divergence, g, s, classes, label, ce, zs, standardize, scratch);
        }
    }
    loss_row_report(status, terms, 3, g, classes, term_rows + term_rows_offset, rows, row, row_status + row_status_offset);
}
