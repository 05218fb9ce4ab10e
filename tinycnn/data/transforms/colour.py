"""Transforms that change pixel values. All but ToFloat and RGB work on floating-point pixels, so ToFloat() comes before them.

Sources: AlexNet (Krizhevsky, Sutskever, Hinton 2012): PCA colour noise. Howard 2013, used by GoogLeNet: photometric distortions.
"""
import numpy as np

from .base import Transform

# Mean and standard deviation of ImageNet's pixels in [0, 1]: what torchvision's weights were trained with.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Eigenvalues, and eigenvectors as columns, of the covariance of ImageNet's RGB pixels in [0, 1], as Facebook's ResNet training published them.
IMAGENET_EIGENVALUES = (0.2175, 0.0188, 0.0045)
IMAGENET_EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # how bright red, green and blue look (ITU-R BT.601)


class ToFloat(Transform):
    """uint8 to float32 in [0, 1]: divided by 255. ToFloat(divisor=1) keeps the values of 0 to 255. Floating-point pixels are left as they are."""

    def __init__(self, divisor=255):
        self.divisor = divisor

    def apply(self, images, streams):
        return images if images.dtype.kind == "f" else np.divide(images, np.float32(self.divisor), dtype=np.float32)


class RGB(Transform):
    """Grey images as colour images whose three channels are equal."""

    def apply(self, images, streams):
        if images.shape[-1] not in (1, 3):
            raise ValueError(f"RGB: expected 1 or 3 channels, got images {images.shape}")
        return images if images.shape[-1] == 3 else np.repeat(images, 3, axis=-1)


class Normalize(Transform):
    """(image - mean) / std, one number per channel each (or one for all; or a whole mean image (H, W, C))."""

    def __init__(self, mean, std):
        self.mean, self.std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
        if not np.all(self.std > 0):
            raise ValueError(f"Normalize: std is {std}; it should be positive")

    def apply(self, images, streams):
        images = floating(images, self) - self._rows(self.mean, images.shape[-3:])
        images /= self._rows(self.std, images.shape[-3:])
        return images

    def _rows(self, values, image_shape):
        """Values per channel repeated along a row of pixels, (W, C): NumPy is much faster at adding long rows than three numbers at a time."""
        W, C = image_shape[1:]
        if values.shape not in ((), (1,), (C,), image_shape):
            raise ValueError(f"{type(self).__name__}: mean and std should be one number per channel, or for an image {image_shape}; they are of shape {values.shape}")
        return values if values.ndim == 3 else np.ascontiguousarray(np.broadcast_to(values, (W, C)))


class SubtractMean(Normalize):
    """image - mean: AlexNet's only preprocessing. mean: one number per channel, or a whole mean image (H, W, C)."""

    def __init__(self, mean):
        super().__init__(mean, 1)


class PCANoise(Transform):
    """AlexNet's colour noise: each image is shifted along the principal components p_i of the pixels' colours,

        by  sum over i of  p_i * lambda_i * a_i,     a_i from a normal distribution of standard deviation sigma, drawn once per image.

    lambda_i are the eigenvalues of the covariance matrix, which grow with the square of the pixels' scale: they are for pixels in [0, 1]. ImageNet's are the default.
    """

    random = True

    def __init__(self, eigenvalues=IMAGENET_EIGENVALUES, eigenvectors=IMAGENET_EIGENVECTORS, sigma=0.1):
        self.eigenvalues, self.eigenvectors, self.sigma = np.asarray(eigenvalues, np.float64), np.asarray(eigenvectors, np.float64), sigma
        if self.eigenvalues.ndim != 1 or self.eigenvectors.shape != self.eigenvalues.shape * 2:
            raise ValueError(f"PCANoise: eigenvalues should be (C,) and eigenvectors, in columns, (C, C); "
                             f"they are {self.eigenvalues.shape} and {self.eigenvectors.shape}")

    @classmethod
    def of(cls, dataset, sigma=0.1):
        """With the principal components of a dataset's own pixels."""
        _, covariance = channel_statistics(dataset)
        return cls(*np.linalg.eigh(covariance), sigma)

    def apply(self, images, streams):
        images, C = floating(images, self), len(self.eigenvalues)
        if images.shape[-1] != C:
            raise ValueError(f"PCANoise: the principal components are of {C} channels, the images have {images.shape[-1]}")
        weights = streams.normal(self.sigma, count=C) * self.eigenvalues  # (N, C)
        shifts = (weights[:, None, :] * self.eigenvectors).sum(axis=-1)  # not a matrix product: BLAS rounds one row and many rows differently
        return images + shifts.astype(images.dtype).reshape(len(images), *[1] * (images.ndim - 2), C)  # the same for every pixel of an image


class PhotometricDistortion(Transform):
    """Howard's distortions: brightness, contrast and saturation, in random order, each scaled by a random factor in [1 - strength, 1 + strength]. Pixels in [0, 1].

    Each mixes the image with another one, `other + factor * (image - other)`: black for brightness; its mean grey for contrast; its own grey version for saturation.
    """

    random = True

    def __init__(self, brightness=0.5, contrast=0.5, saturation=0.5):
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation
        if not all(0 <= strength <= 1 for strength in (brightness, contrast, saturation)):
            raise ValueError(f"PhotometricDistortion: brightness {brightness}, contrast {contrast} and saturation {saturation} should be in [0, 1]")

    def apply(self, images, streams):
        images = floating(images, self).copy()
        strengths = np.array([self.brightness, self.contrast, self.saturation])
        factors = streams.uniform(1 - strengths, 1 + strengths, count=3)  # (N, 3)
        orders = np.argsort(streams.bits(count=3), axis=1)
        for image, order, factor in zip(images, orders.tolist(), factors.astype(images.dtype)):
            for which in order:
                other = (0, grey(image).mean(dtype=images.dtype), grey(image))[which]
                image[...] = np.clip(other + factor[which] * (image - other), 0, 1)
        return images


def grey(image):
    """The brightness (..., H, W, 1) of an image (..., H, W, C) of one or three channels."""
    if image.shape[-1] == 1:
        return image
    return (image * LUMA.astype(image.dtype)).sum(axis=-1, keepdims=True)


def channel_statistics(dataset):
    """The mean (C,) and the covariance (C, C) of a dataset's pixels in [0, 1]; the square root of the covariance's diagonal is the `std` of Normalize.

    Sums of whole numbers are exact, so the result does not depend on their order, which with floats is BLAS's and its threads' to choose.
    """
    count, total, products = 0, 0, 0
    for start in range(0, len(dataset), 256):
        indices = range(start, min(start + 256, len(dataset)))
        for images in [dataset.take(np.array(indices))[0]] if hasattr(dataset, "take") else (dataset[i][0] for i in indices):
            pixels = images.reshape(-1, images.shape[-1]).astype(np.int64)  # 0 to 255
            count, total, products = count + len(pixels), total + pixels.sum(axis=0), products + pixels.T @ pixels
    if count == 0:
        raise ValueError(f"channel_statistics: {dataset!r} has no images")
    mean = total / count / 255
    return mean, products / count / 255**2 - np.outer(mean, mean)


def floating(images, transform):
    if images.dtype.kind != "f":
        raise TypeError(f"{type(transform).__name__}: pixels should be floating-point, they are {images.dtype}; put ToFloat() before it")
    return images
