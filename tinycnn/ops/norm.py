"""Differentiable batch normalisation (Ioffe, Szegedy 2015).

Per channel, over n values: xhat = (x - mean) / sqrt(var + eps), y = weight * xhat + bias. mean and var depend on every x, so with g = weight * dy

    dx = (g - mean(g) - xhat * mean(g * xhat)) / sqrt(var + eps),    dweight = sum(dy * xhat),    dbias = sum(dy).

A fused kernel computes the three in two passes; while the backward itself is recorded, the same formulas are written with tensors, from x on.

In most networks a rectifier follows, in residual ones after an addition: y = relu(weight * xhat + bias + add). BatchNormReLU does all of it in the passes that the
normalisation makes anyway. (Ours: PyTorch has no such function.)
"""
from ..autograd import Function, is_grad_enabled
from ..tensor import Tensor
from .activation import ReLUGrad, relu
from .common import floating


class BatchNorm(Function):
    """(y, mean, var) with the batch's own mean and (biased) variance. Gradients flow through y alone."""

    def forward(ctx, x, weight, bias, eps):
        y, mean, var = ctx.kernels.norm.batch_forward(x.array, array(weight), array(bias), eps)
        mean, var = Tensor(mean, x.device), Tensor(var, x.device)
        ctx.eps = eps
        ctx.save_for_backward(x, weight, mean.detach(), var.detach())
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    def backward(ctx, dy, *_):
        x, weight, mean, var = ctx.saved_tensors
        if is_grad_enabled():
            dx, dweight, dbias = batch_norm_backward(dy, x, weight, ctx.eps)
        else:
            gradients = ctx.kernels.norm.batch_backward(dy.array, x.array, array(weight), mean.array, var.array, ctx.eps)
            dx, dweight, dbias = (Tensor(gradient, x.device) for gradient in gradients)
        return dx, dweight, dbias, None


class BatchNormReLU(Function):
    """The same with y = relu(weight * xhat + bias + add); add may be None. dy counts where y > 0, and as such is the gradient of `add`."""

    def forward(ctx, x, weight, bias, add, eps):
        y, mean, var = (Tensor(result, x.device) for result in ctx.kernels.norm.batch_forward(x.array, array(weight), array(bias), eps, True, array(add)))
        ctx.eps, ctx.added = eps, add is not None
        ctx.save_for_backward(x, weight, bias, mean.detach(), var.detach(), y if ctx.added else None)  # without `add`, x tells where y is positive
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    @staticmethod
    def branch(args, outputs):
        return outputs[0] > 0

    def backward(ctx, dy, *_):
        x, weight, bias, mean, var, y = ctx.saved_tensors
        if is_grad_enabled():
            if y is None:
                y = Tensor(ctx.kernels.norm.batch_inference(x.array, array(weight), array(bias), mean.array, var.array, ctx.eps, True), x.device)
            passed = ReLUGrad.apply(dy, y.detach())
            return *batch_norm_backward(passed, x, weight, ctx.eps), passed if ctx.added else None, None
        gradients = ctx.kernels.norm.batch_relu_backward(dy.array, x.array, array(y), array(weight), array(bias), mean.array, var.array, ctx.eps)
        return *(None if gradient is None else Tensor(gradient, x.device) for gradient in gradients), None


def batch_norm_backward(dy, x, weight, eps):
    """(dx, dweight, dbias) by the formulas above."""
    dims = all_but_channels(x)
    centred = x - x.mean(dims, keepdim=True)
    deviation = ((centred * centred).mean(dims, keepdim=True) + eps).sqrt()
    xhat = centred / deviation
    g = dy if weight is None else dy * per_channel(weight, x)
    dx = (g - g.mean(dims, keepdim=True) - xhat * (g * xhat).mean(dims, keepdim=True)) / deviation
    return dx, (dy * xhat).sum(dims), dy.sum(dims)


class BatchNormInference(Function):
    """y with given mean and variance: linear in x. No gradient flows to the running statistics."""

    def forward(ctx, x, weight, bias, mean, var, eps):
        ctx.eps = eps
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, weight, mean, var)
        return ctx.kernels.norm.batch_inference(x.array, array(weight), array(bias), mean.array, var.array, eps)

    def backward(ctx, dy):
        x, weight, mean, var = ctx.saved_tensors
        inverse = 1 / (var + ctx.eps).sqrt()
        dx, dweight, dbias = ctx.needs_input_grad[:3]
        return (dy * per_channel(inverse if weight is None else weight * inverse, dy) if dx else None,
                (dy * (x - per_channel(mean, x)) * per_channel(inverse, x)).sum(all_but_channels(x)) if dweight else None,
                dy.sum(all_but_channels(dy)) if dbias else None,
                None, None, None)


