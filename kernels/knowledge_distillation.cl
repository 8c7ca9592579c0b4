// KD, loss and gradient in one launch: terms ce and kd = T^2 KL(softmax(x_t / T) || softmax(x_s / T)), x = the logits or, if
// asked for, the standardised logits.
//   gradient = gradient_scale * [weight_ce * (softmax(s) - onehot(y)) + weight_kd * T * d x_s / d s (s~ - t~)].
// student, teacher, gradient: [rows, classes]; labels, row_status: [rows]; term_rows: [2, rows]. All outputs are overwritten.
#include "common/loss_terms.clh"

__kernel void knowledge_distillation_rows_fused(
    const uint rows, const uint classes,
    __global const float *restrict student, const ulong student_offset,
    __global const float *restrict teacher, const ulong teacher_offset,
    __global const int *restrict labels, const ulong labels_offset,
    __global const float *restrict row_scale, const ulong row_scale_offset,
    __global float *restrict gradient, const ulong gradient_offset,
    __global float *restrict term_rows, const ulong term_rows_offset,
    __global uint *restrict row_status, const ulong row_status_offset,
    const int ignore_label, const uint row_mode, const float gradient_scale,
    const float weight_ce, const float weight_kd, const float temperature, const uint standardize)
{
    __local float4 scratch[LOCAL_SIZE];
    const row_float zero = ROW_SPLAT(0.0f);
    const uint row = (uint)get_group_id(0);
    const float scale = loss_row_scale(gradient_scale, row_scale + row_scale_offset, row_mode, row);
    const ulong first = (ulong)row * classes;
    const __global float *s = student + student_offset + first;
    const __global float *t = teacher + teacher_offset + first;
    __global float *g = gradient + gradient_offset + first;
    const int label = labels[labels_offset + row];
    uint status = loss_label_status(label, ignore_label, row_mode & ROWS_IGNORED, classes);
    float ce = 0.0f, kd = 0.0f;
    if (status == ROW_COUNTED) {
        const float label_logit = s[label];
        row_scan scan = row_scan_start();
        ROW_LOOP(i, classes) {
            row_scan_add(&scan, row_load(s, i, classes), row_load(t, i, classes), row_index(i), label, label_logit);
        }
        const row_facts facts = row_scan_finish(scan, label_logit, scratch);
        status |= facts.status;
        if (!(status & ROW_BAD)) {
            standardization zs = standardize_none(facts.largest_s), zt = standardize_none(facts.largest_t);
            if (standardize) {
                standardize_rows(s, t, classes, facts.smallest, facts.count, &zs, &zt, scratch);
            }
            const float ks = zs.slope / temperature, kt = zt.slope / temperature;

            // Sums: cross-entropy over the other classes, both sides of the divergence over all.
            row_float sum_ce = zero, sum_s = zero, sum_t = zero;
            ROW_LOOP(i, classes) {
                const row_float x = row_load(s, i, classes);
                sum_ce += row_exp_others(x, row_index(i), label, facts.other_s, 1.0f);
                sum_s += row_exp((x - facts.largest_s) * ks);
                sum_t += row_exp((row_load(t, i, classes) - facts.largest_t) * kt);
            }
            const float4 sums = row_sum4(sum_ce, sum_s, sum_t, zero, scratch);
            const float gap = row_gap(sums.x, facts.other_s, label_logit, 1.0f);
            ce = softplus(gap);
            const float rest = scale * weight_ce * logistic(gap);
            const float each = rest * inverse_or_zero(sums.x);
            const float log_ratio = log(sums.z) - log(sums.y);
            const float inverse_s = 1.0f / sums.y, inverse_t = 1.0f / sums.z;
            const float factor = scale * weight_kd * temperature;

            // The divergence, and the gradient: whole, or what goes through the standardisation.
            row_float divergence = zero, sum_g = zero, sum_gx = zero;
            ROW_LOOP(i, classes) {
                const row_float x = row_load(s, i, classes);
                const row_float xs = (x - facts.largest_s) * ks;
                const row_float xt = (row_load(t, i, classes) - facts.largest_t) * kt;
                const row_float p = row_exp(xs) * inverse_s;
                const row_float q = row_exp(xt) * inverse_t;
                divergence += divergence_lanes(q, p, xt - xs - log_ratio);
                row_float gradient_i = factor * (p - q);
                if (standardize) {
                    // No gradient reaches a class that the student excludes.
                    gradient_i = ROW_WHERE(x > ROW_SPLAT(-INFINITY), gradient_i, 0.0f);
                    sum_g += gradient_i;
                    sum_gx = ROW_FMA(gradient_i, (standardize_scaled(x, zs) - zs.center) * zs.spread, sum_gx);
                } else {
                    const row_int index = row_index(i);
                    gradient_i += ROW_WHERE(
                        index != (row_int)(label), row_exp_others(x, index, label, facts.other_s, 1.0f) * each, -rest);
                }
                row_store(g, i, classes, gradient_i);
            }
            const float4 totals = row_sum4(divergence, sum_g, sum_gx, zero, scratch);
            kd = temperature * temperature * totals.x;
            if (standardize) {
                row_standardize_gradient(g, s, classes, zs, totals.yz, label, facts.other_s, each, rest);
            }
        }
    }
    if (status == 0u || (status & ROW_BAD)) {
        ce = kd = status == 0u ? 0.0f : NAN;
        row_fill(g, classes, ce);
    }
    if (get_local_id(0) == 0) {
        term_rows[term_rows_offset + row] = ce;
        term_rows[term_rows_offset + rows + row] = kd;
        row_status[row_status_offset + row] = status | ((status & ROW_BAD) || (isfinite(ce) && isfinite(kd)) ? 0u : ROW_BAD_LOSS);
    }
}
