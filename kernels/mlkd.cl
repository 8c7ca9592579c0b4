// MLKD without strong augmentation, loss and gradient. Terms, with p = softmax(s / T), q = softmax(t / T), f and g the shares of
// rows and classes whose teacher confidence is at or below the median, n the rows that count, C the classes:
//   ce; kd = f * sum over T of T^2 KL(q || p), of the logits or, if asked for, the standardised logits;
//   bc = f / n * sum over T and pairs of rows of (p_i . p_j - q_i . q_j)^2;
//   cc = g / C * sum over T of the sum of squares of M = sum_i (p_i p_i' - q_i q_i').
// With sigma = p + q and delta = p - q all of bc, cc and their gradients are made of the products of sigma and delta rows, so that
// no matrix of classes is needed. Launches, in this order:
//   mlkd_confidence_rows, mlkd_median, mlkd_confidence_classes, mlkd_median   what f, g, n, C and the row weights need
//   mlkd_rows_fused                                                           ce, kd, correctness
//   then for every T, with Z = (sigma; delta) [2 rows, classes]:
//   mlkd_correlate_rows -> Z;  product G = Z Z';  mlkd_align_rows -> cc, bc and W;  product U = W Z;  mlkd_propagate_rows
#include "common/loss_terms.clh"
#include "common/loss_accumulator.clh"
#include "common/loss_audit.clh"

// Words of `levels`, written by mlkd_median.
#define LEVELS_ROW_FRACTION 0
#define LEVELS_ROW_COUNT 1
#define LEVELS_CLASS_FRACTION 2
#define LEVELS_CLASS_COUNT 3

// row_confidence[row] = -log(1 - max softmax(t)), which grows with the confidence; nan for a row that does not count.
// row_peak, [3, rows]: maximum of the teacher's row, log of the sum of exponentials, and what the maximum's class leaves of 1.
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void mlkd_confidence_rows(
    const uint rows, const uint classes,
    __global const float *restrict teacher, const ulong teacher_offset,
    __global const int *restrict labels, const ulong labels_offset,
    __global const float *restrict row_scale, const ulong row_scale_offset,
    __global float *restrict row_confidence, __global float *restrict row_peak,
    const int ignore_label, const uint row_mode, __local float4 *scratch)
{
    const row_float zero = ROW_SPLAT(0.0f), lowest = ROW_SPLAT(-INFINITY);
    const uint row = (uint)get_group_id(0);
    const __global float *t = teacher + teacher_offset + (ulong)row * classes;
    const bool counts = !((row_mode & ROWS_IGNORED) && labels[labels_offset + row] == ignore_label)
        && !((row_mode & ROWS_SCALED) && row_scale[row_scale_offset + row] == 0.0f);
    float confidence = NAN, peak = 0.0f, log_sum = 0.0f;
    if (counts) {
        row_float largest = lowest;
        ROW_LOOP(i, classes) { largest = max(largest, row_load(t, i, classes)); }
        peak = row_max4(largest, lowest, lowest, lowest, scratch).x;
        row_float below = lowest, ties = zero;
        ROW_LOOP(i, classes) {
            const row_float y = row_load(t, i, classes);
            ties += ROW_ONE(y == ROW_SPLAT(peak));
            below = max(below, ROW_WHERE(y != ROW_SPLAT(peak), y, -INFINITY));
        }
        const float tied = row_sum4(ties, zero, zero, zero, scratch).x - 1.0f;
        // The other classes from their own largest: the exponentials of a sure teacher would underflow.
        const float next = row_max4(below, lowest, lowest, lowest, scratch).x;
        const float second = tied > 0.0f ? peak : next;
        row_float rest = zero, all_rest = zero;
        ROW_LOOP(i, classes) {
            const row_float y = row_load(t, i, classes);
            rest += row_exp(ROW_WHERE(y != ROW_SPLAT(peak) && y > lowest, y - second, -INFINITY));
            ROW_GATHER(i, all_rest, rest)
        }
        const float others = row_sum4(all_rest + rest, zero, zero, zero, scratch).x + tied;
        confidence = softplus(others > 0.0f ? peak - second - log(others) : INFINITY);
        log_sum = log1p(others > 0.0f ? others * exp(second - peak) : 0.0f);
    }
    if (get_local_id(0) == 0) {
        row_confidence[row] = confidence;
        row_peak[row] = peak;
        row_peak[rows + row] = log_sum;
        row_peak[2 * (ulong)rows + row] = -expm1(-log_sum);
    }
}

