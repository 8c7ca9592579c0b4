// KD, loss and gradient in one launch: terms ce and kd = T^2 KL(softmax(x_t / T) || softmax(x_s / T)), x = the logits or, if
// asked for, the standardised logits.
//   gradient = gradient_scale * [weight_ce * (softmax(s) - onehot(y)) + weight_kd * T * d x_s / d s (s~ - t~)].
// student, teacher, gradient: [rows, classes]; labels, row_status: [rows]; term_rows: [2, rows]. All outputs are overwritten.
#define LOSS_SET SET_ALL
#define LOSS_TERM_SET 1
#include "common/logit_loss.clh"

__kernel WORK_GROUP(LOCAL_SIZE) void knowledge_distillation_rows_fused(LOSS_ARGUMENTS)
{
    LOSS_BODY
}
