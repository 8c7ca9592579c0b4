// The small launches beside a loss kernel, one work-group each, sums in a fixed order.
#ifndef LOCAL_SIZE
#define LOCAL_SIZE 64 // work-items of the one work-group; any value from 1
#endif

// Words of the accumulator (LossAccumulator in Swift): counts, then sums as pairs of floats (high, low).
#define ACCUMULATOR_ROWS 0
#define ACCUMULATOR_TOP1 1
#define ACCUMULATOR_TOP5 2
#define ACCUMULATOR_BAD_ROWS 3  // rows with any ROW_BAD bit
#define ACCUMULATOR_BAD_BITS 4  // those bits, joined
#define ACCUMULATOR_FIRST_BAD 5 // 1 + the first such row within its batch, of the first batch that had one; 0: none
#define ACCUMULATOR_TOTAL 6     // pair: sum over rows of the weighted total
#define ACCUMULATOR_TERMS 8     // pairs: sum over rows of each unweighted term

// The status words of common/loss_row.clh.
#define STATUS_COUNTED 1u
#define STATUS_TOP1 2u
#define STATUS_TOP5 4u
#define STATUS_BAD 0xF0u
#define STATUS_UNREADABLE 0x70u // logits or label at fault; an infinite loss (0x80) leaves the ranks as they are

// high + low += x, exact to about 48 bits (Knuth's two-sum; valid without fast-math, whatever the magnitudes).
static float2 pair_add(const float2 pair, const float x)
{
    const float sum = pair.x + x;
    if (!isfinite(sum)) {
        return (float2)(sum, 0.0f);
    }
    const float part = sum - pair.x;
    const float error = (pair.x - (sum - part)) + (x - part);
    const float low = pair.y + error;
    const float high = sum + low;
    return (float2)(high, low - (high - sum));
}

static float2 pair_add_pair(const float2 pair, const float2 other)
{
    return pair_add(pair_add(pair, other.x), other.y);
}

// pair * x.
static float2 pair_times(const float2 pair, const float x)
{
    const float product = pair.x * x;
    const float2 result = (float2)(product, 0.0f);
    return isfinite(product) ? pair_add(result, fma(pair.x, x, -product) + pair.y * x) : result;
}

