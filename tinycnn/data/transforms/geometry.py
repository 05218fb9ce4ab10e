"""Transforms that move pixels: padding, resizing, cropping, flipping.

Sources: AlexNet (Krizhevsky, Sutskever, Hinton 2012): short side to 256, random crops, flips, ten crops at the test. VGG (Simonyan, Zisserman 2015): scale jitter.
GoogLeNet (Szegedy et al. 2015): crops of 8-100% of the area. CIFAR ResNets (He et al. 2015): pad by 4, crop, flip.
"""
import math

import numpy as np

from .base import Transform


class Pad(Transform):
    """`padding` pixels of value `fill` around each image: one number, (horizontal, vertical), or (left, top, right, bottom)."""

    def __init__(self, padding, fill=0):
        sides = (padding,) * 4 if isinstance(padding, int) else tuple(padding) * (2 if len(padding) == 2 else 1)
        if len(sides) != 4 or min(sides) < 0:
            raise ValueError(f"Pad: padding is {padding}; it should be one number, (horizontal, vertical) or (left, top, right, bottom), none of them negative")
        self.padding, self.fill = sides, fill

    def apply(self, images, streams):
        left, top, right, bottom = self.padding
        return np.pad(images, [(0, 0)] * (images.ndim - 3) + [(top, bottom), (left, right), (0, 0)], constant_values=self.fill)


class Resize(Transform):
    """Resize by Pillow. size: a number for the short side, the other in proportion (rounded down, as torchvision does), or (height, width)."""

    def __init__(self, size, interpolation="bilinear"):
        self.size, self.interpolation = size if isinstance(size, int) else pair(size, "Resize"), interpolation

    def apply(self, images, streams):
        size = short_side(images.shape[-3:-1], self.size) if isinstance(self.size, int) else self.size
        flat = images.reshape(math.prod(images.shape[:-3]), *images.shape[-3:])
        return stack_of([resize(image, size, self.interpolation) for image in flat], flat, size).reshape(*images.shape[:-3], *size, images.shape[-1])


class CenterCrop(Transform):
    """The middle `size` (a number, or (height, width)) of each image."""

    def __init__(self, size):
        self.size = pair(size, "CenterCrop")

    def apply(self, images, streams):
        (H, W), (h, w) = room_for(self, images)
        return crop(images, round((H - h) / 2), round((W - w) / 2), h, w)


class TenCrop(Transform):
    """The four corners and the centre, then the same five of the mirrored image: (N, H, W, C) becomes (N, 10, h, w, C). AlexNet's test; average the ten softmaxes."""

    def __init__(self, size):
        self.size = pair(size, "TenCrop")

    def apply(self, images, streams):
        (H, W), (h, w) = room_for(self, images)
        corners = [(0, 0), (0, W - w), (H - h, 0), (H - h, W - w), (round((H - h) / 2), round((W - w) / 2))]
        return np.stack([crop(view, top, left, h, w) for view in (images, mirrored(images)) for top, left in corners], axis=1)


class RandomCrop(Transform):
    """A random `size` of each image, after padding by `padding` with `fill`. CIFAR's pad-and-crop is RandomCrop(32, padding=4)."""

    random = True

    def __init__(self, size, padding=0, fill=0):
        self.size, self.padding, self.fill = pair(size, "RandomCrop"), padding, fill

    def apply(self, images, streams):
        images = Pad(self.padding, self.fill)(images) if self.padding else images
        (H, W), (h, w) = room_for(self, images)
        tops, lefts = streams.integers(0, H - h), streams.integers(0, W - w)
        crops = np.empty((*images.shape[:-3], h, w, images.shape[-1]), images.dtype)
        for image, top, left, cropped in zip(images, tops.tolist(), lefts.tolist(), crops):
            cropped[...] = crop(image, top, left, h, w)
        return crops


class RandomHorizontalFlip(Transform):
    """Each image mirrored with probability p."""

    random = True

    def __init__(self, p=0.5):
        self.p = p

    def apply(self, images, streams):
        flip = streams.uniform() < self.p
        images = images.copy()
        images[flip] = mirrored(images[flip])
        return images


