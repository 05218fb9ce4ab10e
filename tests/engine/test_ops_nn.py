"""Every operation of networks: right against PyTorch, stored and live, in value and in first and second derivatives. (Finite differences: test_gradients.py.)"""
from pathlib import Path

import numpy as np
import pytest
from nn_cases import CASES, derivatives, inputs, names, split
from tolerance import close

import tinycnn
from tinycnn.autograd import gradcheck, gradgradcheck
from tinycnn.nn import functional as F

VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "nn_ops.npz")
TERMS = 128  # at most so many products stand behind an element of a second derivative here


def leaf(array):
    return tinycnn.tensor(array, requires_grad=True)


def numbers(*shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives_are_those_of_pytorch(case):
    """Against vectors that PyTorch computed. Kills: overlapping windows that overwrite; zero padding in max pooling; padding counted, or the divisor wrong, in average
    pooling; the LRN window mirrored or its alpha undivided; a variance divided by n - 1; a mean over ignored targets; smoothing without the class weights."""
    mine = derivatives(tinycnn, case, leaf)
    for one, expected in zip(mine, split(VECTORS[case], mine)):
        close(one, expected, length=TERMS)


@pytest.mark.torch
@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives_are_those_of_live_pytorch(case):
    """The stored vectors are not stale."""
    import torch
    expected = derivatives(torch, case, lambda array: torch.tensor(array, requires_grad=True))
    for mine, theirs in zip(derivatives(tinycnn, case, leaf), expected):
        close(mine, theirs, length=TERMS)


LINEAR = {
    "max_pool2d": lambda x: F.max_pool2d(x, 2, 1),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, 2),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 2),
    "relu": F.relu,
    "unfold": lambda x: F.unfold(x, 2),
    "fold": lambda x: F.fold(x.reshape(1, 4, 3), (2, 4), 2),
    "pad": lambda x: F.pad(x, (1, -1)),
}


@pytest.mark.parametrize("case", LINEAR)
def test_third_derivatives_of_what_is_linear(case):
    """The adjoints are operations too, and so are theirs. Kills: an adjoint whose own backward computes on arrays, which no second derivative notices."""
    def second_derivative(x):
        dx, = tinycnn.autograd.grad((LINEAR[case](x ** 3) ** 2).sum(), x, create_graph=True)
        return tinycnn.autograd.grad((dx ** 2).sum(), x, create_graph=True)
    x = leaf(numbers(1, 1, 3, 4))
    assert gradcheck(second_derivative, x)


@pytest.mark.parametrize("case", CASES)
def test_fused_and_composed_backwards_agree(case):
    """The gradient is the same whether or not the backward is recorded. Kills: a fused kernel and its composed formula that differ in an option."""
    tensors = [leaf(array) for array in inputs(case)]
    y = CASES[case][0](tinycnn, *tensors)
    dy = tinycnn.tensor(numbers(*y.shape))
    fused = tinycnn.autograd.grad(y, tensors, dy, retain_graph=True)
    composed = tinycnn.autograd.grad(y, tensors, dy, create_graph=True)
    for one, other in zip(fused, composed):
        assert not one.requires_grad and one.shape == other.shape
        close(one.numpy(), other.detach().numpy(), length=TERMS)


@pytest.mark.parametrize("case", CASES)
def test_float32_stays_float32(case):
    """Kills: a NumPy float64 scalar in a formula; a mask that promotes."""
    for name, mine in zip(names(case), derivatives(tinycnn, case, leaf, np.float32)):
        assert mine.dtype == np.float32, name


LAYOUTS = {
    "transposed": lambda a: a.T.copy().T,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a,
    "channels last": lambda a: np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1) if a.ndim > 1 else a,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES)
def test_memory_order_does_not_matter(case, layout):
    """The same numbers under other strides. Kills: a kernel or a view that assumes C order."""
    def make(array):
        return tinycnn.from_numpy(LAYOUTS[layout](array)).requires_grad_()
    for name, mine, expected in zip(names(case), derivatives(tinycnn, case, make), derivatives(tinycnn, case, leaf)):
        np.testing.assert_allclose(mine, expected, rtol=1e-9, atol=1e-12, err_msg=name)


# ---- pooling

