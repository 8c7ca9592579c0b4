// RLD, loss and gradient in one launch (Sun et al., arXiv 2408.07703, section 4): terms ce, scd, mcd on x = the logits or, if
// asked for, the standardised logits (ce always on the logits).
//   scd = a^2 KL({q, 1 - q} || {p, 1 - p}), q = max softmax(x_t / a), p = softmax(x_s / a)_y;
//   mcd = T^2 KL(softmax_A(x_t / T) || softmax_A(x_s / T)), A = {i : t_i < t_y}; 0 when A has fewer than two classes.
//   gradient = gradient_scale * [weight_ce * (softmax(s) - onehot(y)) + d x_s / d s (weight_scd * a (p - q) {1 at y, -r_i
//   elsewhere} + weight_mcd * T (s~_i - t~_i) on A)], r = softmax(x_s / a) over the classes other than y.
// student, teacher, gradient: [rows, classes]; labels, row_status: [rows]; term_rows: [3, rows]. All outputs are overwritten.
#define LOSS_SET SET_BELOW
#define LOSS_PAIR PAIR_TOP
#define LOSS_TERM_PAIR 1
#define LOSS_TERM_SET 2
#include "common/logit_loss.clh"

__kernel WORK_GROUP(LOCAL_SIZE) void rld_loss_rows_fused(LOSS_ARGUMENTS)
{
    LOSS_BODY
}