// class_confidence, [3, classes]: the weighted sum of softmax(t) over the rows as 2^first * (second + third), 1 <= second < 2, so that
// sums next to each other are told apart; first is nan for a class that both sides exclude in every row. One work-item per class.
// (Selections without branches: of PoCL 6.0 with LLVM 18, a branch's result across work-items stops the compiler, "did not reach a
// fixpoint".)
__kernel void mlkd_confidence_classes(
    const uint rows, const uint classes,
    __global const float *restrict student, const ulong student_offset,
    __global const float *restrict teacher, const ulong teacher_offset,
    __global const float *restrict row_peak, __global const float *restrict row_weights,
    __global float *restrict class_confidence)
{
    const uint class_index = (uint)get_global_id(0);
    if (class_index >= classes) {
        return;
    }
    float largest = -INFINITY, largest_student = -INFINITY;
    for (uint row = 0; row < rows; row++) {
        const float weight = row_weights[row];
        const ulong at = (ulong)row * classes + class_index;
        const float y = (teacher[teacher_offset + at] - row_peak[row] - row_peak[rows + row]) * LOG2_E;
        largest = weight > 0.0f ? max(largest, y) : largest;
        largest_student = weight > 0.0f ? max(largest_student, student[student_offset + at]) : largest_student;
    }
    // -1 or 0 where a teacher is sure of the class.
    const float scale = floor(largest), one = scale < 0.0f ? 2.0f : 1.0f;
    float2 sum = (float2)(0.0f);
    for (uint row = 0; row < rows; row++) {
        const float weight = row_weights[row], log_sum = row_peak[rows + row];
        const float below = teacher[teacher_offset + (ulong)row * classes + class_index] - row_peak[row];
        const float y = (below - log_sum) * LOG2_E;
        const int there = weight > 0.0f && y > -INFINITY;
        // The class that a teacher is sure of: 1, and what is taken off it apart.
        const int sure = below == 0.0f && log_sum < 0.5f;
        const float rest = one * row_peak[2 * (ulong)rows + row];
        sum = pair_add(sum, select(0.0f, weight * select(exp2(y - scale), one, sure), there));
        sum = pair_add(sum, select(0.0f, -weight * rest, there && sure));
    }
    const bool present = largest > -INFINITY || largest_student > -INFINITY;
    const int power = sum.x > 0.0f ? ilogb(sum.x) : 0;
    class_confidence[class_index] = select(NAN, scale + (float)power, (int)present);
    class_confidence[classes + class_index] = ldexp(sum.x, -power);
    class_confidence[2 * (ulong)classes + class_index] = ldexp(sum.y, -power);
}

#ifndef MEDIAN_SIZE
#define MEDIAN_SIZE 64 // work-items of mlkd_median; any value from 1
#endif

