"""Numbers for pages that nobody gave numbers for: small whole ones, so that a reader can check each sum in the head; an image where one is given."""
import numpy as np


def draw(shape, numbers, rng, whole=(-2, -1, 1, 2, 3)):
    """float32 of this shape: picked from a few whole numbers, or with numbers="normal" draws from the normal distribution."""
    return (rng.standard_normal(shape) if numbers == "normal" else rng.choice(whole, shape)).astype(np.float32)


def input_of(batch, channels, size, numbers, rng, picture=None, whole=range(5)):
    """x (batch, channels, *size): a picture if there is one, else numbers."""
    shape = (batch, channels, *size)
    x = draw(shape, numbers, rng, whole)
    if picture:
        x[:] = image(picture, shape)
    return x


def origin(picture, numbers, seed):
    """Where the numbers come from, for the page's last line."""
    return f" from {picture or 'random ' + ('whole' if numbers == 'whole' else 'normally distributed') + ' numbers'}, seed {seed}"


def image(path, shape):
    """The picture in a file as (1, C, H, W) of 0 to 1: scaled to H x W, grey for one channel, in colours for three."""
    from PIL import Image, UnidentifiedImageError
    _, C, H, W = shape
    if C not in (1, 3):
        raise ValueError(f"explain: an image has 1 channel (grey) or 3 (colours), not {C}; give --channels 1 or 3")
    try:
        with Image.open(path) as picture:
            picture = picture.convert("L" if C == 1 else "RGB").resize((W, H), Image.Resampling.BILINEAR)
    except UnidentifiedImageError as error:
        raise ValueError(f"explain: {path} is not an image that can be read") from error
    return np.asarray(picture, np.float32).reshape(H, W, C).transpose(2, 0, 1)[None] / 255