// Sums `lanes` of all work-items; the result is right in work-item 0.
static float2 pair_total(__local float2 *lanes, const float2 mine)
{
    const uint lane = (uint)get_local_id(0);
    lanes[lane] = mine;
    barrier(CLK_LOCAL_MEM_FENCE);
    float2 total = (float2)(0.0f, 0.0f);
    if (lane == 0) {
        for (uint i = 0; i < LOCAL_SIZE; i++) {
            total = pair_add_pair(total, lanes[i]);
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return total;
}

// Adds a batch to the accumulator: counts, each term, and the total with this batch's weights.
// has_scale: each row counts row_scale[row] (weight / sum of weights) times the number of counted rows, not once, and sums are
// multiplied by sum_scale, a power of two. A row of scale 0 does not count, even if it is infinite.
// term_rows: [terms, rows]; row_status: [rows]; accumulator: 8 + 2 * terms words. At most four terms.
__kernel void loss_reduce_rows(
    const uint rows, const uint terms,
    __global const float *restrict term_rows, const ulong term_rows_offset,
    __global const uint *restrict row_status, const ulong row_status_offset,
    __global uint *restrict accumulator, const ulong accumulator_offset,
    const float weight0, const float weight1, const float weight2, const float weight3,
    __global const float *restrict row_scale, const ulong row_scale_offset, const uint has_scale, const float sum_scale)
{
    __local float2 pairs[LOCAL_SIZE];
    __local uint words[LOCAL_SIZE * 6];
    const uint lane = (uint)get_local_id(0);
    __global uint *total = accumulator + accumulator_offset;
    const float weights[4] = {weight0, weight1, weight2, weight3};

    uint found[6] = {0u, 0u, 0u, 0u, 0u, 0u};
    for (uint row = lane; row < rows; row += LOCAL_SIZE) {
        const uint status = row_status[row_status_offset + row];
        const uint bad = status & STATUS_BAD;
        found[ACCUMULATOR_ROWS] += status & STATUS_COUNTED;
        found[ACCUMULATOR_TOP1] += status & STATUS_UNREADABLE ? 0u : (status & STATUS_TOP1) / STATUS_TOP1;
        found[ACCUMULATOR_TOP5] += status & STATUS_UNREADABLE ? 0u : (status & STATUS_TOP5) / STATUS_TOP5;
        found[ACCUMULATOR_BAD_ROWS] += bad ? 1u : 0u;
        found[ACCUMULATOR_BAD_BITS] |= bad;
        if (bad && !found[ACCUMULATOR_FIRST_BAD]) {
            found[ACCUMULATOR_FIRST_BAD] = row + 1;
        }
    }
    for (uint k = 0; k < 6; k++) {
        words[lane * 6 + k] = found[k];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    float counted = 0.0f;
    if (lane == 0) {
        uint first = 0u;
        for (uint i = 0; i < LOCAL_SIZE; i++) {
            counted += (float)words[i * 6 + ACCUMULATOR_ROWS];
            for (uint k = 0; k < 4; k++) {
                total[k] += words[i * 6 + k];
            }
            total[ACCUMULATOR_BAD_BITS] |= words[i * 6 + ACCUMULATOR_BAD_BITS];
            const uint here = words[i * 6 + ACCUMULATOR_FIRST_BAD];
            first = here && (!first || here < first) ? here : first;
        }
        if (!total[ACCUMULATOR_FIRST_BAD]) {
            total[ACCUMULATOR_FIRST_BAD] = first;
        }
    }

    float2 whole = (float2)(0.0f, 0.0f);
    for (uint k = 0; k < terms; k++) {
        float2 sum = (float2)(0.0f, 0.0f);
        for (uint row = lane; row < rows; row += LOCAL_SIZE) {
            const float value = term_rows[term_rows_offset + (ulong)k * rows + row];
            if (!has_scale) {
                sum = pair_add(sum, value);
            } else if (row_scale[row_scale_offset + row] != 0.0f) {
                sum = pair_add_pair(sum, pair_times((float2)(value, 0.0f), row_scale[row_scale_offset + row]));
            }
        }
        sum = pair_total(pairs, sum);
        if (lane == 0) {
            if (has_scale) {
                sum = pair_times(sum, counted * sum_scale);
            }
            __global uint *word = total + ACCUMULATOR_TERMS + 2 * k;
            const float2 term = pair_add_pair((float2)(as_float(word[0]), as_float(word[1])), sum);
            word[0] = as_uint(term.x);
            word[1] = as_uint(term.y);
            // weight * (high + low), the product's rounding error kept; a term of weight 0 does not count, even if infinite.
            if (weights[k] != 0.0f) {
                const float product = weights[k] * sum.x;
                const float error = fma(weights[k], sum.x, -product);
                whole = pair_add(pair_add(whole, product), isfinite(product) ? error + weights[k] * sum.y : 0.0f);
            }
        }
    }
    if (lane == 0) {
        __global uint *word = total + ACCUMULATOR_TOTAL;
        const float2 sum = pair_add_pair((float2)(as_float(word[0]), as_float(word[1])), whole);
        word[0] = as_uint(sum.x);
        word[1] = as_uint(sum.y);
    }
}

// inverse_count[0] = 1 / number of labels other than the ignored one, 0 without any: what a loss kernel multiplies its
// gradient by when some rows may be ignored.
__kernel void loss_count_rows(
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
    if (lane == 0) {
        uint all = 0;
        for (uint i = 0; i < LOCAL_SIZE; i++) {
            all += counts[i];
        }
        inverse_count[inverse_count_offset] = all ? 1.0f / (float)all : 0.0f;
    }
}

// row_scale[row] = weight / sum of the weights of the row's group; 0 for a row that does not count. What a loss kernel multiplies
// a row's gradient by. Weights are 1 without has_weights; the group is 1 without has_groups, else 1, 2 or 0 (does not count).
__kernel void loss_scale_rows(
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
