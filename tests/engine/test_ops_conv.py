"""Convolution, transposed convolution and padding as operations: values and gradients of PyTorch, second derivatives, wrong input."""
import numpy as np
import pytest
from tolerance import close

import tinycnn
from tinycnn.autograd import grad, gradcheck, gradgradcheck
from tinycnn.checker.cases.convolutions import CONV, TRANSPOSED
from tinycnn.ops.conv import conv2d, conv_transpose2d
from tinycnn.ops.pad import pad

FUNCTIONS = [(conv2d, "conv2d", CONV[case], 0) for case in CONV] + [(conv_transpose2d, "conv_transpose2d", TRANSPOSED[case], 1) for case in TRANSPOSED]
IDS = [f"conv2d-{case}" for case in CONV] + [f"conv_transpose2d-{case}" for case in TRANSPOSED]


def tensors(x_shape, w_shape, filters_axis, options, dtype=np.float64):
    rng = np.random.default_rng(0)
    filters = w_shape[filters_axis] * (options.get("groups", 1) if filters_axis else 1)
    return [tinycnn.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True) for shape in (x_shape, w_shape, (filters,))]


def test_every_element_of_the_jacobian():
    """test_gradients.py looks at sums where they are right; once, look at all elements."""
    x_shape, w_shape, options = CONV["uneven"]
    assert gradcheck(lambda x, w, b: conv2d(x[:1], w, b, **options), tensors(x_shape, w_shape, 0, options))


@pytest.mark.torch
@pytest.mark.parametrize("function, name, case, axis", FUNCTIONS, ids=IDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_live_pytorch_agrees(function, name, case, axis, dtype):
    """Values, gradients, and gradients of the gradients. Kills: PyTorch's order of arguments or defaults mistaken."""
    import torch
    x_shape, w_shape, options = case
    ours = tensors(x_shape, w_shape, axis, options, dtype)
    theirs = [torch.tensor(t.detach().numpy(), requires_grad=True) for t in ours]
    results = []
    for module, args, call in ((tinycnn, ours, function), (torch, theirs, getattr(torch.nn.functional, name))):
        y = call(*args, **options)
        first = module.autograd.grad((y * y * y).sum(), args, create_graph=True)
        second = module.autograd.grad(sum((g * g).sum() for g in first), args)
        results.append([np.asarray(t.detach().numpy()) for t in (y, *first, *second)])
    for mine, its in zip(*results):
        close(mine, its, length=500)


def test_channels_last_memory_gives_the_same():
    args = tensors(*CONV["plain"][:2], 0, {}, np.float32)
    last = args[0].detach().contiguous(memory_format=tinycnn.channels_last).requires_grad_()
    y, z = conv2d(args[0], *args[1:], padding=1), conv2d(last, *args[1:], padding=1)
    close(z.detach().numpy(), y.detach().numpy(), length=200)
    close(grad(z.sum(), last)[0].numpy(), grad(y.sum(), args[0])[0].numpy(), length=200)


def test_a_transposed_convolution_with_more_rows_than_a_stride():
    """output_padding may reach the stride where the dilation is larger: fewer rows are cut off below, and there is the bias alone when none are left. Kills: reading past
    the end of dy; leaving those rows zero where padding had cut off some."""
    x, w, b = tensors((2, 2, 3, 2), (2, 3, 3, 2), 1, {})
    whole = conv_transpose2d(x, w, b, dilation=3).detach().numpy()  # (2, 3, 9, 5)
    whole = np.concatenate([whole, np.broadcast_to(b.detach().numpy()[:, None, None], (2, 3, 1, 5))], 2)
    y = conv_transpose2d(x, w, b, padding=1, dilation=3, output_padding=(2, 1))
    close(y.detach().numpy(), whole[:, :, 1:, 1:], length=12)
    assert gradcheck(lambda x, w: conv_transpose2d(x, w, padding=1, dilation=3, output_padding=(2, 1)), (x, w))


def test_an_empty_batch():
    x, w, b = tensors((0, 3, 5, 5), (4, 3, 3, 3), 0, {})
    y = conv2d(x, w, b)
    assert y.shape == (0, 4, 3, 3)
    y.sum().backward()
    assert x.grad.shape == x.shape and w.grad.numpy().tolist() == np.zeros(w.shape).tolist() and b.grad.tolist() == [0, 0, 0, 0]


def test_pad_and_its_gradients():
    """Kills: pairs counted from the first dimension; cropping that pads."""
    x = tensors((1, 2, 3, 4), (1,), 0, {})[0]
    y = pad(x, (1, 2, -1, 0), value=7.0)
    assert y.shape == (1, 2, 2, 7) and y[0, 0, 0, 0].item() == 7 and (y[0, :, :, 1:5] == x[0, :, 1:]).all()
    assert gradcheck(lambda x: pad(x, (1, 2, -1, 0)) ** 2, x) and gradgradcheck(lambda x: pad(x, (1, -2, -1, 0)) ** 3, x)


WRONG = {
    "dimensions": (lambda x, w: conv2d(x[0], w), ValueError, r"\(3, 5, 5\)"),
    "channels": (lambda x, w: conv2d(x, w[:, :2]), ValueError, "3 channels, but .* takes 2"),
    "channels against groups": (lambda x, w: conv2d(x, w, groups=2), ValueError, "with groups=2 takes 6"),
    "filters against groups": (lambda x, w: conv2d(x, w[:, :1], groups=3), ValueError, "4 filters .* 3 groups"),
    "no filters": (lambda x, w: conv2d(x, w[:0]), ValueError, r"\(0, 3, 3, 3\) has no elements"),
    "no channels": (lambda x, w: conv2d(x[:, :0], w[:, :0]), ValueError, r"\(4, 0, 3, 3\) has no elements"),
    "filter too large": (lambda x, w: conv2d(x[:, :, :2], w), ValueError, "window of 3"),
    "bias": (lambda x, w: conv2d(x, w, tinycnn.zeros(3)), ValueError, r"bias .*\(4,\)"),
    "dtypes": (lambda x, w: conv2d(x, w.double()), TypeError, "input is float32 but the weight is float64"),
    "integers": (lambda x, w: conv2d(x.long(), w.long()), TypeError, "int64"),
    "stride": (lambda x, w: conv2d(x, w, stride=0), ValueError, "stride is"),
    "negative padding": (lambda x, w: conv2d(x, w, padding=-1), ValueError, "padding is"),
    "padding by name": (lambda x, w: conv2d(x, w, padding="full"), ValueError, "'full'"),
    "same with stride": (lambda x, w: conv2d(x, w, padding="same", stride=2), ValueError, "stride"),
    "a triple": (lambda x, w: conv2d(x, w, stride=(1, 1, 1)), ValueError, "pair"),
    "not a tensor": (lambda x, w: conv2d(x.numpy(), w), TypeError, "input must be a tensor"),
    "output_padding": (lambda x, w: conv_transpose2d(x[:, :1], w[:1, :], output_padding=1), ValueError, "output_padding"),
    "pad": (lambda x, w: pad(x, (1, 2, 3)), ValueError, "pairs"),
    "crop": (lambda x, w: pad(x, (-3, -3)), ValueError, "crops more"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_clear_error(case):
    function, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        function(tinycnn.zeros(1, 3, 5, 5), tinycnn.zeros(4, 3, 3, 3))
