"""Differentiable losses.

Cross-entropy of scores x (N, C, *) with a target distribution q over the C classes is -sum_c q_c log p_c, p = softmax(x), and its gradient p * sum(q) - q. For a
class number t, q is 1 at t; label smoothing e mixes it with the uniform distribution, (1 - e) at t plus e/C everywhere; class weights multiply q_c by w_c.
"""
from ..autograd import Function, is_grad_enabled, no_grad
from ..tensor import Tensor, arange, int64
from .arithmetic import where
from .softmax import log_softmax, softmax


class CrossEntropy(Function):
    """Losses (N, *) of scores x (N, C, *) and class numbers (N, *)."""

    def forward(ctx, x, target, weight, ignore_index, label_smoothing):
        ctx.options = ignore_index, label_smoothing
        losses, log_probs = ctx.kernels.cross_entropy.forward(x.array, target.array, None if weight is None else weight.array, *ctx.options)
        ctx.save_for_backward(x, target, weight, Tensor(log_probs, x.device))
        return losses

    def backward(ctx, dlosses):
        x, target, weight, log_probs = ctx.saved_tensors
        if is_grad_enabled():
            q = target_distribution(x, target, weight, *ctx.options)
            dlosses = where(target != ctx.options[0], dlosses, 0.0)  # where all are ignored, their mean sends NaN
            dx = dlosses.unsqueeze(1) * (softmax(x, 1) * q.sum(1, keepdim=True) - q)
        else:
            weights = None if weight is None else weight.array
            dx = Tensor(ctx.kernels.cross_entropy.backward(dlosses.array, log_probs.array, target.array, weights, *ctx.options), x.device)
        return dx, None, None, None, None


def target_distribution(x, target, weight, ignore_index, label_smoothing):
    """q (N, C, *): what the class numbers mean, with smoothing and class weights; 0 for ignored targets."""
    C = x.shape[1]
    classes = arange(C, device=x.device).reshape(-1, *(1,) * (x.ndim - 2))
    with no_grad():
        q = (classes == target.unsqueeze(1)).to(x.dtype) * (1 - label_smoothing) + label_smoothing / C
        q = q if weight is None else q * weight.reshape(classes.shape)
        return where((target != ignore_index).unsqueeze(1), q, 0.0)


