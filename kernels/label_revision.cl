// LR, loss and gradient. A row is right when the label is the teacher's first largest logit; C counts the classes that one side
// at least does not exclude.
//   right: ce, and mse_right = mean_i (s_i - t_i)^2;
//   wrong: mse_wrong = mean_i (p_i - u_i)^2, p = softmax(s), u = b softmax(t) + (1 - b) onehot(y), b = eta / (max q - q_y + 1).
//   gradient = row's scale * [weight_ce * (p - onehot(y)) + weight_right * 2 (s_i - t_i) / C], or
//              row's scale * weight_wrong * 2 p_i (d_i - sum_j p_j d_j) / C, d = p - u.
// The means are over the rows of each group, so the scale of every row comes from `label_revision_group_rows` and
// `loss_scale_rows` before.
#include "common/logit_storage.clh"
#include "common/loss_terms.clh"
#include "common/loss_audit.clh"

#define GROUP_RIGHT 1u
#define GROUP_WRONG 2u

// row_groups[row] = the group of a row, 0 for one that does not count. A faulty row is in some group, so that its nan shows. teacher: [rows, classes]; labels, row_groups: [rows].
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void label_revision_group_rows(
    const uint rows, const uint classes,
    __global const teacher_t *restrict teacher, const ulong teacher_offset,
    __global const int *restrict labels, const ulong labels_offset,
    __global uint *restrict row_groups, const ulong row_groups_offset,
    const int ignore_label, const uint row_mode, __local float4 *scratch)
{
    const row_float zero = ROW_SPLAT(0.0f);
    const uint row = (uint)get_group_id(0);
    const __global teacher_t *t = teacher + teacher_offset + (ulong)row * classes;
    const int label = labels[labels_offset + row];
    const uint status = loss_label_status(label, ignore_label, row_mode & ROWS_IGNORED, classes);
    uint group = status == 0u ? 0u : GROUP_RIGHT;
    if (status == ROW_COUNTED) {
        const float label_teacher = TEACHER_AT(t, label);
        row_float ahead = zero;
        ROW_LOOP(i, classes) { ahead += row_ahead(TEACHER_LOAD(t, i, classes, -INFINITY), row_index(i, classes), label_teacher, label); }
        group = row_sum4(ahead, zero, zero, zero, scratch).x > 0.0f ? GROUP_WRONG : GROUP_RIGHT;
    }
    if (get_local_id(0) == 0) {
        row_groups[row_groups_offset + row] = group;
    }
}

