"""Gradient checks that say yes or no: the backward pass against finite differences, in PyTorch's signatures. (tinycnn.gradcheck, tinycnn/checker, says what is wrong.)

For y = f(x), column j of the Jacobian is measured as (f(x + h e_j) - f(x - h e_j)) / 2h, off by O(h^2) from the truth and by eps/h from rounding: with float64 and
h = 1e-6 about nine digits are right, with float32 hardly two, hence float64 only. Row i is computed by one backward pass that starts from e_i. They must agree.
The fast mode compares u.J.v for random u and v instead: two evaluations and one backward at any size.
"""
import numpy as np

from ..tensor import Tensor, float64
from .engine import grad
from .function import enable_grad, no_grad


class GradcheckError(RuntimeError):
    """The gradients disagree, or could not be checked; the message says where."""


def gradcheck(func, inputs, eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=True, nondet_tol=0.0, fast_mode=False):
    """Whether the backward of func agrees with central differences at `inputs`, for all outputs and all inputs that require grad.

    func: takes the inputs, returns a tensor or a tuple of tensors. inputs: a tensor or a tuple (non-tensors are passed through); those that require grad must be
    float64. eps: the step h. An element passes where |analytical - numerical| <= atol + rtol * |numerical|. nondet_tol: how far two equal backward passes may differ.
    Returns True, or raises GradcheckError (returns False with raise_exception=False).
    """
    try:
        inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
        _check_inputs(inputs)
        (_check_projection if fast_mode else _check_jacobian)(func, inputs, eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(func, inputs, grad_outputs=None, eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=True, nondet_tol=0.0, fast_mode=False):
    """Whether the backward of the backward of func agrees with central differences of its backward, with respect to the inputs and to grad_outputs.

    grad_outputs: what the first backward starts from, one tensor per differentiable output; random (seeded) unless given.
    """
    inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        grad_outputs = [Tensor(rng.standard_normal(y.shape), y.device, requires_grad=True) for y in _outputs(func, inputs)]
    grad_outputs = tuple(grad_outputs) if isinstance(grad_outputs, (tuple, list)) else (grad_outputs,)

    def first_backward(*arguments):
        given, dys = arguments[:len(inputs)], arguments[len(inputs):]
        wanted = [x for x in given if isinstance(x, Tensor) and x.requires_grad]
        with enable_grad():
            gradients = grad(_outputs(func, given), wanted, dys, create_graph=True, allow_unused=True)
        return tuple(dx for dx in gradients if dx is not None and dx.requires_grad)

    return gradcheck(first_backward, inputs + grad_outputs, eps, atol, rtol, raise_exception, nondet_tol, fast_mode)


def _check_inputs(inputs):
    checked = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: none of the inputs is a tensor that requires grad, so there is nothing to check")
    for i, x in enumerate(inputs):
        if isinstance(x, Tensor) and x.requires_grad and x.dtype != float64:
            raise ValueError(f"gradcheck: input {i} is {x.dtype}; finite differences need float64 (in float32, rounding alone is off by eps/h = 0.1): use .double()")
        if isinstance(x, Tensor) and x.requires_grad and 0 in x.array.strides and x.numel() > 1 and any(
                stride == 0 and size > 1 for stride, size in zip(x.array.strides, x.shape)):
            raise ValueError(f"gradcheck: input {i} is an expanded view, whose elements share memory: moving one moves others; pass a clone()")


def _outputs(func, inputs):
    """The outputs of func that have a gradient."""
    result = func(*inputs)
    return [y for y in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(y, Tensor) and y.requires_grad]


def _measure(func, inputs, x, direction, eps, keep):
    """(f(x + eps*direction) - f(x - eps*direction)) / 2 eps for each output in keep; x is moved in place and put back."""
    before = x.array.copy()
    ends = []
    for sign in (1, -1):
        x.array[...] = before + sign * eps * direction
        with enable_grad():  # func may differentiate inside
            result = func(*inputs)
        result = result if isinstance(result, (tuple, list)) else (result,)
        ends.append([np.array(result[i].array) for i in keep])
    x.array[...] = before
    return [(right - left) / (2 * eps) for right, left in zip(*ends)]


def _evaluate(func, inputs):
    """(positions of the differentiable outputs, the outputs themselves)"""
    with enable_grad():
        result = func(*inputs)
    result = result if isinstance(result, (tuple, list)) else (result,)
    keep = [i for i, y in enumerate(result) if isinstance(y, Tensor) and y.requires_grad]
    if not keep:
        raise ValueError("gradcheck: no output requires grad, so there is nothing to check: func does not depend on the inputs differentiably")
    return keep, [result[i] for i in keep]


def _backward_row(outputs, which, start, wanted):
    """One backward pass from outputs[which]; zeros where an input does not matter."""
    gradients = grad(outputs[which], wanted, Tensor(start, outputs[which].device), retain_graph=True, allow_unused=True)
    return [np.zeros(x.shape) if dx is None else np.array(dx.array) for x, dx in zip(wanted, gradients)]


def _check_jacobian(func, inputs, eps, atol, rtol, nondet_tol):
    """Every element of every Jacobian."""
    keep, outputs = _evaluate(func, inputs)
    wanted = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    analytical = [[np.zeros((y.numel(), x.numel())) for x in wanted] for y in outputs]
    for o, y in enumerate(outputs):
        for i in range(y.numel()):
            start = np.zeros(y.shape)
            start.flat[i] = 1
            rows = _backward_row(outputs, o, start, wanted)
            again = _backward_row(outputs, o, start, wanted) if i == 0 else rows
            for k, (row, second) in enumerate(zip(rows, again)):
                if not np.allclose(row, second, rtol=0, atol=nondet_tol, equal_nan=True):
                    raise GradcheckError(f"gradcheck: two backward passes from output {o} gave different gradients for input {k}: not deterministic")
                analytical[o][k][i] = row.reshape(-1)
    with no_grad():
        for k, x in enumerate(wanted):
            numerical = [np.zeros((y.numel(), x.numel())) for y in outputs]
            for j in range(x.numel()):
                direction = np.zeros(x.shape)
                direction.flat[j] = 1
                for o, column in enumerate(_measure(func, inputs, x, direction, eps, keep)):
                    numerical[o][:, j] = column.reshape(-1)
            for o in range(len(outputs)):
                _compare(analytical[o][k], numerical[o], atol, rtol, o, outputs[o].shape, k, x.shape)


def _check_projection(func, inputs, eps, atol, rtol, nondet_tol):
    """u.J.v for one random direction v per input and one random u per output."""
    rng = np.random.default_rng(0)
    keep, outputs = _evaluate(func, inputs)
    wanted = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    u = [rng.standard_normal(y.shape) for y in outputs]
    rows = [_backward_row(outputs, o, u[o], wanted) for o in range(len(outputs))]
    for k, x in enumerate(wanted):
        v = rng.standard_normal(x.shape)
        v /= max(np.linalg.norm(v), 1e-300)
        for o, column in enumerate(_measure(func, inputs, x, v, eps, keep)):
            analytical, numerical = np.sum(rows[o][k] * v), np.sum(u[o] * column)
            _compare(np.array([[analytical]]), np.array([[numerical]]), atol, rtol, o, outputs[o].shape, k, x.shape)


def _compare(analytical, numerical, atol, rtol, o, y_shape, k, x_shape):
    error = np.abs(analytical - numerical)
    wrong = ~(error <= atol + rtol * np.abs(numerical))  # NaN is wrong
    if not wrong.any():
        return
    i, j = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
    where = "" if error.size == 1 else (f", the worst at output element {_index(i, y_shape)} and input element {_index(j, x_shape)}")
    raise GradcheckError(f"gradcheck: the gradient of output {o} {y_shape} with respect to input {k} {x_shape} is wrong in {wrong.sum()} of {wrong.size} elements"
                         f"{where}: backward says {analytical[i, j]:.8g}, finite differences say {numerical[i, j]:.8g}")


def _index(flat, shape):
    return tuple(int(i) for i in np.unravel_index(flat, shape)) if shape else ()