def cross_entropy(input, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """-log softmax(input)[target], for scores (N, C, *) and class numbers (N, *); or, for probabilities of the scores' shape, -sum of target * log softmax(input).

    weight: a factor per class. Targets equal to ignore_index count nothing. label_smoothing: the share of the target that is spread evenly over all classes.
    reduction: "mean" (weighted by the targets' weights; ignored ones do not count), "sum", or "none" for one loss per target.
    """
    _check_reduction("cross_entropy", reduction)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is {label_smoothing}; it must be between 0 and 1")
    _check_scores("cross_entropy", input, target, weight)
    if target.is_floating:
        return _cross_entropy_of_probabilities(input, target, weight, reduction, label_smoothing)
    x, target, restore = _batched("cross_entropy", input, target, ignore_index)
    losses = CrossEntropy.apply(x, target, weight, int(ignore_index), float(label_smoothing))
    return restore(_reduced(losses, target, weight, ignore_index, reduction))


def _cross_entropy_of_probabilities(x, target, weight, reduction, label_smoothing):
    if target.shape != x.shape or target.dtype != x.dtype:
        raise ValueError(f"cross_entropy: floating-point targets are probabilities and must be like the scores, {x.shape} {x.dtype}; they are {target.shape} "
                         f"{target.dtype} (class numbers are integers)")
    axis = 0 if x.ndim == 1 else 1
    C = x.shape[axis]
    q = target * (1 - label_smoothing) + label_smoothing / C
    if weight is not None:
        q = q * weight.reshape(-1, *(1,) * max(x.ndim - 2, 0))
    losses = -(q * log_softmax(x, axis)).sum(axis)
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.mean()


def nll_loss(input, target, weight=None, *, ignore_index=-100, reduction="mean"):
    """-input[target], for log-probabilities (N, C, *) and class numbers (N, *); options as for cross_entropy."""
    _check_reduction("nll_loss", reduction)
    _check_scores("nll_loss", input, target, weight)
    x, target, restore = _batched("nll_loss", input, target, ignore_index)
    counted = target != ignore_index
    classes = where(counted, where(target < 0, x.shape[1], target), 0)  # a wrong one that was not refused shall not count from the end
    losses = -x.gather(1, classes.unsqueeze(1)).squeeze(1)
    losses = losses if weight is None else losses * weight[classes]
    return restore(_reduced(where(counted, losses, 0.0), target, weight, ignore_index, reduction))


def mse_loss(input, target, *, reduction="mean"):
    """(input - target)^2"""
    _check_reduction("mse_loss", reduction)
    if input.shape != target.shape:
        raise ValueError(f"mse_loss: the input is {input.shape} and the target {target.shape}; they must have the same shape (broadcasting here is mostly a mistake)")
    losses = (input - target) ** 2
    return losses if reduction == "none" else losses.sum() if reduction == "sum" else losses.mean()


def _reduced(losses, target, weight, ignore_index, reduction):
    """The losses as they are, their sum, or that sum over the sum of the targets' weights (NaN where all are ignored)."""
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    with no_grad():
        counted = target != ignore_index
        weights = counted if weight is None else where(counted, weight[where(counted, target, 0)], 0.0)
        total = weights.sum().to(losses.dtype)  # stays on the device
        share = 1 / where(total != 0, total, float("nan"))
    return losses.sum() * share


def _check_reduction(name, reduction):
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction is {reduction!r}; it can be 'mean', 'sum' or 'none'")


def _check_scores(name, x, target, weight):
    if not isinstance(x, Tensor) or not x.is_floating or x.ndim == 0:
        raise TypeError(f"{name}: expected floating-point scores (N, C, *), got {f'{x.dtype} {x.shape}' if isinstance(x, Tensor) else type(x).__name__}")
    if not isinstance(target, Tensor):
        raise TypeError(f"{name}: the target must be a tensor, got {type(target).__name__}; tinycnn.tensor(...) makes one")
    C = x.shape[0 if x.ndim == 1 else 1]
    if weight is not None and (weight.shape != (C,) or weight.dtype != x.dtype):
        raise ValueError(f"{name}: weight is {weight.dtype} {weight.shape}; for scores {x.dtype} of {C} classes it must be {x.dtype} ({C},)")
    if weight is not None and weight.requires_grad:
        raise ValueError(f"{name}: weight requires grad, but no gradient is computed for it; pass weight.detach()")


def _batched(name, x, target, ignore_index):
    """(x (N, C, *), target (N, *) int64, what undoes the batch dimension that a single sample was given), with every class number checked, unless
    the device queues its kernels: there a wrong one makes the loss NaN."""
    if target.dtype.kind not in "iu":
        raise TypeError(f"{name}: class numbers must be integers, the target is {target.dtype}")
    single = x.ndim == 1
    x, target = (x.unsqueeze(0), target.unsqueeze(0)) if single else (x, target)
    target = target if target.dtype == int64 else target.to(int64)
    if target.shape != x.shape[:1] + x.shape[2:]:
        raise ValueError(f"{name}: scores of shape {x.shape} need class numbers of shape {x.shape[:1] + x.shape[2:]}, the target is {target.shape}")
    C = x.shape[1]
    wrong = None if x.device.queues else ((target < 0) | (target >= C)) & (target != ignore_index)  # where kernels are queued, nobody waits: the loss will be NaN
    if wrong is not None and wrong.any():
        raise ValueError(f"{name}: the target holds class number {target[wrong][0].item()}, but the scores {x.shape} are of {C} classes: "
                         f"0 to {C - 1} (or ignore_index={ignore_index})")
    return x, target, (lambda loss: loss.reshape(()) if single else loss)
