// DKD, loss and gradient in one launch: terms ce, tckd, nckd on x = the logits or, if asked for, the standardised logits (ce
// always on the logits).
//   tckd = T^2 KL({q, 1 - q} || {p, 1 - p}), q = softmax(x_t / T)_y, p = softmax(x_s / T)_y;
//   nckd = T^2 KL(rt || r), rt and r = softmax(x_t / T) and softmax(x_s / T) over the classes other than y.
//   gradient = gradient_scale * [weight_ce * (softmax(s) - onehot(y)) + d x_s / d s (weight_tckd * T (p - q) {1 at y, -r_i
//   elsewhere} + weight_nckd * T (r_i - rt_i) off y)].
// student, teacher, gradient: [rows, classes]; labels, row_status: [rows]; term_rows: [3, rows]. All outputs are overwritten.
#define LOSS_SET SET_OTHERS
#define LOSS_PAIR PAIR_LABEL
#define LOSS_TERM_PAIR 1
#define LOSS_TERM_SET 2
#include "common/logit_loss.clh"

__kernel WORK_GROUP(LOCAL_SIZE) void dkd_rows_fused(LOSS_ARGUMENTS)
{
    LOSS_BODY
}
