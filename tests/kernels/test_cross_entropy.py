"""Cross entropy: both implementations against PyTorch with every option, and targets that are no classes."""
import numpy as np
import pytest
from cuda_device import CUDA, kernels_of
from kernel_checks import DTYPES, IMPLEMENTATIONS, assert_gradient, assert_same_bits_on_any_number_of_threads, in_poisoned_memory, layouts, stored
from tolerance import close

from tinycnn.kernels import backend

#   logits (N, C, ...), weighted, ignore_index, label_smoothing
CASES = {
    "plain": ((6, 4), False, -100, 0.0),
    "weights": ((6, 4), True, -100, 0.0),
    "a class ignored": ((7, 3), False, 1, 0.0),
    "targets ignored": ((7, 3), True, -100, 0.0),
    "smoothed": ((6, 5), False, -100, 0.1),
    "smoothed, weights, targets ignored": ((7, 5), True, -1, 0.3),
    "smoothed entirely": ((4, 3), True, -100, 1.0),
    "images": ((2, 4, 3, 2), True, -100, 0.2),
    "more rows than a tile": ((21, 3), True, 2, 0.1),
    "one class": ((3, 1), False, -100, 0.1),
}


def draw(case, dtype=np.float64):
    """logits, target, weight, dlosses"""
    shape, weighted, ignore_index, _ = CASES[case]
    rng, (N, C, *places) = np.random.default_rng(0), shape
    logits = (3 * rng.standard_normal(shape)).astype(dtype)
    target = rng.integers(0, C, (N, *places))
    if "ignored" in case:
        target[rng.random(target.shape) < 0.3] = ignore_index
    weight = rng.uniform(0.5, 2, C).astype(dtype) if weighted else None
    return logits, target, weight, rng.standard_normal(target.shape).astype(dtype)


def both(kernels, case, dtype=np.float64):
    """(losses, dlogits)"""
    logits, target, weight, dlosses = draw(case, dtype)
    losses, log_probs = kernels.forward(logits, target, weight, *CASES[case][2:])
    return losses, kernels.backward(dlosses, log_probs, target, weight, *CASES[case][2:])