def test_the_first_of_equal_maxima_wins():
    """As in PyTorch. Kills: >= for > in the search; NaN that is passed over."""
    x = tinycnn.tensor(np.array([[2.0, 2.0, 0.0], [2.0, 1.0, 0.0]]).reshape(1, 1, 2, 3), requires_grad=True)
    y, indices = F.max_pool2d(x, 2, 1, return_indices=True)
    np.testing.assert_array_equal(indices.numpy(), [[[[0, 1]]]])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[[[1, 1, 0], [0, 0, 0]]]])
    assert indices.dtype == tinycnn.int64 and not indices.requires_grad
    assert np.isnan(F.max_pool2d(tinycnn.tensor([[[[1.0, float("nan")]]]]), (1, 2)).item())


def test_indices_point_at_the_winners():
    """Kills: indices within the window or the padded image instead of the image."""
    x = tinycnn.tensor(numbers(2, 3, 7, 5))
    for y, indices in (F.max_pool2d(x, 3, 2, 1, return_indices=True), F.adaptive_max_pool2d(x, (3, 2), return_indices=True)):
        np.testing.assert_array_equal(x.flatten(2).gather(2, indices.flatten(2)).numpy(), y.flatten(2).numpy())


# ---- normalisation

def test_the_conventions_of_lrn():
    """One element checked by hand, and alpha of the paper = size * alpha of PyTorch. Kills: a convention that is ignored."""
    x = tinycnn.tensor(numbers(1, 6, 2, 2))
    paper = F.local_response_norm(x, 5, 0.5, 0.75, 2.0, alpha_convention="paper")
    a = x.numpy()
    close(paper.numpy()[0, 1, 0, 1], a[0, 1, 0, 1] / (2 + 0.5 * (a[0, :4, 0, 1] ** 2).sum()) ** 0.75, length=4)
    close(paper.numpy(), F.local_response_norm(x, 5, 2.5, 0.75, 2.0).numpy(), length=5)


@pytest.mark.parametrize("order", [lambda x: x, lambda x: x.contiguous(tinycnn.channels_last)])
def test_a_rectifier_in_place_may_follow(order):
    """What LRN and BatchNorm (fused or not) keep for the backward is not their result, as in PyTorch. Kills: a result that is kept, or read after it was changed."""
    def network(x, norm, inplace):
        return F.relu(norm(order(x)), inplace)
    for norm in (lambda x: F.local_response_norm(x, 3, 0.5), lambda x: F.batch_norm(x, None, None, training=True),
                 lambda x: tinycnn.ops.norm.batch_norm_relu(x, None, None, training=True)):
        gradients = []
        for inplace in (False, True):
            x = leaf(numbers(2, 5, 4, 3))
            network(x, norm, inplace).square().sum().backward()
            gradients.append(x.grad.numpy())
        np.testing.assert_array_equal(*gradients)


def test_running_statistics_follow_the_batches():
    """mean by momentum, variance unbiased, in place. Kills: a biased running variance; momentum of the old; statistics that are replaced, not changed."""
    x = numbers(4, 2, 3, 1) * 2 + 1
    mean, var = tinycnn.tensor(np.zeros(2)), tinycnn.tensor(np.ones(2))
    before = mean.array, var.array
    F.batch_norm(tinycnn.tensor(x), mean, var, training=True, momentum=0.3)
    close(mean.numpy(), 0.3 * x.mean((0, 2, 3)), length=12)
    close(var.numpy(), 0.7 + 0.3 * x.var((0, 2, 3), ddof=1), length=12)
    assert mean.array is before[0] and var.array is before[1]


def test_one_value_per_channel_has_no_variance():
    """Kills: NaN in the running variance, found an epoch later."""
    with pytest.raises(ValueError, match="one value per channel"):
        F.batch_norm(tinycnn.ones(1, 3, 1, 1), None, None, training=True)


# ---- dropout

def test_dropout_drops_and_scales():
    """Kills: a mask without the scale; p and 1 - p exchanged; the same mask at each call; noise in evaluation; another mask in the backward."""
    tinycnn.manual_seed(7)
    x = tinycnn.ones(100, 100, requires_grad=True)
    y = F.dropout(x, 0.3)
    kept = y.detach().numpy() != 0
    assert abs(kept.mean() - 0.7) < 5 * (0.3 * 0.7 / 1e4) ** 0.5
    np.testing.assert_array_equal(y.detach().numpy()[kept], np.float32(1 / 0.7))
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())
    assert (F.dropout(x, 0.3).detach().numpy() != y.detach().numpy()).any()
    assert F.dropout(x, 0.3, training=False) is x and F.dropout(x, 0.0) is x
    assert (F.dropout(x, 1.0).detach().numpy() == 0).all()
    tinycnn.manual_seed(7)
    np.testing.assert_array_equal(F.dropout(x, 0.3).detach().numpy(), y.detach().numpy())


