"""Normalisation layers: across the batch, and across neighbouring channels."""
from ..ops.norm import batch_norm_relu
from ..tensor import float32, int64, ones, tensor, zeros
from . import functional as F
from . import init
from .activation import together
from .module import Module
from .parameter import Parameter


class BatchNorm(Module):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, per channel.

    In training, mean and variance are those of the batch, and running_mean and running_var follow them: new = (1 - momentum) * old + momentum * batch's
    (momentum=None: the plain average of all batches so far). In evaluation the running ones are used. affine=False: no weight and bias.
    track_running_stats=False: the batch's, always.
    """

    dims, expected = (), ""

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None):
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        where = {"device": device or "cpu", "dtype": dtype or float32}
        self.register_parameter("weight", Parameter(ones(num_features, **where)) if affine else None)
        self.register_parameter("bias", Parameter(zeros(num_features, **where)) if affine else None)
        self.register_buffer("running_mean", zeros(num_features, **where) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features, **where) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", tensor(0, int64, where["device"]) if track_running_stats else None)

    def reset_running_stats(self):
        """Forget the batches seen."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self):
        """Start anew: nothing seen, and the normalised values passed on as they are."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            init.zeros_(self.bias)

    def forward(self, x):
        return F.batch_norm(x, **self._arguments(x))

    def forward_relu(self, x, add=None):
        """relu(self(x) + add) as one operation (tinycnn.ops.norm.batch_norm_relu)."""
        return batch_norm_relu(x, **self._arguments(x), add=add)

    def takes_over(self, following):
        """Whether forward_relu does the work of the layer `following`, too."""
        return type(self) in (BatchNorm1d, BatchNorm2d) and together(self, following)

    def _arguments(self, x):
        """What batch_norm takes beside x."""
        if x.ndim not in self.dims:
            raise ValueError(f"{type(self).__name__}: expected an input {self.expected}, got shape {x.shape}")
        return {"running_mean": self.running_mean, "running_var": self.running_var, "weight": self.weight, "bias": self.bias,
                "training": self.training or self.running_mean is None, "momentum": self.momentum, "eps": self.eps, "batches": self.num_batches_tracked}

    def extra_repr(self):
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"track_running_stats={self.track_running_stats}")


class BatchNorm1d(BatchNorm):
    __doc__ = f"Batch normalisation of (N, C) or (N, C, L).\n\n    {BatchNorm.__doc__}"
    dims, expected = (2, 3), "(N, C) or (N, C, L)"


class BatchNorm2d(BatchNorm):
    __doc__ = f"Batch normalisation of images (N, C, H, W).\n\n    {BatchNorm.__doc__}"
    dims, expected = (4,), "(N, C, H, W)"


class LocalResponseNorm(Module):
    """y = x / (k + alpha/size * (sum of x^2 over `size` neighbouring channels))^beta.

    alpha_convention="paper": alpha instead of alpha/size, as Krizhevsky, Sutskever and Hinton (2012) define it.
    """

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0, alpha_convention="torch"):
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.alpha_convention = alpha_convention

    def forward(self, x):
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k, self.alpha_convention)

    def extra_repr(self):
        text = f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
        return text if self.alpha_convention == "torch" else text + f", alpha_convention={self.alpha_convention!r}"
