// Cross-entropy of student logits with labels, loss and gradient in one launch.
//   term[row] = logsumexp(s) - s_y;  gradient = gradient_scale * weight * (softmax(s) - onehot(y)).
// student, gradient: [rows, classes]; labels, row_status: [rows]; term_rows: [1, rows]. All outputs are overwritten.
#define LOSS_TEACHER 0
#include "common/logit_loss.clh"

__kernel WORK_GROUP(LOCAL_SIZE) void cross_entropy_rows_fused(LOSS_ARGUMENTS)
{
    LOSS_BODY
}