def test_dropout_has_right_derivatives():
    """With the seed set anew in each evaluation the mask stays. Kills: a backward that draws a fresh mask."""
    def function(x, drop):
        tinycnn.manual_seed(3)
        return drop(x * x, 0.4)
    x = leaf(numbers(2, 3, 2, 2))
    for drop in (F.dropout, F.dropout2d):
        assert gradcheck(lambda x, drop=drop: function(x, drop), x)
        assert gradgradcheck(lambda x, drop=drop: function(x, drop), x)


def test_dropout2d_drops_whole_channels():
    """Kills: one draw for each pixel, or for each channel of all images together."""
    tinycnn.manual_seed(1)
    y = F.dropout2d(tinycnn.ones(40, 50, 2, 3), 0.5).numpy()
    channels = y.reshape(40, 50, 6)
    assert ((channels == 0).all(2) | (channels == 2).all(2)).all()
    assert 0.4 < (channels[:, :, 0] == 0).mean() < 0.6
    assert (channels[0, :, 0] != channels[1, :, 0]).any()


def test_in_place_forms_write_into_their_input():
    """Kills: inplace=True that computes elsewhere; a leaf or a value that the backward needs overwritten without a word."""
    for operation in (lambda x: F.relu(x, inplace=True), F.relu_, lambda x: F.dropout(x, 0.5, inplace=True),
                      lambda x: F.dropout2d(x, 0.5, inplace=True)):
        x = tinycnn.tensor(numbers(3, 4, 2, 2)) * 1
        y = operation(x)
        assert y is x and (x.numpy() == 0).any()
        w = leaf(numbers(3, 4, 2, 2))
        with pytest.raises(RuntimeError, match="leaf"):
            operation(w)
        square = (w * 1)
        y = (square * square).sum()
        operation(square)
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()


def test_relu_passes_nan_and_stops_at_zero():
    """As in PyTorch: the gradient at exactly 0 is 0. Kills: y >= 0 for y > 0 in the backward; NaN turned into 0."""
    x = tinycnn.tensor([-1.0, 0.0, 2.0, float("nan")], requires_grad=True)
    y = F.relu(x)
    np.testing.assert_array_equal(y.detach().numpy(), [0, 0, 2, np.nan])
    y[:3].sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 0, 1, 0])


# ---- losses

def test_large_scores_do_not_overflow():
    """Kills: softmax without the maximum subtracted; the logarithm of a softmax that is 0."""
    x = tinycnn.tensor(np.array([[1e4, 0.0, -1e4]]), requires_grad=True)
    loss = F.cross_entropy(x, tinycnn.tensor([2]))
    assert loss.item() == 2e4
    loss.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[1, 0, -1]])
    np.testing.assert_array_equal(F.softmax(x, 1).detach().numpy(), [[1, 0, 0]])


def test_the_mean_over_no_targets_is_nan():
    """As in PyTorch, and without a warning. Kills: a division by zero that raises; a 0 that hides that nothing was learned."""
    x = tinycnn.tensor(numbers(2, 3))
    ignored = tinycnn.tensor([-100, -100])
    assert np.isnan(F.cross_entropy(x, ignored).item()) and np.isnan(F.nll_loss(x, ignored).item())
    assert F.cross_entropy(x, ignored, reduction="sum").item() == 0
    x.requires_grad_()
    for create_graph in (False, True):
        assert not tinycnn.autograd.grad(F.cross_entropy(x, ignored), x, create_graph=create_graph)[0].any()


def test_labels_of_any_integer_type():
    """Bytes, as the data files hold them. Kills: an unsigned label that wraps around at ignore_index=-100."""
    x = tinycnn.tensor(numbers(3, 4))
    expected = F.cross_entropy(x, tinycnn.tensor([3, 0, 1])).item()
    for dtype in (np.uint8, np.int32):
        assert F.cross_entropy(x, tinycnn.tensor(np.array([3, 0, 1], dtype))).item() == expected


# ---- empty batches and wrong input

