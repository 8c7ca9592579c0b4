// RC, loss and gradient in one launch: terms ce, kd, rc on x = the logits or, if asked for, the standardised logits (ce always
// on the logits).
//   kd = T^2 KL(softmax(x_t / T) || softmax(x_s / T));
//   rc = T^2 KL(softmax(u / T) || softmax(x_s / T)), u = x_s held constant but for u_y = x_s,y + max x_s. The other classes keep
//   their proportions, so rc is the divergence of two pairs {q, 1 - q} and {p, 1 - p} whose odds differ by exp(max x_s / T).
//   gradient = gradient_scale * [weight_ce * (softmax(s) - onehot(y)) + d x_s / d s (weight_kd * T (s~ - t~) + weight_rc * T
//   (p - q) {1 at y, -r_i elsewhere})], r = softmax(x_s / T) over the classes other than y.
// student, teacher, gradient: [rows, classes]; labels, row_status: [rows]; term_rows: [3, rows]. All outputs are overwritten.
#include "common/loss_terms.clh"

__kernel void review_correction_rows_fused(
    const uint rows, const uint classes,
    __global const float *restrict student, const ulong student_offset,
    __global const float *restrict teacher, const ulong teacher_offset,
    __global const int *restrict labels, const ulong labels_offset,
    __global const float *restrict row_scale, const ulong row_scale_offset,
    __global float *restrict gradient, const ulong gradient_offset,
    __global float *restrict term_rows, const ulong term_rows_offset,
    __global uint *restrict row_status, const ulong row_status_offset,
    const int ignore_label, const uint row_mode, const float gradient_scale,
    const float weight_ce, const float weight_kd, const float weight_rc, const float temperature, const uint standardize)
{
    __local float4 scratch[LOCAL_SIZE];
    const row_float zero = ROW_SPLAT(0.0f);
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
        const float label_logit = s[label];
        const row_facts facts = row_scan_both(s, t, classes, label, label_logit, scratch);
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
                sum_t += row_exp((row_load(t, i, classes) - facts.largest_t) * kt);
            }
            const float4 sums = row_sum4(sum_ce, sum_s, sum_t, zero, scratch);
            const row_cross_entropy ce = row_cross_entropy_from(sums.x, facts.other_s, label_logit, scale * weight_ce);

            const float gap = row_gap(sums.y, facts.other_s, label_logit, ks);
            const float lift = (standardize ? -zs.center * zs.spread : facts.largest_s) / temperature;
            const binary_pair p = binary_from_gap(gap);
            const binary_pair q = binary_from_gap(gap - lift);
            const row_pair_gradient pair = row_pair_gradient_from(p, q, scale * weight_rc * temperature, sums.y);

            // The student's whole sum; -infinity in either exponent gives 0.
            const float sum_all = (sums.y > 0.0f ? sums.y * exp((facts.other_s - facts.largest_s) * ks) : 0.0f)
                + exp((label_logit - facts.largest_s) * ks);
            const float log_ratio = log(sums.z) - log(sum_all);
            const float inverse_s = 1.0f / sum_all, inverse_t = 1.0f / sums.z;
            const float factor = scale * weight_kd * temperature;

            row_float divergence = zero;
            row_chain chain = row_chain_start();
            ROW_LOOP(i, classes) {
                const row_float x = row_load(s, i, classes);
                const row_int index = row_index(i);
                const row_float xs = (x - facts.largest_s) * ks;
                const row_float xt = (row_load(t, i, classes) - facts.largest_t) * kt;
                const row_float ps = row_exp(xs) * inverse_s;
                const row_float qs = row_exp(xt) * inverse_t;
                divergence += divergence_lanes(qs, ps, xt - xs - log_ratio);
                const row_float e = row_exp_others(x, index, label, facts.other_s, ks);
                const row_float gradient_i =
                    ROW_FMA(ROW_SPLAT(factor), ps - qs, ROW_WHERE(index != (row_int)(label), e * pair.outside, pair.inside));
                row_store(g, i, classes, row_chain_add(&chain, gradient_i, x, index, label, ce, zs, standardize));
            }
            const float square = temperature * temperature;
            terms.x = ce.value;
            terms.y = square * row_chain_finish(chain, divergence, g, s, classes, label, ce, zs, standardize, scratch);
            terms.z = square * binary_divergence(q, p);
        }
    }
    loss_row_report(status, terms, 3, g, classes, term_rows + term_rows_offset, rows, row, row_status + row_status_offset);
}
