// RLD's mask A = {i : t_i < t_y}: 1 where a class is kept, 0 at the label, at ties with it and at what the teacher ranks above it.
// It depends on the teacher alone, so nothing goes back through it.
#include "common/loss_row.clh"

// teacher, mask: [rows, classes]; labels, counts: [rows]. counts[row] = classes kept. A row whose label is outside 0..<classes
// keeps none.
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void rld_mask_rows_forward(
    const uint classes,
    __global const float *restrict teacher, const ulong teacher_offset,
    __global const int *restrict labels, const ulong labels_offset,
    __global float *restrict mask, const ulong mask_offset,
    __global int *restrict counts, const ulong counts_offset, __local float4 *scratch)
{
    const row_float zero = ROW_SPLAT(0.0f);
    const uint row = (uint)get_group_id(0);
    const __global float *t = teacher + teacher_offset + (ulong)row * classes;
    __global float *kept = mask + mask_offset + (ulong)row * classes;
    const int label = labels[labels_offset + row];
    // Nothing lies below -infinity.
    const float bar = label >= 0 && (uint)label < classes ? t[label] : -INFINITY;
    row_float count = zero;
    ROW_LOOP(i, classes) {
        const row_float one = ROW_ONE(row_load_or(t, i, classes, INFINITY) < ROW_SPLAT(bar));
        count += one;
        row_store(kept, i, classes, one);
    }
    const float total = row_sum4(count, zero, zero, zero, scratch).x;
    if (get_local_id(0) == 0) {
        counts[counts_offset + row] = (int)total;
    }
}