EMPTY = {
    "max_pool2d": lambda x: F.max_pool2d(x, 3, 2, 1),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "adaptive_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 2),
    "adaptive_max_pool2d": lambda x: F.adaptive_max_pool2d(x, 2),
    "local_response_norm": lambda x: F.local_response_norm(x, 3),
    "batch_norm": lambda x: F.batch_norm(x, tinycnn.zeros(3).double(), tinycnn.ones(3).double(), training=True),
    "batch_norm, inference": lambda x: F.batch_norm(x, tinycnn.zeros(3).double(), tinycnn.ones(3).double()),
    "relu": F.relu,
    "dropout": lambda x: F.dropout(x, 0.5),
    "dropout2d": lambda x: F.dropout2d(x, 0.5),
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "unfold": lambda x: F.unfold(x, 2),
    "fold": lambda x: F.fold(x.reshape(0, 12, 12), (4, 5), 2),
    "pad": lambda x: F.pad(x, (1, 1)),
    "cross_entropy, sum": lambda x: F.cross_entropy(x, tinycnn.zeros(0, 4, 5, dtype=tinycnn.int64), reduction="sum"),
    "cross_entropy, none": lambda x: F.cross_entropy(x, tinycnn.zeros(0, 4, 5, dtype=tinycnn.int64), reduction="none"),
}


@pytest.mark.parametrize("case", EMPTY)
def test_empty_batches_work(case):
    """Forwards, backwards, and the backward of the backward. Kills: a division by N; a kernel that reads the first image."""
    x = leaf(np.zeros((0, 3, 4, 4 if case == "fold" else 5)))
    y = EMPTY[case](x)
    dx, = tinycnn.autograd.grad(y.sum() if y.ndim else y, x, create_graph=True)
    assert dx.shape == x.shape and (y.ndim == 0 or y.shape[0] == 0)
    if dx.requires_grad:
        dx.sum().backward()


def test_statistics_of_an_empty_batch_change_nothing():
    """Kills: NaN in the running statistics."""
    mean, var = tinycnn.zeros(3), tinycnn.ones(3)
    F.batch_norm(tinycnn.zeros(0, 3, 2, 2), mean, var, training=True)
    np.testing.assert_array_equal(mean.numpy(), 0)
    np.testing.assert_array_equal(var.numpy(), 1)