// Bits that grow with the number.
static uint ordered_bits(const float x)
{
    const uint bits = as_uint(x + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// A value's bits, which grow with it: those of its first number count first. Of values of one number the others are 0.
typedef struct {
    uint first, second, third;
} median_key;

// Whether a value's first words, up to `word`, a constant, are at most the key's.
ALWAYS_INLINE bool median_within(
    const __global float *values, const uint count, const uint word, const uint i, const median_key key)
{
    const uint first = ordered_bits(values[i]);
    const uint second = word > 0u ? ordered_bits(values[count + i]) : 0u;
    const uint third = word > 1u ? ordered_bits(values[2 * (ulong)count + i]) : 0u;
    return (first < key.first)
        | ((first == key.first) & ((second < key.second) | ((second == key.second) & (third <= key.third))));
}

ALWAYS_INLINE uint median_total(__local uint *counts, const uint mine)
{
    const uint lane = (uint)get_local_id(0);
    counts[lane] = mine;
    barrier(CLK_LOCAL_MEM_FENCE);
    uint total = 0;
    for (uint i = 0; i < MEDIAN_SIZE; i++) {
        total += counts[i];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return total;
}

// How many of a work-item's values are within the key.
ALWAYS_INLINE uint median_count(const __global float *values, const uint count, const uint word, const median_key key)
{
    uint mine = 0;
    for (uint base = 0; base < count; base += MEDIAN_SIZE) {
        const uint i = base + (uint)get_local_id(0), place = i < count ? i : 0;
        mine += i < count && !isnan(values[place]) && median_within(values, count, word, place, key) ? 1u : 0u;
    }
    return mine;
}

// One word of the smallest key that `wanted` values are within, bit by bit; the words before it are there.
ALWAYS_INLINE uint median_search(
    const __global float *values, const uint count, const uint word, const uint bits, const uint wanted, const median_key before,
    __local uint *counts)
{
    uint found = 0;
    for (uint bit = 0; bit < bits; bit++) {
        const uint rest = 0x7FFFFFFFu >> bit;
        median_key key = before;
        if (word == 0u) {
            key.first = found | rest;
        } else if (word == 1u) {
            key.second = found | rest;
        } else {
            key.third = found | rest;
        }
        found |= median_total(counts, median_count(values, count, word, key)) < wanted ? rest + 1u : 0u;
    }
    return found;
}

// levels[first] = share of the values at or below their median, levels[first + 1] = their number; values whose first number is nan are
// not there. Of an even number the lower of the two values in the middle decides. values: [numbers, count], numbers 1 or 3. With
// has_rows also row_weights[i] = the weight of a row, scaled to mean 1 over those that are there, from row_scale. One work-group.
__kernel __attribute__((reqd_work_group_size(MEDIAN_SIZE, 1, 1))) void mlkd_median(
    const uint count, const uint numbers, __global const float *restrict values, __global float *restrict levels, const uint first,
    const uint has_rows, __global const float *restrict row_scale, const ulong row_scale_offset, const uint row_mode,
    __global float *restrict row_weights)
{
    __local uint counts[MEDIAN_SIZE];
    const uint lane = (uint)get_local_id(0);
    uint mine = 0;
    for (uint base = 0; base < count; base += MEDIAN_SIZE) {
        const uint i = base + lane;
        mine += i < count && !isnan(values[i < count ? i : 0]) ? 1u : 0u;
    }
    const uint present = median_total(counts, mine);
    // The smallest key that half of the values are within.
    const uint wanted = (present + 1) / 2, bits = numbers > 1u ? 32u : 0u;
    median_key key = {0u, 0u, 0u};
    key.first = median_search(values, count, 0u, 32u, wanted, key, counts);
    key.second = median_search(values, count, 1u, bits, wanted, key, counts);
    key.third = median_search(values, count, 2u, bits, wanted, key, counts);
    for (uint base = 0; base < (has_rows ? count : 0u); base += MEDIAN_SIZE) {
        const uint i = base + lane;
        if (i < count) {
            row_weights[i] = isnan(values[i]) ? 0.0f : row_mode & ROWS_SCALED ? row_scale[row_scale_offset + i] * (float)present : 1.0f;
        }
    }
    mine = numbers > 1u ? median_count(values, count, 2u, key) : median_count(values, count, 0u, key);
    const uint below = median_total(counts, mine);
    if (lane == 0) {
        levels[first] = present ? (float)below / (float)present : 0.0f;
        levels[first + 1] = (float)present;
    }
}

// student, teacher, gradient: [rows, classes]; labels, row_status: [rows]; term_rows: [4, rows], of which cc and bc are set to 0.
// temperatures, repeats: of the first `level_count` lanes. All outputs are overwritten.
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void mlkd_rows_fused(
    const uint rows, const uint classes,
    __global const float *restrict student, const ulong student_offset,
    __global const float *restrict teacher, const ulong teacher_offset,
    __global const int *restrict labels, const ulong labels_offset,
    __global const float *restrict row_scale, const ulong row_scale_offset,
    __global float *restrict gradient, const ulong gradient_offset,
    __global float *restrict term_rows, const ulong term_rows_offset,
    __global uint *restrict row_status, const ulong row_status_offset,
    const int ignore_label, const uint row_mode, const float gradient_scale,
    const float weight_ce, const float weight_kd,
    const uint standardize, const uint level_count, float8 temperatures, float8 repeats, __global const float *restrict levels
    AUDIT_ARGUMENTS, __local float4 *scratch)
{
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
            const float row_fraction = levels[LEVELS_ROW_FRACTION];
            standardization zs = standardize_none(facts.largest_s), zt = standardize_none(facts.largest_t);
            if (standardize) {
                standardize_rows(s, t, classes, facts.smallest, facts.count, &zs, &zt, scratch);
            }
            row_float sum = zero, all_sum = zero;
            ROW_LOOP(i, classes) {
                sum += row_exp_others(row_load(s, i, classes), row_index(i, classes), label, facts.other_s, 1.0f);
                ROW_GATHER(i, all_sum, sum)
            }
            const float others = row_sum4(all_sum + sum, zero, zero, zero, scratch).x;
            const row_cross_entropy ce = row_cross_entropy_from(others, facts.other_s, label_logit, scale * weight_ce);
            row_chain chain = row_chain_start();
            row_float divergence = zero, all_divergence = zero;
            for (uint level = 0; level < level_count; level++) {
                const float temperature = temperatures.s0, repeat = repeats.s0;
                temperatures = temperatures.s12345670;
                repeats = repeats.s12345670;
                const float ks = zs.slope / temperature, kt = zt.slope / temperature;
                row_float sum_s = zero, sum_t = zero, all_s = zero, all_t = zero;
                ROW_LOOP(i, classes) {
                    sum_s += row_exp((row_load(s, i, classes) - facts.largest_s) * ks);
                    sum_t += row_exp((row_load(t, i, classes) - facts.largest_t) * kt);
                    ROW_GATHER(i, all_s, sum_s)
                    ROW_GATHER(i, all_t, sum_t)
                }
                const float4 sums = row_sum4(all_s + sum_s, all_t + sum_t, zero, zero, scratch);
                const float log_ratio = log(sums.y) - log(sums.x);
                const float inverse_s = 1.0f / sums.x, inverse_t = 1.0f / sums.y;
                const float factor = scale * weight_kd * row_fraction * temperature * repeat;
                const float share = row_fraction * temperature * temperature * repeat;
                ROW_LOOP(i, classes) {
                    const row_float x = row_load(s, i, classes);
                    const row_float xs = (x - facts.largest_s) * ks;
                    const row_float xt = (row_load(t, i, classes) - facts.largest_t) * kt;
                    const row_float p = row_exp(xs) * inverse_s;
                    const row_float q = row_exp(xt) * inverse_t;
                    divergence += share * divergence_lanes(q, p, xt - xs - log_ratio);
                    ROW_GATHER(i, all_divergence, divergence)
                    row_float gradient_i = factor * (p - q);
                    if (level > 0) {
                        gradient_i += row_load(g, i, classes);
                    }
                    if (level + 1 == level_count) {
                        gradient_i = row_chain_add(&chain, gradient_i, x, row_index(i, classes), label, ce, zs, standardize);
                        ROW_GATHER(i, chain.all_g, chain.g)
                        ROW_GATHER(i, chain.all_gx, chain.gx)
                    }
                    row_store(g, i, classes, gradient_i);
                }
            }
            terms.x = ce.value;
            terms.y = row_chain_finish(chain, all_divergence + divergence, g, s, classes, label, ce, zs, standardize, scratch);
        }
    }
    const bool works = (status & ROW_COUNTED) && !(status & ROW_BAD_LABEL);
    AUDIT_ROW(s, t, works ? classes : 0u, works ? label : 0, row)
    loss_row_report(status, terms, 4, g, classes, term_rows + term_rows_offset, rows, row, row_status + row_status_offset);
}

// z, [2 rows, classes]: sigma = p + q of every row, then delta = p - q, at one temperature; 0 for rows that do not count.
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void mlkd_correlate_rows(
    const uint rows, const uint classes,
    __global const float *restrict student, const ulong student_offset,
    __global const float *restrict teacher, const ulong teacher_offset,
    __global const float *restrict row_weights, __global float *restrict z, const float temperature, __local float4 *scratch)
{
    const row_float zero = ROW_SPLAT(0.0f), lowest = ROW_SPLAT(-INFINITY);
    const uint row = (uint)get_group_id(0);
    const __global float *s = student + student_offset + (ulong)row * classes;
    const __global float *t = teacher + teacher_offset + (ulong)row * classes;
    __global float *sigma = z + (ulong)row * classes;
    __global float *delta = z + ((ulong)rows + row) * classes;
    if (row_weights[row] > 0.0f) {
        row_float largest_s = lowest, largest_t = lowest;
        ROW_LOOP(i, classes) {
            largest_s = max(largest_s, row_load(s, i, classes));
            largest_t = max(largest_t, row_load(t, i, classes));
        }
        const float4 largest = row_max4(largest_s, largest_t, lowest, lowest, scratch);
        const float slope = 1.0f / temperature;
        row_float sum_s = zero, sum_t = zero, all_s = zero, all_t = zero;
        ROW_LOOP(i, classes) {
            sum_s += row_exp((row_load(s, i, classes) - largest.x) * slope);
            sum_t += row_exp((row_load(t, i, classes) - largest.y) * slope);
            ROW_GATHER(i, all_s, sum_s)
            ROW_GATHER(i, all_t, sum_t)
        }
        const float4 sums = row_sum4(all_s + sum_s, all_t + sum_t, zero, zero, scratch);
        const float inverse_s = 1.0f / sums.x, inverse_t = 1.0f / sums.y;
        ROW_LOOP(i, classes) {
            const row_float p = row_exp((row_load(s, i, classes) - largest.x) * slope) * inverse_s;
            const row_float q = row_exp((row_load(t, i, classes) - largest.y) * slope) * inverse_t;
            row_store(sigma, i, classes, p + q);
            row_store(delta, i, classes, p - q);
        }
    } else {
        row_fill(sigma, classes, 0.0f);
        row_fill(delta, classes, 0.0f);
    }
}

// From products, [2 rows, 2 rows] = Z Z', the shares of cc and bc (added to term_rows [4, rows]) and, in place of the first half
// of the products' rows, W [rows, 2 rows]: d (weighted loss) / d p = W Z.
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void mlkd_align_rows(
    const uint rows, __global float *restrict products, __global const float *restrict row_weights,
    __global const float *restrict levels, __global float *restrict term_rows, const ulong term_rows_offset,
    const float gradient_scale, const float weight_cc, const float weight_bc, const float repeat, __local float4 *scratch)
{
    const row_float zero = ROW_SPLAT(0.0f);
    const uint row = (uint)get_group_id(0);
    __global float *of_sigma = products + (ulong)row * 2 * rows;
    __global float *of_delta = products + ((ulong)rows + row) * 2 * rows;
    const float row_fraction = levels[LEVELS_ROW_FRACTION], class_fraction = levels[LEVELS_CLASS_FRACTION];
    const float count = levels[LEVELS_ROW_COUNT];
    const float inverse_classes = inverse_or_zero(levels[LEVELS_CLASS_COUNT]);
    const float weight = row_weights[row] * gradient_scale * repeat;
    const float batch_factor = weight * weight_bc * row_fraction * 2.0f * inverse_or_zero(count);
    const float class_factor = weight * weight_cc * class_fraction * inverse_classes;
    row_float batch_sum = zero, class_sum = zero;
    ROW_LOOP(j, rows) {
        const row_float sigma_sigma = row_load_or(of_sigma, j, rows, 0.0f);
        const row_float sigma_delta = row_load_or(of_sigma + rows, j, rows, 0.0f);
        const row_float delta_sigma = row_load_or(of_delta, j, rows, 0.0f);
        const row_float delta_delta = row_load_or(of_delta + rows, j, rows, 0.0f);
        const row_float other = row_load_or(row_weights, j, rows, 0.0f);
        const row_float difference = 0.5f * (sigma_delta + delta_sigma);
        batch_sum = ROW_FMA(other * difference, difference, batch_sum);
        class_sum = ROW_FMA(other, ROW_FMA(sigma_sigma, delta_delta, sigma_delta * delta_sigma), class_sum);
        // p = (sigma + delta) / 2 on both sides of the products.
        const row_float to_student = batch_factor * difference;
        row_store(of_sigma, j, rows, other * (to_student + class_factor * (sigma_delta + delta_delta)));
        row_store(of_sigma + rows, j, rows, other * (to_student + class_factor * (sigma_sigma + delta_sigma)));
    }
    const float4 sums = row_sum4(batch_sum, class_sum, zero, zero, scratch);
    if (get_local_id(0) == 0) {
        const bool counts = row_weights[row] > 0.0f;
        __global float *cc = term_rows + term_rows_offset + 2 * (ulong)rows + row;
        cc[0] += counts ? repeat * class_fraction * count * inverse_classes * 0.5f * sums.y : 0.0f;
        cc[rows] += counts ? repeat * row_fraction * sums.x : 0.0f;
    }
}

// gradient += p (u - p . u) / T, the way of u = d loss / d p back through the softmax; p = (sigma + delta) / 2.
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void mlkd_propagate_rows(
    const uint rows, const uint classes, __global const float *restrict z, __global const float *restrict u,
    __global float *restrict gradient, const ulong gradient_offset, const float temperature, __local float4 *scratch)
{
    const row_float zero = ROW_SPLAT(0.0f);
    const uint row = (uint)get_group_id(0);
    const __global float *sigma = z + (ulong)row * classes;
    const __global float *delta = z + ((ulong)rows + row) * classes;
    const __global float *to_p = u + (ulong)row * classes;
    __global float *g = gradient + gradient_offset + (ulong)row * classes;
    row_float product = zero, all_products = zero;
    ROW_LOOP(i, classes) {
        const row_float p = 0.5f * (row_load_or(sigma, i, classes, 0.0f) + row_load_or(delta, i, classes, 0.0f));
        product = ROW_FMA(p, row_load_or(to_p, i, classes, 0.0f), product);
        ROW_GATHER(i, all_products, product)
    }
    const float mean = row_sum4(all_products + product, zero, zero, zero, scratch).x;
    const float slope = 1.0f / temperature;
    ROW_LOOP(i, classes) {
        const row_float p = 0.5f * (row_load_or(sigma, i, classes, 0.0f) + row_load_or(delta, i, classes, 0.0f));
        const row_float x = p * ((row_load_or(to_p, i, classes, 0.0f) - mean) * slope);
        row_store(g, i, classes, row_load_or(g, i, classes, 0.0f) + x);
    }
}
