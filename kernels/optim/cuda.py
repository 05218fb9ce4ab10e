"""The optimisers' steps on the GPU (optim.cu): one launch for each parameter."""
from ..cuda import blocks, contiguous, launch
from ..cuda.memory import flat, in_order_of, lies_channels_last
from ..elementwise.cuda import copy_

SOURCE, BLOCK = "optim/optim.cu", 256


def sgd_(param, grad, buffer, lr, momentum, dampening, weight_decay, nesterov, first):
    """Update param, and buffer unless it is None (no momentum).  first: the buffer holds nothing yet."""
    _step("sgd", param, grad, [buffer], lr, momentum, 1 - dampening, weight_decay, bool(nesterov), bool(first))


def adam_(param, grad, m, v, vmax, lr, beta1, beta2, eps, weight_decay, decoupled, step):
    """Update param, m, v, and vmax unless it is None (AMSGrad: the largest v so far takes v's place).  decoupled: AdamW.  step counts from 1."""
    shrink, decay = (1 - lr * weight_decay, 0) if decoupled else (1, weight_decay)
    _step("adam", param, grad, [m, v, vmax], lr / (1 - beta1**step), 1 - beta1, beta2, 1 - beta2, (1 - beta2**step) ** -0.5, eps, shrink, decay)


def rmsprop_(param, grad, square_avg, grad_avg, buffer, lr, alpha, eps, weight_decay, momentum):
    """Update param, square_avg, and unless they are None grad_avg (centred) and buffer (momentum)."""
    _step("rmsprop", param, grad, [square_avg, grad_avg, buffer], lr, alpha, 1 - alpha, eps, weight_decay, momentum)


def _step(kernel, param, grad, state, *numbers):
    """Launch with all arrays lying as the parameter does. One that is in neither order, or a state that lies otherwise, is updated in a copy and copied back."""
    changed = [param, *state]
    if not lies_channels_last(param):
        lying = [x if x is None else contiguous(x) for x in changed]
    else:
        lying = [x if x is None else in_order_of(param, x) for x in changed]
    arrays = [x if x is None else flat(x) for x in lying]
    launch(SOURCE, kernel, blocks(param.size, BLOCK), BLOCK, arrays[0], flat(in_order_of(lying[0], grad)), *arrays[1:], *numbers, param.size, real=param.dtype)
    for array, updated in zip(changed, lying):
        if updated is not array:
            copy_(array, updated)
