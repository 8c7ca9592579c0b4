"""RLD in PyTorch twice: as its formulas are written, and rewritten for speed without giving up digits.

CE + SCD + 8 MCD, means over the rows: SCD at temperature 1, MCD at temperature 4 over the classes that the teacher ranks below the
label (t < t_y), as `rld bench` times it.
"""

import torch
from torch.nn import functional as F

BETA, TEMPERATURE = 8, 4


def rewritten(student, teacher, labels):
    """The loss of step.py. No mask of booleans and no one-hot matrix: compiled for a CPU, storing one for the backward pass took two thirds of the time."""
    column = labels[:, None]
    # log p of the label and log (1 - p) from the difference of two logits: exact however close to 0 or 1 p is.
    rest = student.scatter(1, column, float("-inf")).logsumexp(1)
    margin = student.gather(1, column)[:, 0] - rest
    log_p, log_others = F.logsigmoid(margin), F.logsigmoid(-margin)
    q = teacher.softmax(1).amax(1)
    others = 1 - q
    scd = torch.xlogy(q, q) - q * log_p + torch.xlogy(others, others) - others * log_others

    # 0 for a class below the label, else so low that its probability is 0 and its gradient with it.
    masked = ((teacher.gather(1, column) - teacher).sign().clamp_min(0) - 1) * 1e9
    t = torch.add(masked, teacher, alpha=1 / TEMPERATURE).softmax(1)
    log_s = torch.add(masked, student, alpha=1 / TEMPERATURE).log_softmax(1)
    mcd = -(torch.special.entr(t).sum() + (t * log_s).sum()) / len(labels)
    return (scd - log_p).mean() + BETA * TEMPERATURE**2 * mcd


def as_written(student, teacher, labels):
    """Softmaxes, masks and divergences one after the other, in the logarithms; in float64 what both are checked with."""
    log_q, log_p = teacher.log_softmax(1), student.log_softmax(1)
    q, top = log_q.max(1)
    p = log_p.gather(1, labels[:, None])[:, 0]
    classes = torch.arange(student.shape[1], device=student.device)

    def rest(logs, left_out):
        return logs.masked_fill(classes == left_out[:, None], float("-inf")).logsumexp(1)

    q_rest, p_rest = rest(log_q, top), rest(log_p, labels)
    scd = (q.exp() * (q - p) + q_rest.exp() * (q_rest - p_rest)).mean()
    masked = teacher >= teacher.gather(1, labels[:, None])
    log_t, log_s = ((logits / TEMPERATURE).masked_fill(masked, -1e9).log_softmax(1) for logits in (teacher, student))
    mcd = F.kl_div(log_s, log_t, reduction="batchmean", log_target=True)
    return F.cross_entropy(student, labels) + scd + BETA * TEMPERATURE**2 * mcd


def check(loss, student, teacher, labels):
    """Ends the program if a loss or its gradient is not the formula's in float64, by 1e-5 of the largest."""
    found = student.detach().clone().requires_grad_()
    value = loss(found, teacher, labels)
    value.backward()
    exact = student.detach().double().requires_grad_()
    expected = as_written(exact, teacher.double(), labels)
    expected.backward()
    errors = [
        ((found.grad - exact.grad).abs().max() / exact.grad.abs().max()).item(), abs(value.item() / expected.item() - 1)]
    if not all(error <= 1e-5 for error in errors):
        raise SystemExit("rld_loss.py: gradient and loss are off by {:.1e} and {:.1e} of the largest; not timed".format(*errors))


def logits(rows, classes, device):
    """Student, teacher and labels of a benchmark: the same ones every time."""
    generator = torch.Generator().manual_seed(1)
    student, teacher = (4 * torch.randn(rows, classes, generator=generator) for _ in range(2))
    labels = torch.randint(classes, (rows,), generator=generator)
    return student.to(device), teacher.to(device), labels.to(device)
