// LA, loss and gradient in one launch: one term kd = T^2 KL(softmax(x_u / T) || softmax(x_s / T)), u = the teacher's logits with
// the label's and the first largest exchanged, x = the logits or, if asked for, the standardised logits.
//   gradient = gradient_scale * weight_kd * T * d x_s / d s (s~ - u~).
// The exchange moves no logit out of the row, so maximum, mean and deviation are those of the teacher's row as it is.
// student, teacher, gradient: [rows, classes]; labels, row_status: [rows]; term_rows: [1, rows]. All outputs are overwritten.
#include "common/loss_terms.clh"

__kernel void label_augment_rows_fused(
    const uint rows, const uint classes,
    __global const float *restrict student, const ulong student_offset,
    __global const float *restrict teacher, const ulong teacher_offset,
    __global const int *restrict labels, const ulong labels_offset,
    __global const float *restrict row_scale, const ulong row_scale_offset,
    __global float *restrict gradient, const ulong gradient_offset,
    __global float *restrict term_rows, const ulong term_rows_offset,
    __global uint *restrict row_status, const ulong row_status_offset,
    const int ignore_label, const uint row_mode, const float gradient_scale,
    const float weight_kd, const float temperature, const uint standardize)
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
        const float label_logit = s[label], label_teacher = t[label];
        row_scan scan = row_scan_start();
        row_best best = row_best_start();
        ROW_LOOP(i, classes) {
            const row_float y = row_load(t, i, classes);
            const row_int index = row_index(i);
            row_scan_add(&scan, row_load(s, i, classes), y, index, label, label_logit);
            row_best_add(&best, y, index);
        }
        const row_facts facts = row_scan_finish(scan, label_logit, scratch);
        const int teacher_class = row_best_finish(best, facts.largest_t, scratch);
        status |= facts.status;
        if (!(status & ROW_BAD)) {
            standardization zs = standardize_none(facts.largest_s), zt = standardize_none(facts.largest_t);
            if (standardize) {
                standardize_rows(s, t, classes, facts.smallest, facts.count, &zs, &zt, scratch);
            }
            const float ks = zs.slope / temperature, kt = zt.slope / temperature;

            row_float sum_s = zero, sum_t = zero;
            ROW_LOOP(i, classes) {
                sum_s += row_exp((row_load(s, i, classes) - facts.largest_s) * ks);
                sum_t += row_exp((row_load(t, i, classes) - facts.largest_t) * kt);
            }
            const float4 sums = row_sum4(sum_s, sum_t, zero, zero, scratch);
            const float log_ratio = log(sums.y) - log(sums.x);
            const float inverse_s = 1.0f / sums.x, inverse_t = 1.0f / sums.y;
            const float factor = scale * weight_kd * temperature;
            const row_cross_entropy none = {0.0f, 0.0f, 0.0f, facts.largest_s};

            row_float divergence = zero;
            row_chain chain = row_chain_start();
            ROW_LOOP(i, classes) {
                const row_float x = row_load(s, i, classes);
                const row_int index = row_index(i);
                row_float y = row_load(t, i, classes);
                y = select(y, ROW_SPLAT(label_teacher), index == (row_int)(teacher_class));
                y = select(y, ROW_SPLAT(facts.largest_t), index == (row_int)(label));
                const row_float xs = (x - facts.largest_s) * ks;
                const row_float xt = (y - facts.largest_t) * kt;
                const row_float p = row_exp(xs) * inverse_s;
                const row_float q = row_exp(xt) * inverse_t;
                divergence += divergence_lanes(q, p, xt - xs - log_ratio);
                row_store(g, i, classes, row_chain_add(&chain, factor * (p - q), x, index, label, none, zs, standardize));
            }
            terms.x = temperature * temperature
                * row_chain_finish(chain, divergence, g, s, classes, label, none, zs, standardize, scratch);
        }
    }
    loss_row_report(status, terms, 1, g, classes, term_rows + term_rows_offset, rows, row, row_status + row_status_offset);
}
