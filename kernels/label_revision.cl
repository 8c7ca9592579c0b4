// LR, loss and gradient. A row is right when the label is the teacher's first largest logit; C counts the classes that one side
// at least does not exclude.
//   right: ce, and mse_right = mean_i (s_i - t_i)^2;
//   wrong: mse_wrong = mean_i (p_i - u_i)^2, p = softmax(s), u = b softmax(t) + (1 - b) onehot(y), b = eta / (max q - q_y + 1).
//   gradient = row's scale * [weight_ce * (p - onehot(y)) + weight_right * 2 (s_i - t_i) / C], or
//              row's scale * weight_wrong * 2 p_i (d_i - sum_j p_j d_j) / C, d = p - u.
// The means are over the rows of each group, so the scale of every row comes from `label_revision_group_rows` and
// `loss_scale_rows` before. 16 bytes per class then, a third more than other losses, for as many operations.
#define LOSS_TEACHER 1
#include "common/logit_storage.clh"
#include "common/loss_terms.clh"
#include "common/loss_audit.clh"
#include "common/logit_loss_block.clh"
#include "common/work_group.clh"

#define GROUP_RIGHT 1u
#define GROUP_WRONG 2u

// The exponentials of a row that is one block stay with their work-item between the passes; of longer rows they are computed anew.
#if ROW_ONE_BLOCK
#define KEPT_ARRAYS BLOCK_ARRAYS
#define KEEP(array, i, value) BLOCK_AT(array, i, 0u) = (value);
#define KEPT(array, i, again) BLOCK_AT(array, i, 0u)
#else
#define KEPT_ARRAYS
#define KEEP(array, i, value)
#define KEPT(array, i, again) (again)
#endif
#define STUDENT(i, part) ROW_JOIN(student_or_, part)(s, i, classes, -INFINITY)
#define TEACHER(i, part) ROW_JOIN(teacher_or_, part)(t, i, classes, -INFINITY)
#define STUDENT_EXP(i, part) row_exp(STUDENT(i, part) - facts.largest_s)
#define TEACHER_EXP(i, part) row_exp(TEACHER(i, part) - facts.largest_t)
#define OTHERS_EXP(i, part) row_exp_others(STUDENT(i, part), block_index(i), label, facts.other_s, 1.0f)

// The steps of the passes over a row (BLOCK_PASS). First: maxima, who is ahead of the label, and whether every logit is finite.
#define ROW_FIRST(i, base, part)                                                              \
    {                                                                                         \
        const row_float x = ROW_JOIN(student_, part)(s, i, classes), y = ROW_JOIN(teacher_, part)(t, i, classes); \
        const row_int before = BLOCK_BEFORE(i, label);                                        \
        other_s = max(other_s, select(x, lowest, BLOCK_IS(i, label)));                        \
        largest_t = max(largest_t, y);                                                        \
        ROW_COUNT(ahead_s, x >= select(ROW_SPLAT(after_s), ROW_SPLAT(label_logit), before));  \
        ROW_COUNT(ahead_t, y >= select(ROW_SPLAT(after_t), ROW_SPLAT(label_teacher), before)); \
        ROW_TOTAL_ADD(faults, x + y);                                                         \
    }
// A right row: the sum that normalises the student, then squares and gradient. A class that one side alone excludes is infinitely far.
#define RIGHT_SUM(i, base, part)                                                              \
    {                                                                                         \
        const row_float e = OTHERS_EXP(i, part);                                              \
        BLOCK_PREFETCH(i)                                                                     \
        KEEP(block_x, i, e)                                                                   \
        sum += e;                                                                             \
        ROW_GATHER(i, total, sum)                                                             \
    }
#define RIGHT_GRADIENT(i, base, part)                                                         \
    {                                                                                         \
        const row_float x = STUDENT(i, part), y = TEACHER(i, part);                           \
        row_float d = x - y;                                                                  \
        if (is_odd || part##_may_end) {                                                       \
            d = ROW_WHERE((x > lowest) && (y > lowest), d, 0.0f);                             \
            squares += ROW_WHERE((x > lowest) != (y > lowest), ROW_SPLAT(INFINITY), 0.0f);    \
        }                                                                                     \
        squares += d * (d * each_class);                                                      \
        ROW_GATHER(i, all_squares, squares)                                                   \
        const row_float e = KEPT(block_x, i, OTHERS_EXP(i, part));                            \
        const row_float step = select(e * ce.each, ROW_SPLAT(-ce.rest), BLOCK_IS(i, label));  \
        BLOCK_STORE_##part(i, classes, ROW_FMA(ROW_SPLAT(factor), d, step))                   \
    }