def pytorch(torch, case):
    """PyTorch's answers, by name."""
    logits, target, weight, dlosses = (None if array is None else torch.tensor(array) for array in draw(case))
    _, _, ignore_index, smoothing = CASES[case]
    losses = torch.nn.functional.cross_entropy(logits.requires_grad_(), target, weight, reduction="none", ignore_index=ignore_index, label_smoothing=smoothing)
    return {"losses": losses.detach().numpy(), "dlogits": torch.autograd.grad(losses, logits, dlosses)[0].numpy()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("case", CASES)
def test_pytorch_vectors(case, implementation, dtype):
    """Kills: the weight of another class; smoothing without weights or with the target's; ignored targets that still smooth; a gradient that forgets any of them."""
    kernels = kernels_of(implementation).cross_entropy
    for name, answer in zip(("losses", "dlogits"), in_poisoned_memory(lambda: both(kernels, case, dtype))):
        assert answer.dtype == dtype
        close(answer, stored("cross_entropy", case)[name], CASES[case][0][1])


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_live_pytorch(case):
    """The stored vectors are not stale, in values or in the cases they cover."""
    import torch
    for name, answer in pytorch(torch, case).items():
        close(stored("cross_entropy", case)[name], answer, CASES[case][0][1])


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("case", ["plain", "smoothed, weights, targets ignored", "images"])
def test_the_gradient(case, implementation):
    """Against differences. Kills: a gradient that agrees with the forward's mistake."""
    kernels = kernels_of(implementation).cross_entropy
    logits, target, weight, dlosses = draw(case)
    assert_gradient(both(kernels, case)[1], lambda logits: kernels.forward(logits, target, weight, *CASES[case][2:])[0], logits, dlosses)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_log_probs_are_those_of_log_softmax(implementation):
    """In the shape of the logits. Kills: rows handed out for (N, C, ...)."""
    logits, target, weight, _ = draw("images")
    _, log_probs = kernels_of(implementation).cross_entropy.forward(logits, target, weight, -100, 0.0)
    close(log_probs, backend("reference").softmax.log_softmax(logits, 1), 4)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_numbers_a_person_can_check(implementation):
    """Two classes of equal probability cost log 2, and the gradient is probability minus one-hot. Kills: a base other than e, a sign."""
    kernels = kernels_of(implementation).cross_entropy
    losses, log_probs = kernels.forward(np.zeros((1, 2)), np.array([1]), None, -100, 0.0)
    close(losses, np.log([2.0]))
    close(kernels.backward(np.ones(1), log_probs, np.array([1]), None, -100, 0.0), np.array([[0.5, -0.5]]))


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_impossible_classes(implementation):
    """A logit of -inf: the class costs infinity where it is the target, nothing where it is not or where its weight is 0. Kills: 0 * inf, which is NaN."""
    kernels = kernels_of(implementation).cross_entropy
    logits, without = np.array([[0.0, -np.inf, 0.0]]), [1.0, 0, 1]
    for target, weight, smoothing, expected in ((0, None, 0.0, np.log(2)), (1, None, 0.0, np.inf), (0, None, 0.1, np.inf), (0, without, 0.3, np.log(2) * 0.9)):
        losses, log_probs = kernels.forward(logits, np.array([target]), None if weight is None else np.array(weight), -100, smoothing)
        close(losses, np.array([expected])) if np.isfinite(expected) else np.testing.assert_array_equal(losses, [expected])
        assert np.isfinite(kernels.backward(np.ones(1), log_probs, np.array([target]), None, -100, smoothing)).all()


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
def test_targets_that_are_no_classes(implementation):
    """The message names the value, its place and the range. Kills: reading another row's logit; -1 taken for the last class; ignore_index refused."""
    forward = kernels_of(implementation).cross_entropy.forward
    logits = np.zeros((2, 3, 2))
    for value in (3, -1, -100):
        target = np.array([[0, 1], [2, value]])
        if implementation == "cuda":  # nobody waits for a kernel: the loss is NaN
            np.testing.assert_array_equal(np.isnan(forward(logits, target, None, 7, 0.1)[0]), [[False, False], [False, True]])
            continue
        with pytest.raises(IndexError, match=rf"target\[1, 1\] is {value}; 3 classes are numbered 0 to 2 \(ignore_index is 7\)"):
            forward(logits, target, None, 7, 0.0)
    assert forward(logits, np.array([[0, 7], [7, 2]]), None, 7, 0.0)[0][0, 1] == 0
    with pytest.raises(ValueError, match=r"target has shape \(2,\); logits of \(2, 3, 2\) .* want \(2, 2\)"):
        forward(logits, np.array([0, 1]), None, -100, 0.0)
    with pytest.raises(ValueError, match=r"weight has shape \(2,\); 3 classes want \(3,\)"):
        forward(logits, np.zeros((2, 2), int), np.ones(2), -100, 0.0)


def test_any_layout():
    """Kills: strides taken for those of a C-contiguous array."""
    kernels = backend("cpu").cross_entropy
    logits, target, weight, dlosses = draw("images")
    losses, log_probs = kernels.forward(logits, target, weight, -100, 0.2)
    dlogits = kernels.backward(dlosses, log_probs, target, weight, -100, 0.2)
    for X, T, W, L, D in zip(layouts(logits), layouts(target), [np.repeat(weight, 2)[::2]] * 4, layouts(log_probs), layouts(dlosses)):
        np.testing.assert_array_equal(kernels.forward(X, T, W, -100, 0.2)[0], losses)
        np.testing.assert_array_equal(kernels.backward(D, L, T, W, -100, 0.2), dlogits)


def test_the_same_bits_on_any_number_of_threads():
    """Kills: tiles cut by the number of threads."""
    kernels = backend("cpu").cross_entropy
    assert_same_bits_on_any_number_of_threads(lambda: both(kernels, "more rows than a tile", np.float32))


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, CUDA])
@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 2), (2, 3, 0)])
def test_empty_batches(shape, implementation):
    """Kills: a reshape to -1, the minimum of no targets."""
    kernels, target = kernels_of(implementation).cross_entropy, np.zeros((shape[0], *shape[2:]), np.int64)
    losses, log_probs = kernels.forward(np.zeros(shape), target, None, -100, 0.1)
    assert losses.shape == target.shape and log_probs.shape == kernels.backward(losses, log_probs, target, None, -100, 0.1).shape == shape
