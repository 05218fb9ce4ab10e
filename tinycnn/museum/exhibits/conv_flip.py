"""A convolution whose backward forgets to flip

The forward of a network's convolution slides the filter as it is. Its input gradient slides the filter over dy the other way round: the full correlation with
the filter turned by 180 degrees. Leave the turning out and the gradient has the right size and the right shape, and trains, badly. With symmetric filters
nothing shows.

Seen in: many a homework; nntrainer, issue 705 (2020), https://github.com/nntrainer/nntrainer/issues/705; asked about in ddbourgin/numpy-ml, issue 27 (2019)
"""
import numpy as np

from tinycnn.museum.tools import conv, conv_case


def inputs(rng):
    return conv_case(rng, stride=(1, 1), padding=(0, 0))[:2]


def forward(x, w):
    return conv(x, w)


def backward(dy, x, w):
    R, S = w.shape[2:]
    spread = np.pad(dy, ((0, 0), (0, 0), (R - 1, R - 1), (S - 1, S - 1)))
    dx = conv(spread, w.transpose(1, 0, 2, 3))
    dw = conv(x.transpose(1, 0, 2, 3), dy.transpose(1, 0, 2, 3)).transpose(1, 0, 2, 3)
    return dx, dw


# ---- the repair

FAMILY = "flipped"


def repaired(dy, x, w):
    R, S = w.shape[2:]
    spread = np.pad(dy, ((0, 0), (0, 0), (R - 1, R - 1), (S - 1, S - 1)))
    dx = conv(spread, w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
    dw = conv(x.transpose(1, 0, 2, 3), dy.transpose(1, 0, 2, 3)).transpose(1, 0, 2, 3)
    return dx, dw
