// RC, loss and gradient in one launch: terms ce, kd, rc on x = the logits or, if asked for, the standardised logits (ce always
// on the logits).
//   kd = T^2 KL(softmax(x_t / T) || softmax(x_s / T));
//   rc = T^2 KL(softmax(u / T) || softmax(x_s / T)), u = x_s held constant but for u_y = x_s,y + max x_s. The other classes keep
//   their proportions, so rc is the divergence of two pairs {q, 1 - q} and {p, 1 - p} whose odds differ by exp(max x_s / T).
//   gradient = gradient_scale * [weight_ce * (softmax(s) - onehot(y)) + d x_s / d s (weight_kd * T (s~ - t~) + weight_rc * T
//   (p - q) {1 at y, -r_i elsewhere})], r = softmax(x_s / T) over the classes other than y.
// student, teacher, gradient: [rows, classes]; labels, row_status: [rows]; term_rows: [3, rows]. All outputs are overwritten.
#define LOSS_SET SET_ALL
#define LOSS_PAIR PAIR_LIFTED
#define LOSS_TERM_SET 1
#define LOSS_TERM_PAIR 2
#include "common/logit_loss.clh"

__kernel WORK_GROUP(LOCAL_SIZE) void review_correction_rows_fused(LOSS_ARGUMENTS)
{
    LOSS_BODY
}
