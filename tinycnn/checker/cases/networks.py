"""The operations of networks as expressions that mean the same in tinycnn and in PyTorch: a function of the module and its input tensors, and the inputs' shapes.

One table serves the gradient checks, the stored PyTorch vectors (tests/vectors/nn_ops.npz) and the comparison with live PyTorch, up to second derivatives. Shapes are
the smallest at which a mistake shows. No two elements of an input are equal or near 0, where max and ReLU have their kinks.
"""
X = (2, 3, 5, 4)  # images (N, C, H, W)
SCORES = (4, 3)  # (N, classes)
MAPS = (2, 3, 2, 2)  # (N, classes, H, W)


def F(m):
    return m.nn.functional


def labels(m, *values):
    return m.tensor(values)


def weights(m, x):
    """One for each of three classes."""
    return m.tensor([0.5, 2.0, 1.25], dtype=x.dtype)


def batch_norm_relu(m, x, w, b, add=None, statistics=(None, None)):
    """relu(batch_norm(x) + add): for PyTorch, which has no such function, one after the other."""
    if m.__name__ == "tinycnn":
        return m.ops.norm.batch_norm_relu(x, *statistics, w, b, statistics[0] is None, add=add)
    y = F(m).batch_norm(x, *statistics, w, b, statistics[0] is None)
    return F(m).relu(y if add is None else y + add)


def conv2d_relu(m, x, w, b, **options):
    """relu(conv2d(x)), for PyTorch one after the other."""
    return m.ops.conv.conv2d_relu(x, w, b, **options) if m.__name__ == "tinycnn" else F(m).relu(F(m).conv2d(x, w, b, **options))


