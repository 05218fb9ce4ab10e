"""Convolution layers."""
from ..ops.common import pair
from ..ops.conv import conv2d_relu
from ..tensor import empty, float32
from . import functional as F
from .activation import together
from .linear import draw_as_pytorch_does
from .module import Module
from .parameter import Parameter


class Convolution(Module):
    """What Conv2d and ConvTranspose2d share: the arguments, checked, and the weights."""

    transposed = False

    def __init__(self, in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype):
        super().__init__()
        name = type(self).__name__
        if padding_mode != "zeros":
            raise ValueError(f"{name}: padding_mode is {padding_mode!r}; only 'zeros' is available")
        for argument, value in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: {argument} is {value!r}; it must be a positive integer")
        for argument, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if value % groups:
                raise ValueError(f"{name}: {argument}={value} cannot be divided into groups={groups}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = pair(name, kernel_size, "kernel_size")
        if min(self.kernel_size) < 1:
            raise ValueError(f"{name}: kernel_size is {kernel_size}; it must be at least 1")
        self.stride = pair(name, stride, "stride")
        self.padding = padding if isinstance(padding, str) else pair(name, padding, "padding")
        self.dilation = pair(name, dilation, "dilation")
        self.groups = groups
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        where = {"device": device or "cpu", "dtype": dtype or float32}
        self.weight = Parameter(empty(first, second // groups, *self.kernel_size, **where))
        self.register_parameter("bias", Parameter(empty(out_channels, **where)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw the initial weights again."""
        draw_as_pytorch_does(self.weight, self.bias)

    def extra_repr(self):
        """The arguments that a reader needs: those that are not the default."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        shown = {"padding": (0, 0), "dilation": (1, 1), "output_padding": (0, 0), "groups": 1}
        text += "".join(f", {name}={getattr(self, name)}" for name, default in shown.items() if getattr(self, name, default) != default)
        return text if self.bias is not None else text + ", bias=False"


class Conv2d(Convolution):
    """y = conv(x, w) + bias: filters w (out_channels, in_channels/groups, R, S) slide over images x (N, in_channels, H, W).

    padding: a number, a pair, "same" (the output as large as the input; stride 1) or "valid" (none). groups: the channels are cut into that many
    independent convolutions. Weights and bias start uniform over (-b, b), b = 1 / sqrt(in_channels/groups * R * S).
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True, padding_mode="zeros",
                 device=None, dtype=None):
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f'Conv2d: padding is {padding!r}; it must be a number, a pair of numbers, "same" or "valid"')
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)
        if padding == "same" and self.stride != (1, 1):
            raise ValueError(f'Conv2d: padding="same" means an output as large as the input, which stride {self.stride} does not give')

    def forward(self, x):
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def forward_relu(self, x):
        """relu(self(x)) as one operation (tinycnn.ops.conv.conv2d_relu)."""
        return conv2d_relu(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def takes_over(self, following):
        """Whether forward_relu does the work of the layer `following`, too."""
        return type(self) is Conv2d and together(self, following)


class ConvTranspose2d(Convolution):
    """The adjoint of Conv2d, as a layer: every input is spread by the filters w (in_channels, out_channels/groups, R, S) over the output.

    output_padding picks among the output sizes that a convolution of this stride would map to the input's size; or give forward the output_size wanted.
    """

    transposed = True

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1, bias=True, dilation=1, padding_mode="zeros",
                 device=None, dtype=None):
        super().__init__(in_channels, out_channels, kernel_size, stride, pair("ConvTranspose2d", padding, "padding"), dilation, groups, bias, padding_mode,
                         device, dtype)
        self.output_padding = pair("ConvTranspose2d", output_padding, "output_padding")

    def forward(self, x, output_size=None):
        extra = self.output_padding if output_size is None else self._output_padding_for(x, output_size)
        return F.conv_transpose2d(x, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _output_padding_for(self, x, output_size):
        """The output_padding that leads to output_size: (H, W), or all of (N, K, H, W)."""
        wanted = tuple(output_size)[-2:]
        smallest = [(p - 1) * s - 2 * pad + d * (r - 1) + 1
                    for p, s, pad, d, r in zip(x.shape[-2:], self.stride, self.padding, self.dilation, self.kernel_size)]
        extra = tuple(w - least for w, least in zip(wanted, smallest))
        if len(wanted) != 2 or any(not 0 <= e < s for e, s in zip(extra, self.stride)):
            largest = [least + s - 1 for least, s in zip(smallest, self.stride)]
            raise ValueError(f"ConvTranspose2d: output_size {tuple(output_size)} cannot come from an input of {x.shape[-2:]}: "
                             f"it must be between {tuple(smallest)} and {tuple(largest)}")
        return extra
