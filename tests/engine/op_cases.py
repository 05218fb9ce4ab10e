"""Expressions that mean the same in tinycnn and in PyTorch: a case is a function of the module and of its input tensors, and the inputs' shapes.

One table serves the gradient checks, the stored PyTorch vectors (tests/vectors/ops.npz) and the comparison with live PyTorch. Shapes are small and odd; several
broadcast, some have extents of 1 and of 0. Inputs are drawn away from 0 and from each other, where abs, max and clamp have their kinks.
"""
import numpy as np

CASES = {
    "add": (lambda m, a, b: a + b, (3, 4), (4,)),
    "add, alpha": (lambda m, a, b: m.add(a, b, alpha=2.5), (3, 1), (1, 4)),
    "add a number": (lambda m, a: 2.0 + a + 1, (3, 2)),
    "sub": (lambda m, a, b: a - b, (2, 3, 4), (3, 1)),
    "number minus": (lambda m, a: 1 - a, (3,)),
    "mul": (lambda m, a, b: a * b, (3, 4), (3, 1)),
    "mul with itself": (lambda m, a: a * a, (3, 4)),
    "div": (lambda m, a, b: a / b, (3, 4), (4,)),
    "number over": (lambda m, a: 2 / a, (5,)),
    "pow 2": (lambda m, a: a ** 2, (3, 4)),
    "pow 3": (lambda m, a: a ** 3, (3, 4)),
    "pow 0": (lambda m, a: a ** 0 + a, (3, 4)),
    "pow of tensors": (lambda m, a, b: a.abs() ** b, (3, 4), (4,)),
    "number to the power": (lambda m, a: 2.0 ** a, (3,)),
    "neg": (lambda m, a: -a, (3,)),
    "abs": (lambda m, a: a.abs(), (3, 4)),
    "exp": (lambda m, a: a.exp(), (3, 4)),
    "log": (lambda m, a: a.abs().log(), (3, 4)),
    "sqrt": (lambda m, a: a.abs().sqrt(), (3, 4)),
    "rsqrt": (lambda m, a: m.rsqrt(a.abs()), (3, 4)),
    "sin cos": (lambda m, a: a.sin() * a.cos(), (3, 4)),
    "tanh": (lambda m, a: a.tanh(), (3, 4)),
    "sigmoid": (lambda m, a: (a * 5).sigmoid(), (3, 4)),
    "clamp": (lambda m, a: a.clamp(-0.75, 0.9), (5, 4)),
    "clamp below": (lambda m, a: m.clamp(a, min=0.25), (5, 4)),
    "maximum": (lambda m, a, b: m.maximum(a, b), (3, 4), (4,)),
    "minimum": (lambda m, a, b: m.minimum(a, b), (3, 4), (3, 1)),
    "where": (lambda m, a, b: m.where(a > 0, a, b), (3, 4), (4,)),
    "masked_fill": (lambda m, a: a.masked_fill(a > 0.5, 0.0), (3, 4)),
    "sum": (lambda m, a: a.sum(), (3, 4)),
    "sum of dims": (lambda m, a: a.sum((0, -1)), (3, 4, 2)),
    "sum, keepdim": (lambda m, a: a.sum(1, keepdim=True) * a, (3, 4, 2)),
    "mean": (lambda m, a: a.mean(), (3, 4)),
    "mean of dims": (lambda m, a: a.mean((0, 2), keepdim=True) * a, (3, 4, 2)),
    "var": (lambda m, a: a.var(1), (3, 4)),
    "var, biased": (lambda m, a: a.var((0, 2), unbiased=False, keepdim=True), (3, 4, 2)),
    "std": (lambda m, a: a.std(0), (3, 4)),
    "amax": (lambda m, a: a.amax((0, 2)), (3, 4, 2)),
    "amin": (lambda m, a: a.amin(1, keepdim=True), (3, 4, 2)),
    "max": (lambda m, a: a.max(), (3, 4)),
    "max of dim": (lambda m, a: a.max(1).values, (3, 4, 2)),
    "min of dim": (lambda m, a: a.min(-1, keepdim=True)[0], (3, 4, 2)),
    "matmul": (lambda m, a, b: a @ b, (3, 4), (4, 5)),
    "matmul, batched": (lambda m, a, b: a @ b, (2, 3, 4), (2, 4, 1)),
    "matmul, broadcast": (lambda m, a, b: m.matmul(a, b), (2, 1, 3, 4), (5, 4, 2)),
    "matmul, matrix and vector": (lambda m, a, b: a @ b, (2, 3, 4), (4,)),
    "matmul, vector and matrix": (lambda m, a, b: a @ b, (3,), (3, 2)),
    "dot": (lambda m, a, b: a @ b, (4,), (4,)),
    "reshape": (lambda m, a: a.reshape(2, -1) * a.view(2, 6), (3, 4)),
    "flatten": (lambda m, a: a.flatten(1) + m.flatten(a).sum(), (2, 3, 2)),
    "squeeze": (lambda m, a: a.squeeze() * a.squeeze(1).sum() + a.unsqueeze(0).squeeze(), (3, 1, 2)),
    "permute": (lambda m, a: a.permute(2, 0, 1) * a.permute(-1, 0, 1), (2, 3, 4)),
    "transpose": (lambda m, a: a.transpose(0, 2) @ a[:, :, 0], (2, 3, 4)),
    "transposed matrix": (lambda m, a: a.t() @ a.T.T, (2, 3)),
    "expand": (lambda m, a: a.expand(3, 4, -1) * a, (4, 1)),
    "cat": (lambda m, a, b: m.cat([a, b, a], 1), (2, 3), (2, 1)),
    "cat with nothing": (lambda m, a, b: m.cat([a, b], 0), (0, 3), (2, 3)),
    "stack": (lambda m, a, b: m.stack([a, b], -1), (2, 3), (2, 3)),
    "split": (lambda m, a: a.split(2, 1)[0] * a.split([1, 2, 2], 1)[2], (3, 5)),
    "chunk": (lambda m, a: a.chunk(2)[0].sum() * a.chunk(2)[1], (5, 2)),
    "unbind": (lambda m, a: a.unbind(1)[0] * a.unbind(1)[-1], (2, 3)),
    "flip": (lambda m, a: m.flip(a, (0, 1)) * a, (2, 3)),
    "slice": (lambda m, a: a[1:, ::2] * a[:-1, 1::2], (3, 4)),
    "row": (lambda m, a: a[-1] * a[0, 1], (3, 4)),
    "new axis": (lambda m, a: a[:, None] * a[None], (3,)),
    "ellipsis": (lambda m, a: a[..., 1] + a[0, ..., 0], (3, 4, 2)),
    "index, repeated": (lambda m, a: a[[0, 2, 2, 0]] ** 2, (3, 4)),
    "index tensors": (lambda m, a: a[m.tensor([0, 1, 1]), m.tensor([2, 3, 3])] * 2, (3, 4)),
    "index between slices": (lambda m, a: a[:, [1, 0, 1], 1:], (2, 3, 4)),
    "boolean index": (lambda m, a: a[a > 0] * 3, (3, 4)),
    "gather": (lambda m, a: a.gather(1, m.tensor([[0, 0], [3, 1], [2, 2]])) ** 2, (3, 4)),
    "index_select": (lambda m, a: m.index_select(a, 1, m.tensor([1, 1, 0])), (2, 3)),
    "in place": (lambda m, a, b: (a * 1).mul_(b).add_(a).sub_(1.5), (3, 4), (4,)),
    "assign a part": (lambda m, a, b: _assign(a * 2, b), (3, 4), (2,)),
    "zero in place": (lambda m, a: _zero_first(a * a), (3, 4)),
    "clone": (lambda m, a: a.clone() * a, (3,)),
    "contiguous": (lambda m, a: a.transpose(0, 1).contiguous().view(-1) * 2, (3, 4)),
    "empty": (lambda m, a, b: (a * b).sum(0), (0, 4), (4,)),
}


def _assign(x, value):
    x[1:, 2] = value
    x[0] = x[1] * 2
    return x


def _zero_first(x):
    x[:, 1] = 0.0
    return x * x


def inputs(case, dtype=np.float64):
    """The case's input arrays: multiples of 1/8 in a seeded order, never 0, so that no two elements of an input are equal."""
    rng = np.random.default_rng(list(case.encode()))
    arrays = []
    for shape in CASES[case][1:]:
        n = int(np.prod(shape))
        values = (rng.permutation(n) - n // 2 + 0.5) / 8 + rng.uniform(-0.02, 0.02, n)
        arrays.append(values.reshape(shape).astype(dtype))
    return arrays


def value_and_gradients(module, case, make):
    """(y, gradients of <y, cos(0, 1, 2, ...)> for each input) as arrays. make: array -> leaf tensor of the module."""
    tensors = [make(array) for array in inputs(case)]
    y = CASES[case][0](module, *tensors)
    start = make(np.cos(np.arange(y.numel(), dtype=np.float64)).reshape(tuple(y.shape))).detach()
    gradients = module.autograd.grad(y, tensors, start)
    return np.asarray(y.detach().numpy()), [np.asarray(g.numpy()) for g in gradients]
