"""Cross entropy on the GPU (cross_entropy.cu): log_softmax, then the losses. Targets that are no classes are not refused but give NaN (see there why)."""
from ..cuda import contiguous, empty, empty_like, launch
from ..cuda.block import BLOCK, teams
from ..cuda.memory import around, flat, ordered
from ..softmax.cuda import log_softmax
from .reference import check_shapes

SOURCE = "cross_entropy/cross_entropy.cu"


def forward(logits, target, weight, ignore_index, label_smoothing):
    """(losses of target's shape, log_probs of the logits' shape). weight (C,) or None. NaN where the target is neither a class nor ignore_index."""
    check_shapes(logits.shape, target, weight)
    log_probs = log_softmax(logits, 1)
    losses = empty(target.shape, logits.dtype)
    _launch("losses", (), log_probs, target, weight, ignore_index, label_smoothing, losses)
    return losses, log_probs


def backward(dlosses, log_probs, target, weight, ignore_index, label_smoothing):
    """dlogits (N, C, ...) from dlosses of target's shape."""
    log_probs = ordered(log_probs)
    dlogits = empty_like(log_probs)
    _launch("gradient", (contiguous(dlosses),), log_probs, target, weight, ignore_index, label_smoothing, flat(dlogits))
    return dlogits


def _launch(kernel, first, log_probs, target, weight, ignore_index, label_smoothing, result):
    before, C, after = around(log_probs, 1)
    size, blocks, *_ = teams(before * after, C, after == 1)
    launch(SOURCE, kernel, blocks, BLOCK, *first, flat(log_probs), contiguous(target), weight if weight is None else contiguous(weight), ignore_index,
           1 - label_smoothing, label_smoothing / max(1, C), result, before * after, C, after, size, real=log_probs.dtype)
