// What happens to gradients and parameters beside the optimiser's own step. Everything is flat, in one buffer each, and every
// sum is in a fixed order.
#include "common/reduce.clh"

#ifndef ITEM
#define ITEM 1  // elements per work-item
#endif

// total[i] = (begins ? 0 : total[i]) + share * gradients[i]: gradients of several batches.
// Global size: ceil(count / ITEM).
kernel void accumulate_gradients(
    const ulong count, global const float *restrict gradients, global float *restrict total, const float share,
    const int begins)
{
    const ulong first = get_global_id(0) * (ulong)(ITEM);
    const ulong last = min(first + (ulong)(ITEM), count);
    for (ulong i = first; i < last; ++i) total[i] = begins ? share * gradients[i] : fma(share, gradients[i], total[i]);
}

// Sums of squares of consecutive chunks, a work-group each; chunk k covers [k * chunk, (k + 1) * chunk). scratch: as reduce_sum.
kernel void chunk_squares(
    const ulong count, const ulong chunk, global const float *restrict gradients, global float *restrict sums,
    local float *scratch)
{
    const ulong first = get_group_id(0) * chunk;
    const ulong last = min(first + chunk, count);
    float sum = 0.0f;
    // Work-items take as many steps each.
    for (ulong start = first; start < last; start += get_local_size(0)) {
        const ulong i = start + get_local_id(0);
        const float g = i < last ? gradients[i] : 0.0f;
        sum = fma(g, g, sum);
    }
    sum = reduce_sum(sum, scratch);
    if (get_local_id(0) == 0) sums[get_group_id(0)] = sum;
}

// factor[0] = min(1, clip / (length + 1e-6)), length = sqrt of the sum of the chunks. One work-group.
kernel void clip_factor(
    const int chunks, global const float *restrict sums, const float clip, global float *restrict factor, local float *scratch)
{
    float sum = 0.0f;
    for (int start = 0; start < chunks; start += (int)get_local_size(0)) {
        const int i = start + (int)get_local_id(0);
        sum += i < chunks ? sums[i] : 0.0f;
    }
    sum = reduce_sum(sum, scratch);
    if (get_local_id(0) != 0) return;
    const float f = clip / (sqrt(sum) + 1e-6f);
    // A length that is not finite stays visible: the gradients become nan.
    factor[0] = f < 1.0f || isnan(f) ? f : 1.0f;
}

// gradients[i] *= factor[0]. Global size: ceil(count / ITEM).
kernel void scale_gradients(const ulong count, global const float *restrict factor, global float *restrict gradients)
{
    const ulong first = get_global_id(0) * (ulong)(ITEM);
    const ulong last = min(first + (ulong)(ITEM), count);
    const float f = factor[0];
    for (ulong i = first; i < last; ++i) gradients[i] *= f;
}

// average[i] += (1 - decay) * (values[i] - average[i]). Global size: ceil(count / ITEM).
kernel void move_average(
    const ulong count, global const float *restrict values, global float *restrict average, const float share)
{
    const ulong first = get_global_id(0) * (ulong)(ITEM);
    const ulong last = min(first + (ulong)(ITEM), count);
    for (ulong i = first; i < last; ++i) average[i] = fma(share, values[i] - average[i], average[i]);
}

// Exchanges two buffers. Global size: ceil(count / ITEM).
kernel void exchange_values(const ulong count, global float *restrict a, global float *restrict b)
{
    const ulong first = get_global_id(0) * (ulong)(ITEM);
    const ulong last = min(first + (ulong)(ITEM), count);
    for (ulong i = first; i < last; ++i) {
        const float x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
}