// student, teacher, gradient: [rows, classes]; labels, row_status, row_scale: [rows]; term_rows: [3, rows]. All outputs are
// overwritten.
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void label_revision_rows_fused(
    const uint rows, const uint classes,
    __global const student_t *restrict student, const ulong student_offset,
    __global const teacher_t *restrict teacher, const ulong teacher_offset,
    __global const int *restrict labels, const ulong labels_offset,
    __global const float *restrict row_scale, const ulong row_scale_offset,
    __global gradient_t *restrict gradient, const ulong gradient_offset,
    __global float *restrict term_rows, const ulong term_rows_offset,
    __global uint *restrict row_status, const ulong row_status_offset,
    const int ignore_label, const uint row_mode, const float gradient_scale,
    const float weight_ce, const float weight_right, const float weight_wrong, const float eta AUDIT_ARGUMENTS,
    __local float4 *scratch)
{
    const row_float zero = ROW_SPLAT(0.0f), lowest = ROW_SPLAT(-INFINITY);
    const uint row = (uint)get_group_id(0);
    const ulong first = (ulong)row * classes;
    const __global student_t *s = student + student_offset + first;
    const __global teacher_t *t = teacher + teacher_offset + first;
    __global gradient_t *g = gradient + gradient_offset + first;
    const int label = labels[labels_offset + row];
    const float scale = loss_row_scale(gradient_scale, row_scale + row_scale_offset, row_mode, row);
    uint status = loss_label_status(label, ignore_label, row_mode & ROWS_IGNORED, classes);
    float4 terms = (float4)(0.0f);
    if (status == ROW_COUNTED) {
        const float label_logit = STUDENT_AT(s, label), label_teacher = TEACHER_AT(t, label);
        row_scan scan = row_scan_start();
        row_best best_s = row_best_start();
        row_float ahead = zero, present = zero;
        ROW_LOOP(i, classes) {
            const row_float x = STUDENT_LOAD(s, i, classes, -INFINITY);
            const row_float y = TEACHER_LOAD(t, i, classes, -INFINITY);
            const row_int index = row_index(i, classes);
            row_scan_add(&scan, x, y, index, label, label_logit);
            row_best_add(&best_s, x, index);
            ahead += row_ahead(y, index, label_teacher, label);
            present += ROW_ONE((x > lowest) || (y > lowest));
        }
        const row_facts facts = row_scan_finish(scan, label_logit, scratch);
        const int student_class = row_best_finish(best_s, facts.largest_s, scratch);
        const float4 counts = row_sum4(ahead, present, zero, zero, scratch);
        status |= facts.status;
        const float each_class = 1.0f / max(counts.y, 1.0f);
        // Two plain ifs: PoCL 3.1 cannot compile barriers in both branches of one for groups of one work-item.
        const bool is_right = counts.x == 0.0f;
        if (!(status & ROW_BAD) && is_right) {
            row_float sum = zero, total = zero;
            ROW_LOOP(i, classes) {
                sum += row_exp_others(STUDENT_LOAD(s, i, classes, -INFINITY), row_index(i, classes), label, facts.other_s, 1.0f);
                ROW_GATHER(i, total, sum)
            }
            const float others = row_sum4(total + sum, zero, zero, zero, scratch).x;
            const row_cross_entropy ce = row_cross_entropy_from(others, facts.other_s, label_logit, scale * weight_ce);
            const float factor = scale * weight_right * 2.0f * each_class;
            row_float squares = zero, all_squares = zero;
            ROW_LOOP(i, classes) {
                const row_float x = STUDENT_LOAD(s, i, classes, -INFINITY);
                const row_float y = TEACHER_LOAD(t, i, classes, -INFINITY);
                const row_int index = row_index(i, classes);
                const row_int both = (x > lowest) && (y > lowest);
                const row_int one = ((x > lowest) && (y == lowest)) || ((x == lowest) && (y > lowest));
                const row_float d = ROW_WHERE(both, x - y, 0.0f);
                squares += ROW_WHERE(one, ROW_SPLAT(INFINITY), d * (d * each_class));
                ROW_GATHER(i, all_squares, squares)
                const row_float e = row_exp_others(x, index, label, facts.other_s, 1.0f);
                GRADIENT_STORE(g, i, classes, ROW_FMA(ROW_SPLAT(factor), d, ROW_WHERE(index != (row_int)(label), e * ce.each, -ce.rest)));
            }
            terms.x = ce.value;
            terms.y = row_sum4(all_squares + squares, zero, zero, zero, scratch).x;
        }
        if (!(status & ROW_BAD) && !is_right) {
            row_float sum_s = zero, sum_t = zero, total_s = zero, total_t = zero;
            ROW_LOOP(i, classes) {
                sum_s += row_exp(STUDENT_LOAD(s, i, classes, -INFINITY) - facts.largest_s);
                sum_t += row_exp(TEACHER_LOAD(t, i, classes, -INFINITY) - facts.largest_t);
                ROW_GATHER(i, total_s, sum_s)
                ROW_GATHER(i, total_t, sum_t)
            }
            const float4 sums = row_sum4(total_s + sum_s, total_t + sum_t, zero, zero, scratch);
            const float inverse_s = 1.0f / sums.x, inverse_t = 1.0f / sums.y;
            const float share = eta / (inverse_t - exp(label_teacher - facts.largest_t) * inverse_t + 1.0f);
            const float from_teacher = share * inverse_t, from_label = 1.0f - share;
            // Differences are taken from the student's own class: near certainty d_i - sum_j p_j d_j would cancel there.
            const float own = inverse_s - exp(TEACHER_AT(t, student_class) - facts.largest_t) * from_teacher
                - (student_class == label ? from_label : 0.0f);
            row_float squares = zero, mean_sum = zero, all_squares = zero, all_mean = zero;
            ROW_LOOP(i, classes) {
                const row_float p = row_exp(STUDENT_LOAD(s, i, classes, -INFINITY) - facts.largest_s) * inverse_s;
                const row_float q = row_exp(TEACHER_LOAD(t, i, classes, -INFINITY) - facts.largest_t);
                const row_int index = row_index(i, classes);
                // A label that was counted in an earlier step is not counted again.
                const row_int is_label = (index == (row_int)(label)) && (index >= (row_int)((int)i));
                const row_float d = p - q * from_teacher - ROW_WHERE(is_label, ROW_SPLAT(from_label), 0.0f);
                squares = ROW_FMA(d, d, squares);
                mean_sum = ROW_FMA(p, ROW_WHERE(index != (row_int)(student_class), d - own, 0.0f), mean_sum);
                ROW_GATHER(i, all_squares, squares)
                ROW_GATHER(i, all_mean, mean_sum)
            }
            const float4 totals = row_sum4(all_squares + squares, all_mean + mean_sum, zero, zero, scratch);
            const float factor = scale * weight_wrong * 2.0f * each_class * inverse_s;
            ROW_LOOP(i, classes) {
                const row_float e = row_exp(STUDENT_LOAD(s, i, classes, -INFINITY) - facts.largest_s);
                const row_float q = row_exp(TEACHER_LOAD(t, i, classes, -INFINITY) - facts.largest_t);
                const row_int index = row_index(i, classes);
                const row_float d =
                    e * inverse_s - q * from_teacher - ROW_WHERE(index == (row_int)(label), ROW_SPLAT(from_label), 0.0f);
                const row_float apart = ROW_WHERE(index != (row_int)(student_class), d - own, 0.0f);
                GRADIENT_STORE(g, i, classes, factor * e * (apart - totals.y));
            }
            terms.z = totals.x * each_class;
        }
    }
    const bool works = (status & ROW_COUNTED) && !(status & ROW_BAD_LABEL);
    AUDIT_ROW(s, t, works ? classes : 0u, works ? label : 0, row)
    loss_row_report(status, terms, 3, g, classes, term_rows + term_rows_offset, rows, row, row_status + row_status_offset);
}
