"""Convolutions and transposed convolutions: small, odd, and every option where it can go wrong."""

# input (N, C, H, W), weight, options
CONV = {
    "plain": ((2, 3, 5, 6), (4, 3, 3, 3), {}),
    "stride leaves rows over": ((1, 2, 6, 7), (3, 2, 3, 3), dict(stride=3)),
    "stride above the filter": ((1, 2, 7, 7), (2, 2, 2, 2), dict(stride=3)),
    "uneven": ((2, 2, 7, 6), (3, 2, 3, 2), dict(stride=(2, 1), padding=(1, 2), dilation=(1, 2))),
    "dilation = stride": ((1, 2, 7, 7), (2, 2, 3, 3), dict(stride=2, dilation=2, padding=2)),
    "groups": ((2, 4, 4, 4), (6, 2, 3, 3), dict(padding=1, groups=2)),
    "depthwise": ((1, 3, 5, 5), (3, 1, 3, 3), dict(padding=1, stride=2, groups=3)),
    "one by one, strided, padded": ((2, 3, 4, 4), (2, 3, 1, 1), dict(stride=2, padding=1)),
    "same": ((1, 2, 4, 5), (2, 2, 3, 3), dict(padding="same")),
    "same, even filter": ((1, 2, 4, 5), (2, 2, 2, 4), dict(padding="same")),
    "filter as large as the padded input": ((1, 1, 2, 3), (2, 1, 4, 5), dict(padding=1)),
}
TRANSPOSED = {
    "plain": ((2, 3, 3, 4), (3, 4, 3, 3), {}),
    "stride": ((1, 2, 3, 3), (2, 3, 3, 3), dict(stride=2, padding=1, output_padding=1)),
    "groups": ((1, 4, 3, 3), (4, 2, 2, 3), dict(stride=(2, 1), groups=2)),
    "dilation": ((1, 2, 3, 3), (2, 2, 3, 3), dict(dilation=2, padding=1)),
}
