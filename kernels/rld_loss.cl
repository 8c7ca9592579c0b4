// RLD, loss and gradient in one launch (Sun et al., arXiv 2408.07703, section 4): terms ce, scd, mcd on x = the logits or, if
// asked for, the standardised logits (ce always on the logits).
//   scd = a^2 KL({q, 1 - q} || {p, 1 - p}), q = max softmax(x_t / a), p = softmax(x_s / a)_y;
//   mcd = T^2 KL(softmax_A(x_t / T) || softmax_A(x_s / T)), A = {i : t_i < t_y}; 0 when A has fewer than two classes.
//   gradient = gradient_scale * [weight_ce * (softmax(s) - onehot(y)) + d x_s / d s (weight_scd * a (p - q) {1 at y, -r_i
//   elsewhere} + weight_mcd * T (s~_i - t~_i) on A)], r = softmax(x_s / a) over the classes other than y.
// student, teacher, gradient: [rows, classes]; labels, row_status: [rows]; term_rows: [3, rows]. All outputs are overwritten.
#include "common/loss_terms.clh"

__kernel void rld_loss_rows_fused(
    const uint rows, const uint classes,
    __global const float *restrict student, const ulong student_offset,
    __global const float *restrict teacher, const ulong teacher_offset,
    __global const int *restrict labels, const ulong labels_offset,
    __global const float *restrict row_scale, const ulong row_scale_offset,
    __global float *restrict gradient, const ulong gradient_offset,
    __global float *restrict term_rows, const ulong term_rows_offset,
    __global uint *restrict row_status, const ulong row_status_offset,
    const int ignore_label, const uint row_mode, const float gradient_scale,
    const float weight_ce, const float weight_scd, const float weight_mcd,
    const float temperature, const float confidence_temperature, const uint standardize)
{
    __local float4 scratch[LOCAL_SIZE];
    const row_float zero = ROW_SPLAT(0.0f), lowest = ROW_SPLAT(-INFINITY);
    const uint row = (uint)get_group_id(0);
    const float scale = loss_row_scale(gradient_scale, row_scale + row_scale_offset, row_mode, row);
    const ulong first = (ulong)row * classes;
    const __global float *s = student + student_offset + first;
    const __global float *t = teacher + teacher_offset + first;
    __global float *g = gradient + gradient_offset + first;
    const int label = labels[labels_offset + row];
    uint status = loss_label_status(label, ignore_label, row_mode & ROWS_IGNORED, classes);
    float ce = 0.0f, scd = 0.0f, mcd = 0.0f;
    if (status == ROW_COUNTED) {
        const float label_logit = s[label], label_teacher = t[label];
        row_scan scan = row_scan_start();
        row_float kept_s = lowest, kept_t = lowest, kept_count = zero;
        ROW_LOOP(i, classes) {
            const row_float x = row_load(s, i, classes);
            const row_float y = row_load(t, i, classes);
            const row_int index = row_index(i);
            row_scan_add(&scan, x, y, index, label, label_logit);
            // Past the row's end y is -infinity as well, so the index decides.
            const row_int kept = (y < ROW_SPLAT(label_teacher)) && (index < (row_int)((int)classes));
            kept_s = max(kept_s, ROW_WHERE(kept, x, -INFINITY));
            kept_t = max(kept_t, ROW_WHERE(kept, y, -INFINITY));
            kept_count += ROW_ONE(kept);
        }
        const row_facts facts = row_scan_finish(scan, label_logit, scratch);
        const float4 kept_largest = row_max4(kept_s, kept_t, lowest, lowest, scratch);
        const float kept_classes = row_sum4(kept_count, zero, zero, zero, scratch).x;
        status |= facts.status;
        if (!(status & ROW_BAD)) {
            standardization zs = standardize_none(facts.largest_s), zt = standardize_none(facts.largest_t);
            if (standardize) {
                standardize_rows(s, t, classes, facts.smallest, facts.count, &zs, &zt, scratch);
            }
            const float a = confidence_temperature;
            const float ks = zs.slope / temperature, kt = zt.slope / temperature;
            const float kas = zs.slope / a, kat = zt.slope / a;
            // At a = 1 without standardisation cross-entropy and scd take the same exponentials.
            const bool shared_exp = kas == 1.0f;
            const bool has_mcd = kept_classes >= 2.0f && kept_largest.x > -INFINITY && kept_largest.y > -INFINITY;
            // Nothing lies below this, so nothing is kept.
            const float bar = has_mcd ? label_teacher : -INFINITY;

            row_float sum_ce = zero, sum_p = zero, sum_q = zero, ties = zero, sum_s = zero, sum_t = zero;
            ROW_LOOP(i, classes) {
                const row_float x = row_load(s, i, classes);
                const row_float y = row_load(t, i, classes);
                const row_int index = row_index(i);
                sum_ce += row_exp_others(x, index, label, facts.other_s, 1.0f);
                if (!shared_exp) {
                    sum_p += row_exp_others(x, index, label, facts.other_s, kas);
                }
                ties += ROW_ONE(y == ROW_SPLAT(facts.largest_t));
                sum_q += ROW_WHERE(y != ROW_SPLAT(facts.largest_t), row_exp((y - facts.largest_t) * kat), 0.0f);
                if (has_mcd) {
                    const row_int kept = y < ROW_SPLAT(bar);
                    sum_s += row_exp(ROW_WHERE(kept, (x - kept_largest.x) * ks, -INFINITY));
                    sum_t += row_exp(ROW_WHERE(kept, (y - kept_largest.y) * kt, -INFINITY));
                }
            }
            const float4 sums = row_sum4(sum_ce, shared_exp ? sum_ce : sum_p, sum_q, ties, scratch);
            const float4 kept_sums = row_sum4(sum_s, sum_t, zero, zero, scratch);

            const float gap = row_gap(sums.x, facts.other_s, label_logit, 1.0f);
            ce = softplus(gap);
            const float rest = scale * weight_ce * logistic(gap);
            const float each = rest * inverse_or_zero(sums.x);

            // The teacher's largest class against the rest, its ties being part of the rest.
            const binary_pair q = binary_from_gap(log(sums.z + (sums.w - 1.0f)));
            const binary_pair p = binary_from_gap(row_gap(sums.y, facts.other_s, label_logit, kas));
            scd = a * a * binary_divergence(q, p);
            const float confidence = scale * weight_scd * a * binary_difference(p, q);
            const float confidence_each = confidence * inverse_or_zero(sums.y);

            const float log_ratio = log(kept_sums.y) - log(kept_sums.x);
            const float inverse_s = inverse_or_zero(kept_sums.x), inverse_t = inverse_or_zero(kept_sums.y);
            const float factor = scale * weight_mcd * temperature;

            row_float divergence = zero, sum_g = zero, sum_gx = zero;
            ROW_LOOP(i, classes) {
                const row_float x = row_load(s, i, classes);
                const row_int index = row_index(i);
                const row_int is_other = index != (row_int)(label);
                const row_float e_ce = row_exp_others(x, index, label, facts.other_s, 1.0f);
                row_float e_p = e_ce;
                if (!shared_exp) {
                    e_p = row_exp_others(x, index, label, facts.other_s, kas);
                }
                row_float gradient_i = ROW_WHERE(is_other, e_p * -confidence_each, confidence);
                if (has_mcd) {
                    const row_float y = row_load(t, i, classes);
                    const row_int kept = y < ROW_SPLAT(bar);
                    const row_float xs = ROW_WHERE(kept, (x - kept_largest.x) * ks, -INFINITY);
                    const row_float xt = ROW_WHERE(kept, (y - kept_largest.y) * kt, -INFINITY);
                    const row_float ps = row_exp(xs) * inverse_s;
                    const row_float qs = row_exp(xt) * inverse_t;
                    divergence += divergence_lanes(qs, ps, xt - xs - log_ratio);
                    gradient_i = ROW_FMA(ROW_SPLAT(factor), ps - qs, gradient_i);
                }
                if (standardize) {
                    // No gradient reaches a class that the student excludes.
                    gradient_i = ROW_WHERE(x > lowest, gradient_i, 0.0f);
                    sum_g += gradient_i;
                    sum_gx = ROW_FMA(gradient_i, (standardize_scaled(x, zs) - zs.center) * zs.spread, sum_gx);
                } else {
                    gradient_i += ROW_WHERE(is_other, e_ce * each, -rest);
                }
                row_store(g, i, classes, gradient_i);
            }
            const float4 totals = row_sum4(divergence, sum_g, sum_gx, zero, scratch);
            mcd = temperature * temperature * totals.x;
            if (standardize) {
                row_standardize_gradient(g, s, classes, zs, totals.yz, label, facts.other_s, each, rest);
            }
        }
    }
    if (status == 0u || (status & ROW_BAD)) {
        ce = scd = mcd = status == 0u ? 0.0f : NAN;
        row_fill(g, classes, ce);
    }
    if (get_local_id(0) == 0) {
        term_rows[term_rows_offset + row] = ce;
        term_rows[term_rows_offset + rows + row] = scd;
        term_rows[term_rows_offset + 2 * (ulong)rows + row] = mcd;
        row_status[row_status_offset + row] =
            status | ((status & ROW_BAD) || (isfinite(ce) && isfinite(scd) && isfinite(mcd)) ? 0u : ROW_BAD_LOSS);
    }
}
