// KL(q || p) of rows of log-probabilities, as softmax.cl writes them. Excluded classes (-infinity) are taken by limits:
// 0 log 0 = 0, and infinite where p = 0 < q.
#include "common/loss_row.clh"

// divergence[row] = factor * sum_i [q_i (log q_i - log p_i) - q_i + p_i]. The last two sum to 0 over distributions; with them no
// summand is negative and the rounding of the normalisers cancels. log_p, log_q: [rows, classes].
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void kl_divergence_rows_forward(
    const uint classes,
    __global const float *restrict log_p, const ulong log_p_offset,
    __global const float *restrict log_q, const ulong log_q_offset,
    __global float *restrict divergence, const ulong divergence_offset,
    const float factor, __local float4 *scratch)
{
    const row_float zero = ROW_SPLAT(0.0f);
    const uint row = (uint)get_group_id(0);
    const __global float *lp = log_p + log_p_offset + (ulong)row * classes;
    const __global float *lq = log_q + log_q_offset + (ulong)row * classes;
    row_float sum = zero;
    ROW_LOOP(i, classes) {
        const row_float a = row_load(lp, i, classes);
        const row_float b = row_load(lq, i, classes);
        sum += divergence_lanes(row_exp(b), row_exp(a), b - a);
    }
    const float total = row_sum4(sum, zero, zero, zero, scratch).x;
    if (get_local_id(0) == 0) {
        divergence[divergence_offset + row] = factor * total;
    }
}

// d_log_p (+)= -factor * upstream[row] * q. The target q gets no gradient.
__kernel __attribute__((reqd_work_group_size(LOCAL_SIZE, 1, 1))) void kl_divergence_rows_backward(
    const uint classes,
    __global const float *restrict log_q, const ulong log_q_offset,
    __global const float *restrict upstream, const ulong upstream_offset,
    __global float *restrict d_log_p, const ulong d_log_p_offset,
    const float factor, const uint accumulate)
{
    const uint row = (uint)get_group_id(0);
    const __global float *lq = log_q + log_q_offset + (ulong)row * classes;
    __global float *d = d_log_p + d_log_p_offset + (ulong)row * classes;
    const float scale = -factor * upstream[upstream_offset + row];
    ROW_LOOP(i, classes) {
        const row_float gradient = row_exp(row_load(lq, i, classes)) * scale;
        row_store(d, i, classes, accumulate ? row_load_or(d, i, classes, 0.0f) + gradient : gradient);
    }
}
