"""A dropout mask that is drawn again

The backward must drop what the forward dropped. To save memory the mask is not kept but drawn again, as when a checkpointed block is computed a second time,
and nobody puts the generator back to where it was.

Seen in: openai/guided-diffusion, issue 167 (2025), https://github.com/openai/guided-diffusion/issues/167; allenai/OLMo-core, pull request 828 (2026)
"""
import numpy as np

from tinycnn.museum.tools import normal, size


def inputs(rng):
    return normal(rng, size(rng, 3, 5), size(rng, 4, 6)), 0.5


CACHE = True  # forward returns (y, what the backward needs), backward gets (dy, that)


def forward(x, p):
    mask = (np.random.random(x.shape) >= p) / (1 - p)
    return x * mask, (mask.shape, p, mask)


def backward(dy, cache):
    shape, p, _ = cache
    return dy * (np.random.random(shape) >= p) / (1 - p)


# ---- the repair

FAMILY = "random"


def repaired(dy, cache):
    _, _, mask = cache
    return dy * mask
