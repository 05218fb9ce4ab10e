"""The operations of a network as functions: what torch.nn.functional has, from tinycnn/ops."""
from ..ops.activation import relu, relu_
from ..ops.arithmetic import sigmoid, tanh
from ..ops.conv import conv2d, conv_transpose2d
from ..ops.dropout import dropout, dropout2d
from ..ops.fold import fold, unfold
from ..ops.loss import cross_entropy, mse_loss, nll_loss
from ..ops.lrn import local_response_norm
from ..ops.matmul import linear
from ..ops.norm import batch_norm
from ..ops.pad import pad
from ..ops.pool import adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d
from ..ops.softmax import log_softmax, softmax

__all__ = ["adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "batch_norm", "conv2d", "conv_transpose2d", "cross_entropy", "dropout", "dropout2d",
           "fold", "linear", "local_response_norm", "log_softmax", "max_pool2d", "mse_loss", "nll_loss", "pad", "relu", "relu_", "sigmoid", "softmax",
           "tanh", "unfold"]