class RandomResizedCrop(Transform):
    """A crop of `scale` of the area and of aspect ratio `ratio` (width : height), both random, resized to `size`: GoogLeNet's augmentation.

    As torchvision does: the logarithm of the ratio is uniform; ten attempts to find a crop that fits; then the largest central one within the ratios.
    """

    random = True
    attempts = 10

    def __init__(self, size, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), interpolation="bilinear"):
        if not (0 < scale[0] <= scale[1] and 0 < ratio[0] <= ratio[1]):
            raise ValueError(f"RandomResizedCrop: scale {scale} and ratio {ratio} should be (low, high) with 0 < low <= high")
        self.size, self.scale, self.ratio, self.interpolation = pair(size, "RandomResizedCrop"), tuple(scale), tuple(ratio), interpolation

    def apply(self, images, streams):
        boxes = self.boxes(images.shape[1:3], streams)
        return stack_of([resize(crop(image, *box), self.size, self.interpolation) for image, box in zip(images, boxes.tolist())], images, self.size)

    def boxes(self, image_size, streams):
        """(top, left, height, width) of each crop, (N, 4)."""
        H, W = image_size
        area = H * W * streams.uniform(*self.scale, count=self.attempts)  # (N, attempts)
        ratio = np.exp(streams.uniform(*np.log(self.ratio), count=self.attempts))
        heights, widths = (np.rint(np.sqrt(square)).astype(np.int64) for square in (area / ratio, area * ratio))
        fits = (0 < heights) & (heights <= H) & (0 < widths) & (widths <= W)
        found, first = fits.any(axis=1), (np.arange(len(fits)), fits.argmax(axis=1))  # argmax: the first attempt that fits
        h, w = (np.where(found, sides[first], side) for sides, side in zip((heights, widths), self._central(H, W)))
        top, left = streams.integers(0, H - h), streams.integers(0, W - w)
        return np.stack([np.where(found, top, (H - h) // 2), np.where(found, left, (W - w) // 2), h, w], axis=1)

    def _central(self, H, W):
        """The largest crop within the ratios: what is left when no attempt fits, as in a very long image."""
        low, high = self.ratio
        return (max(1, round(W / low)), W) if W / H < low else (H, max(1, round(H * high))) if W / H > high else (H, W)


class ScaleJitterCrop(Transform):
    """VGG's scale jitter: the short side resized to a random S in [min_size, max_size], then a random crop of `size`."""

    random = True

    def __init__(self, size, min_size=256, max_size=512, interpolation="bilinear"):
        self.size, self.min_size, self.max_size, self.interpolation = pair(size, "ScaleJitterCrop"), min_size, max_size, interpolation
        if not max(self.size) <= min_size <= max_size:
            raise ValueError(f"ScaleJitterCrop: the crop {self.size} should fit into min_size {min_size}, and that be at most max_size {max_size}")

    def apply(self, images, streams):
        sizes = [short_side(images.shape[1:3], S) for S in streams.integers(self.min_size, self.max_size).tolist()]
        heights, widths = np.array(sizes, np.int64).reshape(-1, 2).T
        h, w = self.size
        tops, lefts = streams.integers(0, heights - h).tolist(), streams.integers(0, widths - w).tolist()
        return stack_of([crop(resize(image, size, self.interpolation), top, left, h, w) for image, size, top, left in zip(images, sizes, tops, lefts)], images, self.size)


def crop(images, top, left, h, w):
    """The rectangle of h x w at (top, left): a view of (..., H, W, C)."""
    return images[..., top:top + h, left:left + w, :]


def mirrored(images):
    """Left and right exchanged: a view of (..., H, W, C)."""
    return images[..., ::-1, :]


def short_side(image_size, S):
    """(height, width) in the proportions of `image_size`, the shorter one S."""
    H, W = image_size
    return (S, int(S * W / H)) if H <= W else (int(S * H / W), S)


def resize(image, size, interpolation):
    """`image` (H, W, C) of uint8 or float32 resized to (height, width) by Pillow, which averages over all source pixels where it shrinks."""
    from PIL import Image
    if image.shape[:2] == tuple(size):
        return image
    method = {method.name.lower(): method for method in Image.Resampling}.get(interpolation)
    if method is None:
        raise ValueError(f"resize: unknown interpolation {interpolation!r}: there are {', '.join(method.name.lower() for method in Image.Resampling)}")
    if image.dtype not in (np.uint8, np.float32):
        raise TypeError(f"resize: images should be uint8 or float32, they are {image.dtype}")
    if 0 in image.shape or min(size) < 1:
        raise ValueError(f"resize: from an image of {image.shape} to {tuple(size)}: neither may be empty")
    if image.dtype == np.uint8 and image.shape[2] == 3:
        return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size[::-1], method))
    channels = [Image.fromarray(np.ascontiguousarray(image[..., c])) for c in range(image.shape[2])]  # Pillow has no float image of several channels
    return np.stack([np.asarray(channel.resize(size[::-1], method)) for channel in channels], axis=-1)


def stack_of(results, images, size):
    """The resized or cropped `results` as one array; empty, but of the right shape, if `images` were none."""
    return np.stack(results) if results else np.empty((0, *size, images.shape[-1]), images.dtype)


def pair(size, who):
    """(height, width) from one number or two."""
    both = (size, size) if isinstance(size, int) else tuple(size)
    if len(both) != 2 or min(both) < 1:
        raise ValueError(f"{who}: size is {size}; it should be one positive number or (height, width)")
    return both


def room_for(transform, images):
    """(H, W) of the images and (h, w) of the crop. ValueError where it does not fit."""
    (H, W), (h, w) = images.shape[-3:-1], transform.size
    if h > H or w > W:
        raise ValueError(f"{type(transform).__name__}: a crop of {h}x{w} does not fit an image of {H}x{W}; put Resize or Pad before it")
    return (H, W), (h, w)
