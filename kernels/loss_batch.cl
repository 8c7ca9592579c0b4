// The small launches beside a loss kernel, those that sum of one work-group each and in a fixed order. One program, because a driver
// may take tens of milliseconds for each, however short.
#ifndef LOCAL_SIZE
#define LOCAL_SIZE 64 // work-items of the one work-group; any value from 1
#endif
#include "common/inline.clh"
#include "common/loss_accumulator.clh"

// Sums of one work-item that grow side by side: alone it would wait for each addition.
#define PARTS (LOCAL_SIZE == 1 ? 8 : 1)

// Runs JOIN(work-item, another) until work-item 0 has joined all: the upper half into the lower, a middle one stays.
#define JOIN_ALL(JOIN)                                                        \
    for (uint active = LOCAL_SIZE; active > 1u; active = (active + 1u) / 2u) { \
        if (lane < active / 2u) {                                              \
            JOIN(lane, lane + (active + 1u) / 2u)                              \
        }                                                                      \
        barrier(CLK_LOCAL_MEM_FENCE);                                          \
    }

// The sum of all work-items' pairs, known to each.
ALWAYS_INLINE float2 pair_total(__local float2 *lanes, const float2 mine)
{
    const uint lane = (uint)get_local_id(0);
    lanes[lane] = mine;
    barrier(CLK_LOCAL_MEM_FENCE);
#define JOIN(a, b) lanes[a] = pair_add_pair(lanes[a], lanes[b]);
    JOIN_ALL(JOIN)
#undef JOIN
    const float2 total = lanes[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return total;
}

// Counts of some rows, [ACCUMULATOR_COUNTS], joined with those of others.
static void counts_join(__local uint *mine, __local const uint *other)
{
    for (uint k = 0; k < ACCUMULATOR_BAD_BITS; k++) {
        mine[k] += other[k];
    }
    mine[ACCUMULATOR_BAD_BITS] |= other[ACCUMULATOR_BAD_BITS];
    const uint here = other[ACCUMULATOR_FIRST_BAD], first = mine[ACCUMULATOR_FIRST_BAD];
    mine[ACCUMULATOR_FIRST_BAD] = here && (!first || here < first) ? here : first;
}

// Adds a batch to an accumulator (common/loss_accumulator.clh): counts, each term, and the total with this batch's weights.
// has_scale: each row counts row_scale[row] (weight / sum of weights) times the number of counted rows, not once, and sums are
// multiplied by sum_scale, a power of two. A row of scale 0 does not count, even if it is infinite.
// term_rows: [terms, rows]; row_status: [rows].
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void loss_reduce_rows(
    const uint rows, const uint terms,
    __global const float *restrict term_rows, const ulong term_rows_offset,
    __global const uint *restrict row_status, const ulong row_status_offset,
    __global uint *restrict accumulator, const ulong accumulator_offset,
    const float weight0, const float weight1, const float weight2, const float weight3,
    __global const float *restrict row_scale, const ulong row_scale_offset, const uint has_scale, const float sum_scale)
{
    __local float2 pairs[LOCAL_SIZE];
    __local uint words[LOCAL_SIZE * ACCUMULATOR_COUNTS];
    const uint lane = (uint)get_local_id(0);

    uint found[ACCUMULATOR_COUNTS] = {0u, 0u, 0u, 0u, 0u, 0u};
    for (uint row = lane; row < rows; row += LOCAL_SIZE) {
        const uint status = row_status[row_status_offset + row];
        const uint bad = status & ROW_BAD;
        found[ACCUMULATOR_ROWS] += status & ROW_COUNTED;
        found[ACCUMULATOR_TOP1] += status & ROW_UNREADABLE ? 0u : (status & ROW_TOP1) / ROW_TOP1;
        found[ACCUMULATOR_TOP5] += status & ROW_UNREADABLE ? 0u : (status & ROW_TOP5) / ROW_TOP5;
        found[ACCUMULATOR_BAD_ROWS] += bad ? 1u : 0u;
        found[ACCUMULATOR_BAD_BITS] |= bad;
        if (bad && !found[ACCUMULATOR_FIRST_BAD]) {
            found[ACCUMULATOR_FIRST_BAD] = row + 1;
        }
    }
    for (uint k = 0; k < ACCUMULATOR_COUNTS; k++) {
        words[lane * ACCUMULATOR_COUNTS + k] = found[k];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
#define JOIN(a, b) counts_join(words + (a) * ACCUMULATOR_COUNTS, words + (b) * ACCUMULATOR_COUNTS);
    JOIN_ALL(JOIN)
#undef JOIN
    const float counted = (float)words[ACCUMULATOR_ROWS];
    float2 sums[4];
    for (uint k = 0; k < terms; k++) {
        float2 parts[PARTS];
        for (uint j = 0; j < PARTS; j++) {
            parts[j] = (float2)(0.0f, 0.0f);
        }
        for (uint first = lane; first < rows; first += LOCAL_SIZE * PARTS) {
            for (uint j = 0; j < PARTS; j++) {
                const uint row = first + j * LOCAL_SIZE, place = min(row, rows - 1u);
                const float value = term_rows[term_rows_offset + (ulong)k * rows + place];
                const float scale = row >= rows ? 0.0f : has_scale ? row_scale[row_scale_offset + row] : 1.0f;
                if (scale != 0.0f) {
                    parts[j] = has_scale ? pair_add_pair(parts[j], pair_times((float2)(value, 0.0f), scale)) : pair_add(parts[j], value);
                }
            }
        }
        for (uint j = 1; j < PARTS; j++) {
            parts[0] = pair_add_pair(parts[0], parts[j]);
        }
        const float2 sum = pair_total(pairs, parts[0]);
        sums[k] = has_scale ? pair_times(sum, counted * sum_scale) : sum;
    }
    if (lane == 0) {
        // Behind the last barrier: PoCL 7.1 runs what is before the loop above, which may have none, twice.
        for (uint k = 0; k < ACCUMULATOR_COUNTS; k++) {
            found[k] = words[k];
        }
        accumulator_add_counts(accumulator + accumulator_offset, found);
        const float weights[4] = {weight0, weight1, weight2, weight3};
        accumulator_add_sums(accumulator + accumulator_offset, sums, weights, terms);
    }
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
#define JOIN(a, b) counts[a] += counts[b];
    JOIN_ALL(JOIN)
#undef JOIN
    if (lane == 0) {
        inverse_count[inverse_count_offset] = counts[0] ? 1.0f / (float)counts[0] : 0.0f;
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
// A work-group per row. sums: [LOCAL_SIZE]; an argument, because of an array in the kernel PoCL 3.1 leaves some uses to all threads
// at once.
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void soft_targets(
    const uint rows, const uint classes, __global const float *restrict student, const ulong student_offset,
    __global const int *restrict labels, const ulong labels_offset, __global float *restrict gradient,
    const ulong gradient_offset, __global float *restrict terms, const ulong terms_offset, const float smoothing,
    const float share, const float gradient_scale, __local float *sums)
{
    const uint lane = (uint)get_local_id(0);
    const uint row = (uint)get_group_id(0);
    const ulong start = (ulong)row * classes;
    __global const float *z = student + student_offset + start;
    __global float *d = gradient + gradient_offset + start;
    const uint a = (uint)labels[labels_offset + row];
    const uint b = (uint)labels[labels_offset + rows - 1 - row];
    const bool usable = a < classes && b < classes;
    const float uniform = usable ? smoothing / (float)classes : 0.0f;
    const float own = usable ? 1.0f - (1.0f - smoothing) * share : 0.0f;
    const float other = usable ? (1.0f - smoothing) * (1.0f - share) : 0.0f;
    float mean = 0.0f;
    // Work-items take as many steps each.
    for (uint first = 0; first < classes; first += LOCAL_SIZE) {
        const uint i = first + lane;
        if (i < classes) {
            mean += uniform * z[i];
            d[i] += gradient_scale * ((i == a ? own : 0.0f) - (i == b ? other : 0.0f) - uniform);
        }
    }
    sums[lane] = mean;
    barrier(CLK_LOCAL_MEM_FENCE);
#define JOIN(a, b) sums[a] += sums[b];
    JOIN_ALL(JOIN)
#undef JOIN
    if (lane == 0 && usable) {
        terms[terms_offset + row] += own * z[a] - other * z[b] - sums[0];
    }
}
