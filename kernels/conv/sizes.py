"""All extents of one convolution, in one tuple."""
from functools import lru_cache
from typing import NamedTuple


class Sizes(NamedTuple):
    """x is (N, C, H, W), w is (K, C/G, R, S), y is (N, K, P, Q). Numba kernels take it as it is."""

    N: int
    C: int
    H: int
    W: int
    K: int
    R: int
    S: int
    P: int
    Q: int
    G: int

    @property
    def flops(self):
        """Multiplications and additions, of any of the three forms."""
        return 2 * self.N * self.K * self.P * self.Q * (self.C // self.G) * self.R * self.S


@lru_cache(maxsize=4096)
def sizes(x_shape, w_shape, geometry):
    """The Sizes of filters (K, C/groups, R, S) on images (N, C, H, W). Raises ValueError where the filter does not fit."""
    return Sizes(*x_shape, w_shape[0], *w_shape[2:], *geometry.output_size(x_shape[2:], w_shape[2:]), geometry.groups)