#define inner_may_end false
#define ragged_may_end true
// A wrong row: both sums and the student's own class, the first whose exponential is 1; distances; gradient.
#define WRONG_SUMS(i, base, part)                                                             \
    {                                                                                         \
        const row_float e = STUDENT_EXP(i, part), q = TEACHER_EXP(i, part);                   \
        BLOCK_PREFETCH(i)                                                                     \
        KEEP(block_x, i, e)                                                                   \
        KEEP(block_y, i, q)                                                                   \
        sum_s += e;                                                                           \
        sum_t += q;                                                                           \
        place = min(place, ROW_WHERE(e >= ROW_SPLAT(1.0f), ROW_TO_FLOAT(block_index(i)), INFINITY)); \
        ROW_GATHER(i, total_s, sum_s)                                                         \
        ROW_GATHER(i, total_t, sum_t)                                                         \
    }
#define WRONG_DISTANCE(i, part)                                                               \
    const row_float e = KEPT(block_x, i, STUDENT_EXP(i, part)), q = KEPT(block_y, i, TEACHER_EXP(i, part)); \
    const row_float to_label = ROW_WHERE(BLOCK_IS(i, label), ROW_SPLAT(from_label), 0.0f);    \
    const row_float d = ROW_FMA(e, ROW_SPLAT(inverse_s), ROW_FMA(q, ROW_SPLAT(-from_teacher), -to_label)); \
    const row_float apart = select(d - own, zero, BLOCK_IS(i, student_class));
#define WRONG_SQUARES(i, base, part)                                                          \
    {                                                                                         \
        WRONG_DISTANCE(i, part)                                                               \
        squares = ROW_FMA(d, d, squares);                                                     \
        mean_sum = ROW_FMA(e, apart, mean_sum);                                               \
        ROW_GATHER(i, all_squares, squares)                                                   \
        ROW_GATHER(i, all_mean, mean_sum)                                                     \
    }
#define WRONG_GRADIENT(i, base, part)                                                         \
    {                                                                                         \
        WRONG_DISTANCE(i, part)                                                               \
        BLOCK_STORE_##part(i, classes, factor * e * (apart - mean))                           \
    }

// row_groups[row] = the group of a row, 0 for one that does not count. A faulty row is in some group, so that its nan shows.
// teacher: [rows, classes]; labels, row_groups: [rows].
__kernel WORK_GROUP(LOCAL_SIZE) void label_revision_group_rows(
    const uint classes,
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
        ROW_LOOP(i, classes) {
            ahead += row_ahead(TEACHER_LOAD(t, i, classes, -INFINITY), row_index(i, classes), label_teacher, label);
        }
        group = row_sum4(ahead, zero, zero, zero, scratch).x > 0.0f ? GROUP_WRONG : GROUP_RIGHT;
    }
    if (get_local_id(0) == 0) {
        row_groups[row_groups_offset + row] = group;
    }
}