IMAGE, VECTOR, CLASSES = tinycnn.ones(2, 3, 5, 5), tinycnn.ones(3), tinycnn.tensor([0, 1])
WRONG = {
    "pool of a vector": (lambda: F.max_pool2d(VECTOR, 2), ValueError, r"max_pool2d: .*\(N, C, H, W\).*\(3,\)"),
    "pool of one image": (lambda: F.avg_pool2d(IMAGE[0], 2), ValueError, "unsqueeze"),
    "pool of integers": (lambda: F.max_pool2d(IMAGE.long(), 2), TypeError, "floating"),
    "pool of an array": (lambda: F.max_pool2d(IMAGE.numpy(), 2), TypeError, "tensor"),
    "window larger than the image": (lambda: F.max_pool2d(IMAGE, 6), ValueError, "window of 6 .* input of 5"),
    "too much padding": (lambda: F.max_pool2d(IMAGE, 3, 1, 2), ValueError, r"max_pool2d: padding \(2, 2\) is more than half"),
    "too much padding for the mean": (lambda: F.avg_pool2d(IMAGE, (3, 1), 1, (1, 1)), ValueError, r"avg_pool2d: padding \(1, 1\) is more than half"),
    "stride 0": (lambda: F.max_pool2d(IMAGE, 2, 0), ValueError, r"stride is \(0, 0\)"),
    "three strides": (lambda: F.max_pool2d(IMAGE, 2, (1, 2, 3)), ValueError, "stride must be"),
    "divisor 0": (lambda: F.avg_pool2d(IMAGE, 2, divisor_override=0), ValueError, "divisor_override is 0"),
    "adaptive to nothing": (lambda: F.adaptive_avg_pool2d(IMAGE, 0), ValueError, "at least 1"),
    "adaptive to three": (lambda: F.adaptive_max_pool2d(IMAGE, (1, 2, 3)), ValueError, "output_size"),
    "lrn of vectors": (lambda: F.local_response_norm(tinycnn.ones(2, 3), 5), ValueError, "at least 3"),
    "lrn over no channels": (lambda: F.local_response_norm(IMAGE, 0), ValueError, "size is 0"),
    "lrn convention": (lambda: F.local_response_norm(IMAGE, 5, alpha_convention="caffe"), ValueError, "'torch' .* 'paper'"),
    "batch norm weight": (lambda: F.batch_norm(IMAGE, None, None, tinycnn.ones(4), training=True), ValueError, r"weight has shape \(4,\).*\(3,\)"),
    "batch norm dtype": (lambda: F.batch_norm(IMAGE.double(), VECTOR, VECTOR), TypeError, "float64 but running_mean is float32"),
    "batch norm without statistics": (lambda: F.batch_norm(IMAGE, None, None), ValueError, "running_mean and running_var are needed"),
    "batch norm of a number": (lambda: F.batch_norm(VECTOR, VECTOR, VECTOR), ValueError, "at least 2 dimensions"),
    "dropout probability": (lambda: F.dropout(IMAGE, 1.5), ValueError, "p is 1.5"),
    "dropout2d of vectors": (lambda: F.dropout2d(tinycnn.ones(2, 3)), ValueError, "dropout2d: expected images"),
    "softmax without dim": (lambda: F.softmax(IMAGE), ValueError, "which dimension"),
    "softmax dim": (lambda: F.log_softmax(IMAGE, 4), IndexError, "dim is 4"),
    "label out of range": (lambda: F.cross_entropy(tinycnn.ones(2, 3), tinycnn.tensor([0, 3])), ValueError, "class number 3, but .* 3 classes: 0 to 2"),
    "negative label": (lambda: F.nll_loss(tinycnn.ones(2, 3), tinycnn.tensor([-1, 0])), ValueError, "class number -1"),
    "labels of another length": (lambda: F.cross_entropy(tinycnn.ones(3, 3), CLASSES), ValueError, r"shape \(3,\), the target is \(2,\)"),
    "probabilities of another shape": (lambda: F.cross_entropy(tinycnn.ones(2, 3), tinycnn.ones(2)), ValueError, "probabilities"),
    "labels in a list": (lambda: F.cross_entropy(tinycnn.ones(2, 3), [0, 1]), TypeError, "target must be a tensor, got list"),
    "labels in an array": (lambda: F.nll_loss(tinycnn.ones(2, 3), np.array([0, 1])), TypeError, "target must be a tensor, got ndarray"),
    "boolean labels": (lambda: F.cross_entropy(tinycnn.ones(2, 3), tinycnn.ones(2) > 0), TypeError, "must be integers"),
    "integer scores": (lambda: F.cross_entropy(tinycnn.ones(2, 3).long(), CLASSES), TypeError, "floating-point scores"),
    "class weights": (lambda: F.cross_entropy(tinycnn.ones(2, 3), CLASSES, tinycnn.ones(2)), ValueError, r"3 classes it must be float32 \(3,\)"),
    "class weights with a gradient": (lambda: F.nll_loss(tinycnn.ones(2, 3), CLASSES, tinycnn.ones(3, requires_grad=True)), ValueError, "detach"),
    "reduction": (lambda: F.mse_loss(VECTOR, VECTOR, reduction="average"), ValueError, "reduction is 'average'"),
    "smoothing": (lambda: F.cross_entropy(tinycnn.ones(2, 3), CLASSES, label_smoothing=2), ValueError, "label_smoothing is 2"),
    "mse shapes": (lambda: F.mse_loss(tinycnn.ones(3, 1), VECTOR), ValueError, "same shape"),
    "pad mode": (lambda: F.pad(IMAGE, (1, 1), mode="reflect"), ValueError, "'reflect'"),
    "unfold window": (lambda: F.unfold(IMAGE, 7), ValueError, "does not fit"),
    "fold elements": (lambda: F.fold(tinycnn.ones(1, 7, 4), (3, 3), 2), ValueError, "7 elements"),
    "fold windows": (lambda: F.fold(tinycnn.ones(1, 8, 5), (3, 3), 2), ValueError, "5 windows.* 2 x 2 = 4"),
    "fold dimensions": (lambda: F.fold(IMAGE, (3, 3), 2), ValueError, r"columns \(N, C\*R\*S, P\*Q\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_clear_error(case):
    """Which argument, what was seen, what would be right. Kills: an error of NumPy's from deep inside, or none."""
    function, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        function()