class BatchNormReLUInference(Function):
    """y = relu(that + add), add may be None. For inference alone: it has no backward."""

    branch = staticmethod(BatchNormReLU.branch)

    def forward(ctx, x, weight, bias, add, mean, var, eps):
        return ctx.kernels.norm.batch_inference(x.array, array(weight), array(bias), mean.array, var.array, eps, True, array(add))


def array(tensor):
    return None if tensor is None else tensor.array


def all_but_channels(x):
    return (0, *range(2, x.ndim))


def per_channel(values, x):
    """(C,) in a shape that broadcasts against x (N, C, *)."""
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, *, batches=None):
    """(x - mean) / sqrt(var + eps) * weight + bias, per channel of x (N, C, *).

    training: with the mean and the biased variance of this batch, and running_mean and running_var (unless None) move by `momentum` towards its mean and its
    unbiased variance; `batches`, an integer tensor or None, is raised by 1, and momentum=None stands for 1 / batches: the plain average of all batches. (PyTorch's
    layer does that part itself.) Otherwise with running_mean and running_var.
    """
    x = _checked(x, running_mean, running_var, weight, bias)
    if not training:
        _check_given(running_mean, running_var)
        return BatchNormInference.apply(x, weight, bias, running_mean, running_var, eps)
    _check_variance(x)
    y, mean, var = BatchNorm.apply(x, weight, bias, eps)
    _follow(running_mean, running_var, batches, mean, var, x, momentum)
    return y


def batch_norm_relu(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, add=None, *, batches=None):
    """relu(batch_norm(x, ...) + add), `add` being a tensor of x's shape or None; in training, and where no gradient is wanted, in the time of batch_norm alone."""
    x = _checked(x, running_mean, running_var, weight, bias)
    if add is not None and (add.shape != x.shape or add.dtype != x.dtype):
        raise ValueError(f"batch_norm_relu: the input is {x.shape} {x.dtype}, what is added {add.shape} {add.dtype}; they must agree")
    if not training:
        _check_given(running_mean, running_var)
        if not is_grad_enabled():
            return BatchNormReLUInference.apply(x, weight, bias, add, running_mean, running_var, eps)
        y = BatchNormInference.apply(x, weight, bias, running_mean, running_var, eps)
        return relu(y if add is None else y + add)
    _check_variance(x)
    y, mean, var = BatchNormReLU.apply(x, weight, bias, add, eps)
    _follow(running_mean, running_var, batches, mean, var, x, momentum)
    return y


def _check_given(running_mean, running_var):
    if running_mean is None or running_var is None:
        raise ValueError("batch_norm: without training=True, running_mean and running_var are needed")


def _follow(running_mean, running_var, batches, mean, var, x, momentum):
    """Move the running statistics towards those of this batch, the variance unbiased, and count it."""
    followers = [tensor for tensor in (running_mean, running_var, batches) if tensor is not None]
    if momentum is None and batches is None and followers:
        raise ValueError("batch_norm: with momentum=None, which averages all batches, a counter `batches` is needed")
    for tensor in followers:
        if tensor.device is not x.device:
            raise ValueError(f"batch_norm: the input is on {x.device}, the running statistics on {tensor.device}; move them with .to(device)")
        tensor.version[0] += 1
    if followers:
        x.device.kernels.norm.follow_(array(running_mean), array(running_var), array(batches), mean.array, var.array, _values_per_channel(x), momentum)


def _values_per_channel(x):
    return x.numel() // x.shape[1] if x.shape[1] else 0


def _check_variance(x):
    if _values_per_channel(x) == 1:
        raise ValueError(f"batch_norm: an input of shape {x.shape} has one value per channel: in training at least two are needed for a variance")


def _checked(x, running_mean, running_var, weight, bias):
    x = floating("batch_norm", x)
    if x.ndim < 2:
        raise ValueError(f"batch_norm: expected (N, C, *) of at least 2 dimensions, got shape {x.shape}")
    C = x.shape[1]
    for name, tensor in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.shape != (C,):
            raise ValueError(f"batch_norm: {name} has shape {tensor.shape}; for an input of {C} channels {x.shape} it must be ({C},)")
        if tensor is not None and tensor.dtype != x.dtype:
            raise TypeError(f"batch_norm: the input is {x.dtype} but {name} is {tensor.dtype}; convert one with .to(dtype)")
    return x
