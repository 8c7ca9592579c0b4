// LA, loss and gradient in one launch: one term kd = T^2 KL(softmax(x_u / T) || softmax(x_s / T)), u = the teacher's logits with
// the label's and the first largest exchanged, x = the logits or, if asked for, the standardised logits.
//   gradient = gradient_scale * weight_kd * T * d x_s / d s (s~ - u~).
// The exchange moves no logit out of the row, so maximum, mean and deviation are those of the teacher's row as it is.
// student, teacher, gradient: [rows, classes]; labels, row_status: [rows]; term_rows: [1, rows]. All outputs are overwritten.
#define LOSS_CE 0
#define LOSS_SET SET_ALL
#define LOSS_SWAP 1
#define LOSS_TERM_SET 0
#include "common/logit_loss.clh"

__kernel WORK_GROUP(LOCAL_SIZE) void label_augment_rows_fused(LOSS_ARGUMENTS)
{
    LOSS_BODY
}