// student, teacher, gradient: [rows, classes]; labels, row_status, row_scale: [rows]; term_rows: [3, rows]. All outputs are
// overwritten.
__kernel WORK_GROUP(LOCAL_SIZE) void label_revision_rows_fused(
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
    __local float4 *scratch, __local float4 *block)
{
    const row_float zero = ROW_SPLAT(0.0f), lowest = ROW_SPLAT(-INFINITY);
    KEPT_ARRAYS
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
        const float after_s = row_bar_after(label_logit), after_t = row_bar_after(label_teacher);
        row_float other_s = lowest, largest_t = lowest;
        row_total faults = (row_total)(0.0f);
        row_count ahead_s = (row_count)(0), ahead_t = ahead_s;
        BLOCK_PASS(ROW_FIRST, 0u, classes)
        const float4 ends = row_max4(other_s, largest_t, lowest, lowest, scratch);
        const float4 counts = ROW_TOTAL_SUM4(
            ROW_COUNTED_LANES(ahead_s), ROW_COUNTED_LANES(ahead_t), ROW_TOTAL_ODD(faults), (row_total)(0.0f), scratch);
        row_facts facts;
        facts.other_s = classes > 1u ? ends.x : -INFINITY;
        facts.largest_s = max(facts.other_s, label_logit);
        facts.largest_t = ends.y;
        facts.status = row_correctness(counts.x);
        float teacher_ahead = counts.y, present = (float)classes;
        // Classes that are excluded, or worse: read again with care.
        const bool is_odd = counts.z > 0.0f || !(max(fabs(ends.x), fabs(ends.y)) <= LOSS_LARGEST);
        if (is_odd) {
            row_scan scan = row_scan_start();
            row_float ahead = zero, there = zero;
            ROW_LOOP(i, classes) {
                const row_float x = STUDENT_LOAD(s, i, classes, -INFINITY), y = TEACHER_LOAD(t, i, classes, -INFINITY);
                const row_int index = row_index(i, classes);
                row_scan_add(&scan, x, y, index, label, label_logit);
                ahead += row_ahead(y, index, label_teacher, label);
                there += ROW_ONE((x > lowest) || (y > lowest));
            }
            facts = row_scan_finish(scan, label_logit, scratch);
            const float4 others = row_sum4(ahead, there, zero, zero, scratch);
            teacher_ahead = others.x;
            present = others.y;
        }
        status |= facts.status;
        const float each_class = 1.0f / max(present, 1.0f);
        // Two plain ifs: PoCL 3.1 cannot compile barriers in both branches of one for groups of one work-item.
        const bool is_right = teacher_ahead == 0.0f;
        if (!(status & ROW_BAD) && is_right) {
            row_float sum = zero, total = zero;
            BLOCK_PASS(RIGHT_SUM, 0u, classes)
            const float others = row_sum4(total + sum, zero, zero, zero, scratch).x;
            const row_cross_entropy ce = row_cross_entropy_from(others, facts.other_s, label_logit, scale * weight_ce);
            const float factor = scale * weight_right * 2.0f * each_class;
            row_float squares = zero, all_squares = zero;
            BLOCK_PASS(RIGHT_GRADIENT, 0u, classes)
            terms.x = ce.value;
            terms.y = row_sum4(all_squares + squares, zero, zero, zero, scratch).x;
        }
        if (!(status & ROW_BAD) && !is_right) {
            row_float sum_s = zero, sum_t = zero, total_s = zero, total_t = zero, place = ROW_SPLAT(INFINITY);
            BLOCK_PASS(WRONG_SUMS, 0u, classes)
            const float4 sums = row_sum4(total_s + sum_s, total_t + sum_t, zero, zero, scratch);
            const int student_class = (int)-row_max4(-place, lowest, lowest, lowest, scratch).x;
            const float inverse_s = 1.0f / sums.x, inverse_t = 1.0f / sums.y;
            const float share = eta / (inverse_t - exp(label_teacher - facts.largest_t) * inverse_t + 1.0f);
            const float from_teacher = share * inverse_t, from_label = 1.0f - share;
            // Differences are taken from the student's own class: near certainty d_i - sum_j p_j d_j would cancel there.
            const float own = inverse_s - exp(TEACHER_AT(t, student_class) - facts.largest_t) * from_teacher
                - (student_class == label ? from_label : 0.0f);
            row_float squares = zero, mean_sum = zero, all_squares = zero, all_mean = zero;
            BLOCK_PASS(WRONG_SQUARES, 0u, classes)
            const float4 totals = row_sum4(all_squares + squares, all_mean + mean_sum, zero, zero, scratch);
            const float factor = scale * weight_wrong * 2.0f * each_class * inverse_s, mean = totals.y * inverse_s;
            BLOCK_PASS(WRONG_GRADIENT, 0u, classes)
            terms.z = totals.x * each_class;
        }
    }
    const bool works = (status & ROW_COUNTED) && !(status & ROW_BAD_LABEL);
    AUDIT_ROW(s, t, works ? classes : 0u, works ? label : 0, row)
    loss_row_report(status, terms, 3, g, classes, term_rows + term_rows_offset, rows, row, row_status + row_status_offset);
}