CASES = {
    "max_pool2d": (lambda m, x: F(m).max_pool2d(x, 2), X),
    "max_pool2d, overlapping": (lambda m, x: F(m).max_pool2d(x, 3, 2), (1, 2, 7, 5)),
    "max_pool2d, padded, dilated, not square": (lambda m, x: F(m).max_pool2d(x, (2, 3), (1, 2), (0, 1), (2, 1)), X),
    "max_pool2d, all negative": (lambda m, x: F(m).max_pool2d(-x.abs() - 1, 3, 2, 1), X),
    "max_pool2d, ceil": (lambda m, x: F(m).max_pool2d(x, 2, 2, ceil_mode=True), (1, 2, 5, 3)),
    "max_pool2d, ceil, no window in the padding": (lambda m, x: F(m).max_pool2d(x, 3, 4, 1, ceil_mode=True), (1, 2, 4, 8)),
    "avg_pool2d": (lambda m, x: F(m).avg_pool2d(x, 2), X),
    "avg_pool2d, overlapping, padded": (lambda m, x: F(m).avg_pool2d(x, 3, 2, 1), X),
    "avg_pool2d, padding not counted": (lambda m, x: F(m).avg_pool2d(x, 3, 2, 1, count_include_pad=False), X),
    "avg_pool2d, ceil": (lambda m, x: F(m).avg_pool2d(x, (3, 2), 2, 1, ceil_mode=True), X),
    "avg_pool2d, ceil, padding not counted": (lambda m, x: F(m).avg_pool2d(x, 2, 2, 1, True, False), (1, 2, 4, 3)),
    "avg_pool2d, divisor": (lambda m, x: F(m).avg_pool2d(x, 2, 1, 1, divisor_override=3), (1, 2, 3, 4)),
    "adaptive_avg_pool2d": (lambda m, x: F(m).adaptive_avg_pool2d(x, (3, 2)), (1, 2, 5, 7)),
    "adaptive_avg_pool2d, global": (lambda m, x: F(m).adaptive_avg_pool2d(x, 1), X),
    "adaptive_avg_pool2d, growing": (lambda m, x: F(m).adaptive_avg_pool2d(x, (None, 7)), (1, 2, 2, 3)),
    "adaptive_max_pool2d": (lambda m, x: F(m).adaptive_max_pool2d(x, (3, 2)), (1, 2, 5, 7)),
    "local_response_norm": (lambda m, x: F(m).local_response_norm(x, 3, alpha=1.0, beta=0.75, k=2.0), (1, 5, 2, 2)),
    "local_response_norm, even": (lambda m, x: F(m).local_response_norm(x, 4, alpha=2.0), (1, 6, 1, 2)),
    "local_response_norm, wider than the channels": (lambda m, x: F(m).local_response_norm(x, 7, 1.5, 0.5, 1.0), (2, 3, 2, 1)),
    "local_response_norm, lines": (lambda m, x: F(m).local_response_norm(x, 3, 1.0), (2, 4, 3)),
    "local_response_norm, defaults": (lambda m, x: F(m).local_response_norm(x * 100, 5), (1, 5, 2, 1)),
    "batch_norm": (lambda m, x, w, b: F(m).batch_norm(x, None, None, w, b, True), (3, 2, 2, 3), (2,), (2,)),
    "batch_norm of vectors": (lambda m, x, w, b: F(m).batch_norm(x, None, None, w, b, True, eps=1e-3), (5, 3), (3,), (3,)),
    "batch_norm of lines": (lambda m, x, w, b: F(m).batch_norm(x, None, None, w, b, True), (2, 3, 4), (3,), (3,)),
    "batch_norm without weights": (lambda m, x: F(m).batch_norm(x, None, None, training=True), (2, 3, 2, 2)),
    "batch_norm, inference": (lambda m, x, w, b: F(m).batch_norm(x, *running(m, x), w, b), (2, 3, 2, 2), (3,), (3,)),
    "batch_norm, inference without weights": (lambda m, x: F(m).batch_norm(x, *running(m, x)), (2, 3, 2, 2)),
    "batch_norm_relu": (lambda m, x, w, b: batch_norm_relu(m, x, w, b), (3, 2, 2, 3), (2,), (2,)),
    "batch_norm_relu without weights": (lambda m, x: batch_norm_relu(m, x, None, None), (2, 3, 2, 2)),
    "batch_norm_relu with a residual": (lambda m, x, w, b, add: batch_norm_relu(m, x, w, b, add), (3, 2, 2, 3), (2,), (2,), (3, 2, 2, 3)),
    "batch_norm_relu with itself": (lambda m, x: batch_norm_relu(m, x * 2, None, None, x), (3, 2, 2, 3)),
    "batch_norm_relu, inference": (lambda m, x, w, b, add: batch_norm_relu(m, x, w, b, add, running(m, x)), (2, 3, 2, 2), (3,), (3,), (2, 3, 2, 2)),
    "conv2d_relu": (lambda m, x, w, b: conv2d_relu(m, x, w, b, stride=2, padding=1), X, (4, 3, 3, 2), (4,)),
    "conv2d_relu without bias": (lambda m, x, w: conv2d_relu(m, x, w, None, groups=3), X, (6, 1, 2, 3)),
    "conv2d_relu of what is used elsewhere": (lambda m, x, w, b: conv2d_relu(m, x, w, b, padding=1) * x, X, (3, 3, 3, 3), (3,)),
    "relu": (lambda m, x: F(m).relu(x), X),
    "relu in place": (lambda m, x: F(m).relu(x * 2, inplace=True) * 3, X),
    "relu_": (lambda m, x: F(m).relu_(x * x - 0.3), X),
    "softmax": (lambda m, x: F(m).softmax(x * 3, 1), MAPS),
    "softmax of the last": (lambda m, x: F(m).softmax(x, dim=-1), SCORES),
    "log_softmax": (lambda m, x: F(m).log_softmax(x * 3, dim=1), MAPS),
    "cross_entropy": (lambda m, x: F(m).cross_entropy(x, labels(m, 0, 2, 1, 1)), SCORES),
    "cross_entropy, sum": (lambda m, x: F(m).cross_entropy(x, labels(m, 0, 2, 1, 1), reduction="sum"), SCORES),
    "cross_entropy, none": (lambda m, x: F(m).cross_entropy(x, labels(m, 0, 2, 1, 1), reduction="none"), SCORES),
    "cross_entropy, class weights": (lambda m, x: F(m).cross_entropy(x, labels(m, 0, 2, 1, 1), weights(m, x)), SCORES),
    "cross_entropy, ignored": (lambda m, x: F(m).cross_entropy(x, labels(m, 0, -100, 1, -100)), SCORES),
    "cross_entropy, smoothing": (lambda m, x: F(m).cross_entropy(x, labels(m, 0, 2, 1, 1), label_smoothing=0.1), SCORES),
    "cross_entropy, all options": (lambda m, x: F(m).cross_entropy(x, labels(m, 0, 1, 1, 2), weights(m, x), ignore_index=1, label_smoothing=0.3), SCORES),
    "cross_entropy, all options, none": (lambda m, x: F(m).cross_entropy(x, labels(m, [[0, 1], [2, 2]], [[1, 0], [-1, 2]]), weights(m, x), ignore_index=-1,
                                                                         label_smoothing=0.3, reduction="none"), MAPS),
    "cross_entropy of maps": (lambda m, x: F(m).cross_entropy(x, labels(m, [[0, 1], [2, 2]], [[1, 0], [0, 2]]), weights(m, x)), MAPS),
    "cross_entropy of one": (lambda m, x: F(m).cross_entropy(x, m.tensor(2), weights(m, x)), (3,)),
    "cross_entropy, probabilities": (lambda m, x, q: F(m).cross_entropy(x, F(m).softmax(q, 1)), SCORES, SCORES),
    "cross_entropy, probabilities, all options": (lambda m, x, q: F(m).cross_entropy(x, F(m).softmax(q, 1), weights(m, x), label_smoothing=0.2), MAPS, MAPS),
    "cross_entropy, probabilities, none": (lambda m, x, q: F(m).cross_entropy(x, F(m).softmax(q, 0), reduction="none"), (3,), (3,)),
    "nll_loss": (lambda m, x: F(m).nll_loss(x, labels(m, 0, 2, 1, 1)), SCORES),
    "nll_loss, all options": (lambda m, x: F(m).nll_loss(x, labels(m, [[0, 1], [2, 7]], [[1, 7], [0, 2]]), weights(m, x), ignore_index=7), MAPS),
    "nll_loss, none": (lambda m, x: F(m).nll_loss(x, labels(m, 0, 2, -100, 1), weights(m, x), reduction="none"), SCORES),
    "mse_loss": (lambda m, x, y: F(m).mse_loss(x, y), SCORES, SCORES),
    "mse_loss, sum": (lambda m, x, y: F(m).mse_loss(x, y, reduction="sum"), SCORES, SCORES),
    "mse_loss, none": (lambda m, x, y: F(m).mse_loss(x, y, reduction="none"), SCORES, SCORES),
    "pad": (lambda m, x: F(m).pad(x, (1, 2, 0, 1), value=0.5), (2, 1, 2, 3)),
    "pad, cropping": (lambda m, x: F(m).pad(x, (-1, 2, 1, -2)), X),
    "unfold": (lambda m, x: F(m).unfold(x, (2, 3), padding=(0, 1), stride=(2, 1)), (1, 2, 5, 3)),
    "unfold, dilated": (lambda m, x: F(m).unfold(x, 2, dilation=2), X),
    "fold": (lambda m, x: F(m).fold(x, (4, 3), (2, 3), padding=(0, 1), stride=(2, 1)), (1, 12, 6)),
    "fold, overlapping": (lambda m, x: F(m).fold(x, (3, 4), 2, dilation=(1, 2)), (2, 8, 4)),
}


def running(m, x):
    """Running mean and variance of three channels."""
    return m.tensor([0.5, -1.0, 0.0], dtype=x.dtype), m.tensor([2.0, 0.25, 1.0], dtype=x.dtype)
