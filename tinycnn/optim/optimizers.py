"""SGD, Adam, AdamW, RMSprop: which options and which state each has. The formulas are those of tinycnn.kernels.optim; names, arguments and defaults PyTorch's."""
from .optimizer import Optimizer, arrays, buffers, count


class SGD(Optimizer):
    """Stochastic gradient descent: p -= lr * b with b = momentum * b + (1 - dampening) * g, where g is the gradient plus weight_decay * p.

    nesterov: p -= lr * (g + momentum * b) instead. maximize: go up instead of down.
    """

    def __init__(self, params, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, *, maximize=False):
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov,
                                  "maximize": maximize})

    def check(self, group):
        for option in ("lr", "momentum", "weight_decay"):
            self.require(group, group[option] >= 0, option, "at least 0")
        self.require(group, not group["nesterov"] or (group["momentum"] > 0 and group["dampening"] == 0), "nesterov",
                     "False without a momentum, and with a dampening")

    def update_together(self, parameters, gradients, states, group):
        first = "momentum_buffer" not in states[0]
        velocities = buffers(states, "momentum_buffer", parameters) if group["momentum"] else None
        parameters[0].device.kernels.optim.sgd_(arrays(parameters), arrays(gradients), velocities, group["lr"], group["momentum"], group["dampening"],
                                                group["weight_decay"], group["nesterov"], first)


class Adam(Optimizer):
    """Adam: the mean gradient over the root of the mean squared gradient, both running means, corrected for their start at 0 (Kingma, Ba 2015).

    weight_decay is added to the gradient. amsgrad: the largest mean square so far takes the place of the current one (Reddi, Kale, Kumar 2018).
    """

    decoupled = False

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False, *, maximize=False):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize})

    def check(self, group):
        for option in ("lr", "eps", "weight_decay"):
            self.require(group, group[option] >= 0, option, "at least 0")
        betas = group["betas"]
        self.require(group, len(betas) == 2 and all(0 <= beta < 1 for beta in betas), "betas", "two numbers, each at least 0 and below 1")

    def update_together(self, parameters, gradients, states, group):
        step = count(states)
        means, squares = buffers(states, "exp_avg", parameters), buffers(states, "exp_avg_sq", parameters)
        largest = buffers(states, "max_exp_avg_sq", parameters) if group["amsgrad"] else None
        parameters[0].device.kernels.optim.adam_(arrays(parameters), arrays(gradients), means, squares, largest, group["lr"], *group["betas"], group["eps"],
                                                 group["weight_decay"], self.decoupled, step)


class AdamW(Adam):
    """Adam whose weight decay shrinks the weights themselves, p *= 1 - lr * weight_decay, instead of entering the gradient (Loshchilov, Hutter 2019)."""

    decoupled = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *, maximize=False):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


class RMSprop(Optimizer):
    """The gradient over the root of its running mean square (Tieleman, Hinton 2012), with momentum on top if wanted.

    centered: divide by the running standard deviation instead (Graves 2013). weight_decay is added to the gradient.
    """

    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False, *, maximize=False):
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum, "centered": centered,
                                  "maximize": maximize})

    def check(self, group):
        for option in ("lr", "alpha", "eps", "weight_decay", "momentum"):
            self.require(group, group[option] >= 0, option, "at least 0")

    def update_together(self, parameters, gradients, states, group):
        count(states)
        squares = buffers(states, "square_avg", parameters)
        means = buffers(states, "grad_avg", parameters) if group["centered"] else None
        velocities = buffers(states, "momentum_buffer", parameters) if group["momentum"] else None
        parameters[0].device.kernels.optim.rmsprop_(arrays(parameters), arrays(gradients), squares, means, velocities, group["lr"], group["alpha"], group["eps"],
                                                    group["weight_decay"], group["momentum"])
