"""What a transform is, and how several become one."""
import numpy as np


class Transform:
    """`transform(images, streams)`: a stack (N, H, W, C), or one image (H, W, C), to the same of what it makes. A subclass defines `apply` for a stack.

    `streams` are the random numbers (Streams, one stream per image); a transform with `random = False` needs none. The input is never written to.
    """

    random = False

    def apply(self, images, streams):
        raise NotImplementedError(f"{type(self).__name__} has no apply(images, streams)")

    def __call__(self, images, streams=None):
        images = np.asarray(images)
        if images.ndim < 3:
            raise ValueError(f"{self}: expected an image (H, W, C) or a stack (N, H, W, C), got the shape {images.shape}")
        one = images.ndim == 3
        if self.random and (streams is None or len(streams) != (1 if one else len(images))):
            given = "none were given" if streams is None else f"there are {len(streams)} streams for {1 if one else len(images)} images"
            raise ValueError(f"{self}: needs random numbers, streams=Streams((seed, epoch), indices) with one index per image; {given}")
        return self.apply(images[None], streams)[0] if one else self.apply(images, streams)

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in vars(self).items() if not name.startswith('_'))})"


class Compose(Transform):
    """One transform after the other."""

    def __init__(self, transforms):
        self.transforms = [checked(transform, "Compose") for transform in transforms]
        self.random = any(transform.random for transform in self.transforms)

    def apply(self, images, streams):
        for transform in self.transforms:
            images = transform(images, streams)
        return images

    def __repr__(self):
        return f"Compose({self.transforms})"


class Lambda(Transform):
    """A function of your own, from a stack (N, H, W, C) to a stack."""

    def __init__(self, function):
        self.function = function

    def apply(self, images, streams):
        return self.function(images)


def checked(transform, where):
    """`transform`, if it is one."""
    if not isinstance(transform, Transform):
        raise TypeError(f"{where}: {transform!r} is not a Transform; wrap a function of images (N, H, W, C) in Lambda")
    return transform
