// Turns the cross-entropy with a label into the one with a soft target, after a loss kernel: the target of row r is
// t = (1 - smoothing) (share e_a + (1 - share) e_b) + smoothing / classes, a the row's label, b that of the row that it was
// mixed with, rows - 1 - r. As -log p_i = log-sum-exp - z_i, only linear terms change:
// term += z_a - t . z; d term / d z += e_a - t.
// Global size: rows.
kernel void soft_targets(
    const uint rows, const uint classes, global const float *restrict student, const ulong student_offset,
    global const int *restrict labels, const ulong labels_offset, global float *restrict gradient,
    const ulong gradient_offset, global float *restrict terms, const ulong terms_offset, const float smoothing,
    const float share, const float gradient_scale)
{
    const uint row = get_global_id(0);
    const ulong start = (ulong)row * classes;
    global const float *z = student + student_offset + start;
    global float *d = gradient + gradient_offset + start;
    const uint a = (uint)labels[labels_offset + row];
    const uint b = (uint)labels[labels_offset + rows - 1 - row];
    const int usable = a < classes && b < classes;
    const float uniform = usable ? smoothing / (float)classes : 0.0f;
    const float own = (1.0f - smoothing) * share;
    const float other = (1.0f - smoothing) * (1.0f - share);
    float mean = 0.0f;
    for (uint i = 0; i < classes; ++i) {
        mean += uniform * z[i];
        d[i] -= gradient_scale * uniform;
    }
    if (usable) {
        d[a] += gradient_scale * (1.0f - own);
        d[b] -= gradient_scale * other;
        terms[terms_offset + row] += (1.0f - own) * z[a] - other * z[b] - mean;
    }
}
