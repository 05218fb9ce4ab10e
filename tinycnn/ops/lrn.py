"""Differentiable local response normalisation across channels (Krizhevsky, Sutskever, Hinton 2012, section 3.3).

    y = x * base^-beta,    base_c = k + alpha * sum of x_i^2 over the channels i that c looks at: c - n//2 ... c + (n-1)//2

x_i reaches y directly, and every y_c that looks at i through base_c:

    dx_i = dy_i * base_i^-beta  -  2 alpha beta x_i * sum over the c that look at i of  dy_c x_c base_c^(-beta - 1)
"""
from ..autograd import Function, is_grad_enabled
from ..tensor import Tensor
from .common import floating
from .pad import pad


class LocalResponseNorm(Function):
    def forward(ctx, x, size, alpha, beta, k):
        ctx.options = size, alpha, beta, k
        y, base = ctx.kernels.lrn.forward(x.array, size, alpha, beta, k)
        ctx.save_for_backward(x, Tensor(base, x.device))
        return y

    def backward(ctx, dy):
        x, base = ctx.saved_tensors
        size, alpha, beta, k = ctx.options
        if is_grad_enabled():
            base = k + alpha * neighbours(x * x, size // 2, (size - 1) // 2)
            through_base = neighbours(dy * x * base ** (-beta - 1), (size - 1) // 2, size // 2)
            dx = dy * base ** -beta - 2 * alpha * beta * x * through_base
        else:
            dx = Tensor(ctx.kernels.lrn.backward(dy.array, x.array, base.array, size, alpha, beta), x.device)
        return dx, None, None, None, None


def neighbours(x, before, after):
    """For each channel the sum over itself, `before` channels before it and `after` after it, as far as there are any."""
    C = x.shape[1]
    padded = pad(x, (0, 0) * (x.ndim - 2) + (before, after))
    total = padded[:, :C]
    for shift in range(1, before + after + 1):
        total = total + padded[:, shift:shift + C]
    return total


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0, alpha_convention="torch"):
    """x / (k + alpha/size * (sum of x^2 over `size` neighbouring channels))^beta, for x (N, C, *).

    alpha_convention: "torch" divides alpha by size, as Caffe, cuDNN, ONNX and PyTorch do; "paper" does not, as AlexNet's paper defines it.
    """
    x = floating("local_response_norm", x)
    if x.ndim < 3:
        raise ValueError(f"local_response_norm: expected (N, C, *) of at least 3 dimensions, got shape {x.shape}")
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"local_response_norm: size is {size!r}; the number of channels that are looked at must be a positive integer")
    if alpha_convention not in ("torch", "paper"):
        raise ValueError(f"local_response_norm: alpha_convention is {alpha_convention!r}; it can be 'torch' (alpha/size) or 'paper' (alpha)")
    alpha = alpha / size if alpha_convention == "torch" else alpha
    images = x if x.ndim == 4 else x.flatten(2).unsqueeze(2)  # (N, C, 1, L)
    return LocalResponseNorm.apply(images, size, float(alpha), float(beta), float(k)).reshape(x.shape)
