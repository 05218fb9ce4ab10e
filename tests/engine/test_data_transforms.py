"""Each transform against an independent, simple computation: Pillow on the whole image, pixel-by-pixel loops, PyTorch's resampling, the formula of the paper."""
from itertools import permutations

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from tolerance import close

from tinycnn.data import ArrayDataset, Streams
from tinycnn.data import transforms as T


def draw(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def streams(n, key=(0, 0)):
    return Streams(key, np.arange(n))


def numbered(N, H, W):
    """A stack whose every pixel says where it is: channels (image, row + 1, column + 1), so that padding (0) differs from all."""
    return np.stack(np.meshgrid(np.arange(N), np.arange(1, H + 1), np.arange(1, W + 1), indexing="ij"), axis=-1).astype(np.uint8)


RANDOM = {
    "crop": T.RandomCrop((5, 4)), "pad and crop": T.RandomCrop(8, padding=2, fill=9), "flip": T.RandomHorizontalFlip(), "resized crop": T.RandomResizedCrop((6, 5)),
    "scale jitter": T.ScaleJitterCrop(5, 6, 9), "pca": T.Compose([T.ToFloat(), T.PCANoise()]), "photometric": T.Compose([T.ToFloat(), T.PhotometricDistortion()]),
    "all": T.Compose([T.RandomResizedCrop(7), T.RandomHorizontalFlip(), T.ToFloat(), T.PhotometricDistortion(), T.PCANoise(), T.Normalize([0.5], [0.2])]),
}
FIXED = {
    "pad": T.Pad((1, 2)), "resize": T.Resize(4), "centre": T.CenterCrop(3), "ten": T.Compose([T.TenCrop(5), T.ToFloat()]), "float": T.ToFloat(), "rgb": T.RGB(),
    "normalize": T.Compose([T.ToFloat(), T.Normalize([0.1, 0.2, 0.3], [1, 2, 3])]), "lambda": T.Lambda(lambda images: images // 2),
}


@pytest.mark.parametrize("name", [*RANDOM, *FIXED])
def test_a_stack_is_its_images_one_by_one(name):
    """Bit for bit, and the input is left alone. Kills: one random number for the whole stack, numbers that depend on the batch, writing into the caller's images."""
    transform, images = (RANDOM | FIXED)[name], draw(12, 8, 9, 3)
    before, indices = images.copy(), np.arange(12) * 7
    together = transform(images, Streams((1, 2), indices))
    for image, index, expected in zip(images, indices, together):
        np.testing.assert_array_equal(transform(image, Streams((1, 2), [index])), expected, strict=True)
    np.testing.assert_array_equal(images, before)
    empty = transform(images[:0], Streams((1, 2), []))
    assert empty.shape == (0, *together.shape[1:]) and empty.dtype == together.dtype


@pytest.mark.parametrize("name", RANDOM)
def test_randomness_follows_the_streams(name):
    """Kills: a generator of its own inside a transform; an epoch that changes nothing; a missing stream passed over."""
    transform, images = RANDOM[name], draw(12, 8, 9, 3)
    first = transform(images, Streams((1, 2), np.arange(12)))
    np.testing.assert_array_equal(transform(images, Streams((1, 2), np.arange(12))), first)
    assert np.any(transform(images, Streams((1, 3), np.arange(12))) != first)
    for wrong in (None, Streams((1, 2), [0])):
        with pytest.raises(ValueError, match="needs random numbers"):
            transform(images, wrong)


@pytest.mark.parametrize(("padding", "sides"), [(2, (2, 2, 2, 2)), ((1, 3), (1, 3, 1, 3)), ((0, 1, 2, 3), (0, 1, 2, 3))])
def test_pad(padding, sides):
    """Pixel by pixel. Kills: sides in another order, a fill that is ignored."""
    left, top, right, bottom = sides
    image, padded = draw(4, 5, 3), T.Pad(padding, fill=7)(draw(4, 5, 3))
    assert padded.shape == (4 + top + bottom, 5 + left + right, 3)
    for h in range(padded.shape[0]):
        for w in range(padded.shape[1]):
            inside = 0 <= h - top < 4 and 0 <= w - left < 5
            assert np.all(padded[h, w] == (image[h - top, w - left] if inside else 7))


@pytest.mark.parametrize(("image", "size", "expected"), [((10, 20), 5, (5, 10)), ((20, 10), 5, (10, 5)), ((7, 7), 5, (5, 5)), ((480, 641), 256, (256, 341)),
                                                         ((641, 480), 256, (341, 256)), ((10, 20), (3, 4), (3, 4)), ((4, 4), 4, (4, 4))])
def test_resize_sizes(image, size, expected):
    """The short side, the other rounded down. Kills: the long side taken, height and width exchanged, rounding to the nearest."""
    assert T.Resize(size)(np.zeros((*image, 1), np.uint8)).shape == (*expected, 1)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "box"])
def test_resize_is_pillows(interpolation):
    """Kills: another filter; channels mixed; a stack reshaped in the wrong order; the crops of TenCrop not resized."""
    images = draw(2, 10, 11, 13, 3)  # as TenCrop leaves them
    resized = T.Resize((5, 4), interpolation)(images)
    for n in range(2):
        for i in range(10):
            expected = Image.fromarray(images[n, i]).resize((4, 5), Image.Resampling[interpolation.upper()])
            np.testing.assert_array_equal(resized[n, i], np.asarray(expected), strict=True)
    np.testing.assert_array_equal(T.Resize((5, 4), interpolation)(images[..., :1]), resized[..., :1], strict=True)
    np.testing.assert_array_equal(T.Resize((5, 4), interpolation)(images[..., :2]), resized[..., :2], strict=True)


@pytest.mark.torch
@pytest.mark.parametrize("size", [(5, 4), (17, 9), (20, 30)])
def test_resize_of_floats_agrees_with_pytorch(size):
    """Kills: float images rounded to 8 bits, pixel centres half a pixel off, no averaging where the image shrinks."""
    import torch
    image = np.random.default_rng(0).random((11, 13, 3), np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()), size, mode="bilinear", antialias=True, align_corners=False)
    close(T.Resize(size)(image), expected[0].permute(1, 2, 0).numpy(), length=13)


@pytest.mark.parametrize(("H", "W", "size"), [(8, 9, 4), (9, 8, (5, 2)), (7, 7, 4), (5, 5, 5), (9, 6, (4, 3))])
def test_center_crop(H, W, size):
    """Kills: off-centre by more than rounding, height and width exchanged, rounding other than half to even, as torchvision's."""
    h, w = (size, size) if isinstance(size, int) else size
    cropped = T.CenterCrop(size)(numbered(1, H, W))[0]
    assert cropped.shape == (h, w, 3)
    expected = {(8, 4): 2, (9, 4): 2, (9, 5): 2, (8, 2): 3, (7, 4): 2, (5, 5): 0, (6, 3): 2}  # what is before the crop: half of the rest, .5 to the even number
    assert cropped[0, 0, 1:].tolist() == [expected[H, h] + 1, expected[W, w] + 1] and cropped[-1, -1, 1:].tolist() == [expected[H, h] + h, expected[W, w] + w]


def test_ten_crop():
    """The corners' pixels, in torchvision's order. Kills: a corner twice, flipped crops of unflipped places, the crops mixed up with the images."""
    crops = T.TenCrop((2, 3))(numbered(4, 6, 9))
    assert crops.shape == (4, 10, 2, 3, 3)
    corners = [(1, 1), (1, 7), (5, 1), (5, 7), (3, 4)]
    for n in range(4):
        assert [tuple(crop[0, 0]) for crop in crops[n, :5]] == [(n, top, left) for top, left in corners]
        assert [tuple(crop[0, 0]) for crop in crops[n, 5:]] == [(n, top, 10 - left) for top, left in corners]  # mirrored: column c is column 10 - c
        assert np.all(np.diff(crops[n, :5, 0, :, 2].astype(int)) == 1) and np.all(np.diff(crops[n, 5:, 0, :, 2].astype(int)) == -1)


@pytest.mark.parametrize(("size", "padding"), [((3, 4), 0), ((3, 4), 2), (4, (1, 2, 0, 3)), ((6, 7), 0)])
def test_random_crop(size, padding):
    """Every crop is a window of the padded image, and every window comes. Kills: the last position never drawn, rows tied to columns, padding on one side only."""
    N, h, w = 2000, *((size, size) if isinstance(size, int) else size)
    left, top, right, bottom = (padding,) * 4 if isinstance(padding, int) else padding
    images = numbered(1, 6, 7)[0]
    padded = np.pad(images, ((top, bottom), (left, right), (0, 0)), constant_values=99)
    windows = {padded[a:a + h, b:b + w].tobytes() for a in range(len(padded) - h + 1) for b in range(padded.shape[1] - w + 1)}
    crops = T.RandomCrop(size, padding, fill=99)(np.broadcast_to(images, (N, 6, 7, 3)), streams(N))
    assert {crop.tobytes() for crop in crops} == windows


def test_random_horizontal_flip():
    """Kills: a flip of rows, a probability of 1 - p, a flip that depends on its neighbours."""
    images = numbered(1000, 2, 5)
    flipped = T.RandomHorizontalFlip(0.3)(images, streams(1000))
    mirrored = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert np.all(mirrored | (flipped == images).all(axis=(1, 2, 3))) and 0.25 < mirrored.mean() < 0.35
    assert T.RandomHorizontalFlip(0)(images, streams(1000)).tolist() == images.tolist()


def test_random_resized_crop_draws_googlenets_boxes():
    """Area 8-100%, ratio 3/4-4/3, uniform in area and in log ratio, anywhere. Kills: a root lost, width and height exchanged, the share of a side."""
    N, H, W = 20_000, 100, 100
    top, left, h, w = T.RandomResizedCrop(8).boxes((H, W), streams(N)).T
    assert np.all((top >= 0) & (left >= 0) & (h > 0) & (w > 0) & (top + h <= H) & (left + w <= W))
    area, ratio = h * w / (H * W), w / h
    assert area.min() < 0.085 and area.min() > 0.075 and area.max() > 0.97 and 0.73 < ratio.min() < 0.77 and 1.3 < ratio.max() < 1.37
    assert abs(np.mean(np.log(ratio))) < 0.01
    small = area < 0.5  # never rejected here, hence uniform: 0.08 to 0.5
    assert abs(area[small].mean() - 0.29) < 0.005 and abs(np.corrcoef(area[small], ratio[small])[0, 1]) < 0.03
    places = [(start / np.maximum(whole - side, 1))[small] for start, side, whole in ((top, h, H), (left, w, W))]
    assert all(abs(place.mean() - 0.5) < 0.01 and abs(place.var() - 1 / 12) < 0.005 for place in places)
    assert abs(np.corrcoef(places)[0, 1]) < 0.03
    top, left, h, w = T.RandomResizedCrop(8, scale=(0.25, 0.25), ratio=(2, 2)).boxes((40, 60), streams(5)).T
    assert h.tolist() == [17] * 5 and w.tolist() == [35] * 5  # 17.3 x 34.6: a quarter of 2400, twice as wide as high


@pytest.mark.parametrize(("image", "expected"), [((3, 300), (0, 148, 3, 4)), ((300, 3), (148, 0, 4, 3)), ((1, 1), (0, 0, 1, 1))])
def test_random_resized_crop_of_an_impossible_shape(image, expected):
    """No crop of the asked area fits: the largest central one. Kills: an endless loop, a crop outside the image."""
    assert T.RandomResizedCrop(8, scale=(0.9, 1)).boxes(image, streams(3)).tolist() == [list(expected)] * 3


def test_random_resized_crop_cuts_its_box():
    """Against Pillow's crop and resize. Kills: rows and columns exchanged between box and image."""
    images, transform = draw(6, 20, 30, 3), T.RandomResizedCrop((8, 9))
    for image, (top, left, h, w), result in zip(images, transform.boxes((20, 30), streams(6)), transform(images, streams(6))):
        expected = Image.fromarray(image).crop((left, top, left + w, top + h)).resize((9, 8), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(result, np.asarray(expected))


def test_scale_jitter_crop():
    """Every result is a window of the image resized to some S in the range, and all S come. Kills: an end of the range left out, one S for all, only corners."""
    image, N = draw(10, 12, 3), 200
    results = T.ScaleJitterCrop((6, 7), 7, 9)(np.broadcast_to(image, (N, 10, 12, 3)), streams(N))
    windows = {}
    for S in (7, 8, 9):
        scaled = np.asarray(Image.fromarray(image).resize((int(S * 1.2), S), Image.Resampling.BILINEAR))
        windows[S] = {scaled[a:a + 6, b:b + 7].tobytes() for a in range(S - 5) for b in range(scaled.shape[1] - 6)}
    drawn = {result.tobytes() for result in results}
    assert drawn <= set.union(*windows.values())
    assert all(len(drawn & windows[S]) > 0.9 * len(windows[S]) for S in windows)


def test_to_float_and_normalize():
    """Kills: 256 for 255, float64 results, std before mean, channels of the wrong axis, a mean image not taken."""
    images = draw(2, 3, 4, 3)
    scaled = T.ToFloat()(images)
    assert scaled.dtype == np.float32
    close(scaled, images / 255.0, dtype=np.float32)
    np.testing.assert_array_equal(T.ToFloat(divisor=1)(images), images.astype(np.float32), strict=True)
    assert T.ToFloat()(scaled) is scaled
    normal = T.Normalize(T.IMAGENET_MEAN, T.IMAGENET_STD)(scaled)
    assert normal.dtype == np.float32
    for c in range(3):
        close(normal[..., c], (images[..., c] / 255.0 - T.IMAGENET_MEAN[c]) / T.IMAGENET_STD[c], dtype=np.float32)
    mean_image = scaled.mean(axis=0)
    close(T.SubtractMean(mean_image)(scaled), scaled - mean_image)
    close(T.Normalize(0.5, 0.25)(scaled[..., :1]), (scaled[..., :1] - 0.5) * 4)


def test_rgb():
    """Kills: colours repeated to nine channels, an axis of the image repeated."""
    grey = draw(2, 4, 5, 1)
    np.testing.assert_array_equal(T.RGB()(grey), np.concatenate([grey, grey, grey], axis=-1), strict=True)
    colour = draw(2, 4, 5, 3)
    assert T.RGB()(colour) is colour


def test_pca_noise_moves_along_the_principal_components():
    """The paper's formula, from the shifts themselves. Kills: eigenvectors as rows, an eigenvalue's root, sigma lost, noise per pixel, one draw for all."""
    N = 20_000
    noise = T.PCANoise(sigma=0.2)
    shifts = noise(np.full((N, 2, 1, 3), 0.5, np.float32), streams(N)).astype(np.float64) - 0.5
    np.testing.assert_array_equal(shifts[:, 0], shifts[:, 1])
    p = np.linalg.qr(noise.eigenvectors)[0]  # the published ones are orthonormal to four digits
    along = shifts[:, 0, 0] @ p
    np.testing.assert_allclose(along.std(axis=0), 0.2 * noise.eigenvalues, rtol=0.03)
    assert np.all(np.abs(np.corrcoef(along.T) - np.eye(3)) < 0.03) and np.all(np.abs(along.mean(axis=0)) < 0.01 * noise.eigenvalues)


@pytest.mark.parametrize("in_memory", [True, False])
def test_pca_noise_and_statistics_of_a_dataset(in_memory):
    """Against NumPy's own covariance of all pixels. Kills: pixels of 0-255, products of rows, a last chunk left out, images weighted equally, sums
    that depend on their order (as those of several threads do)."""
    images = draw(300, 3, 2, 3) // [[[1, 2, 3]]]
    images[..., 1] = images[..., 0] // 2 + images[..., 1] // 2
    dataset = ArrayDataset(images.astype(np.uint8), np.zeros(300, np.int64)) if in_memory else [(image[:1 + n % 3], 0) for n, image in enumerate(images)]
    pixels = (images if in_memory else np.concatenate([image.reshape(-1, 3) for image, _ in dataset])).reshape(-1, 3) / 255
    mean, covariance = T.channel_statistics(dataset)
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(pixels.T, bias=True), rtol=1e-10)
    backwards = T.channel_statistics([dataset[n] for n in reversed(range(300))])
    assert np.array_equal(backwards[0], mean) and np.array_equal(backwards[1], covariance)  # to the bit, whatever the order
    noise = T.PCANoise.of(dataset, sigma=0.3)
    assert noise.sigma == 0.3
    np.testing.assert_allclose(covariance @ noise.eigenvectors, noise.eigenvectors * noise.eigenvalues, atol=1e-12)
    with pytest.raises(ValueError, match="no images"):
        T.channel_statistics([])


@pytest.mark.parametrize(("which", "enhance"), [("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast), ("saturation", ImageEnhance.Color)])
def test_each_distortion_is_pillows(which, enhance):
    """Within 8-bit rounding of Pillow's own. Kills: mixing with the wrong image, the factor inverted, values that leave [0, 1], wrong weights of the colours."""
    images = draw(20, 6, 7, 3)
    strengths = dict(brightness=0, contrast=0, saturation=0) | {which: 0.5}
    results = T.PhotometricDistortion(**strengths)(T.ToFloat()(images), streams(20))
    assert results.min() >= 0 and results.max() <= 1
    best = [min(range(500, 1501, 2), key=lambda f: np.abs(np.asarray(enhance(Image.fromarray(image)).enhance(f / 1000)) / 255 - result).mean())
            for image, result in zip(images[:5], results)]
    for image, result, factor in zip(images, results, best):
        assert np.abs(np.asarray(enhance(Image.fromarray(image)).enhance(factor / 1000)) / 255 - result).max() < 3 / 255
    assert len(set(best)) == 5 and min(best) < 950 < 1050 < max(best)


def test_distortions_come_in_every_order():
    """Kills: a fixed order; the factor of one distortion used for another."""
    N = 60
    images = T.ToFloat()(np.broadcast_to(draw(4, 4, 3), (N, 4, 4, 3)))
    numbers = streams(N)
    factors = [numbers.uniform(0.5, 1.5) for _ in range(3)]
    results, seen = T.PhotometricDistortion()(images, streams(N)), set()

    def brightness(image, f):
        return np.clip(image * f, 0, 1)

    def contrast(image, f):
        mean = (image @ [0.299, 0.587, 0.114]).mean()
        return np.clip(mean + f * (image - mean), 0, 1)

    def saturation(image, f):
        grey = (image @ [0.299, 0.587, 0.114])[..., None]
        return np.clip(grey + f * (image - grey), 0, 1)

    steps = [brightness, contrast, saturation]
    for n in range(N):
        fits = []
        for order in permutations(range(3)):
            image = images[n].astype(np.float64)
            for k in order:
                image = steps[k](image, factors[k][n])
            if np.abs(image - results[n]).max() < 1e-5:
                fits.append(order)
        assert fits, f"image {n} is not the result of any order"
        seen.update(fits if len(fits) == 1 else ())
    assert len(seen) == 6


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: T.CenterCrop(9)(draw(8, 9, 3)), ValueError, "CenterCrop: a crop of 9x9 does not fit an image of 8x9"),
    (lambda: T.RandomCrop(9, padding=(1, 0))(draw(8, 9, 3), streams(1)), ValueError, "RandomCrop: a crop of 9x9 does not fit an image of 8x11"),
    (lambda: T.TenCrop((2, 10))(draw(8, 9, 3)), ValueError, "TenCrop: .* 2x10"),
    (lambda: T.CenterCrop((1, 2, 3)), ValueError, "CenterCrop: size"),
    (lambda: T.CenterCrop(0), ValueError, "CenterCrop: size"),
    (lambda: T.Pad((1, 2, 3)), ValueError, "Pad: padding"),
    (lambda: T.Pad(-1), ValueError, "Pad: padding"),
    (lambda: T.RandomResizedCrop(8, scale=(0, 1)), ValueError, "RandomResizedCrop: scale"),
    (lambda: T.RandomResizedCrop(8, ratio=(2, 1)), ValueError, "RandomResizedCrop: .*ratio"),
    (lambda: T.ScaleJitterCrop(224, 200, 300), ValueError, "ScaleJitterCrop: the crop"),
    (lambda: T.ScaleJitterCrop(224, 300, 256), ValueError, "ScaleJitterCrop: .*max_size"),
    (lambda: T.Resize(4, "cubic")(draw(8, 9, 3)), ValueError, "'cubic': there are nearest.*bicubic"),
    (lambda: T.Resize(4)(draw(8, 9, 3).astype(np.int64)), TypeError, "uint8 or float32, they are int64"),
    (lambda: T.Resize((4, 4))(draw(0, 9, 3)), ValueError, "neither may be empty"),
    (lambda: T.Resize(1)(draw(8, 9)), ValueError, r"\(H, W, C\) .* got the shape \(8, 9\)"),
    (lambda: T.Normalize([0.5], [0.2])(draw(8, 9, 3)), TypeError, r"Normalize: .* uint8; put ToFloat\(\) before"),
    (lambda: T.PCANoise()(draw(8, 9, 3), streams(1)), TypeError, "PCANoise: .* uint8"),
    (lambda: T.PhotometricDistortion()(draw(8, 9, 3), streams(1)), TypeError, "PhotometricDistortion: .* uint8"),
    (lambda: T.Normalize([0.5, 0.5], [0.2])(T.ToFloat()(draw(8, 9, 3))), ValueError, r"Normalize: .*\(8, 9, 3\); they are of shape \(2,\)"),
    (lambda: T.SubtractMean(np.zeros((8, 8, 3)))(T.ToFloat()(draw(8, 9, 3))), ValueError, r"SubtractMean: .*\(8, 8, 3\)"),
    (lambda: T.Normalize([0.5], [0.0]), ValueError, "std"),
    (lambda: T.PCANoise()(T.ToFloat()(draw(8, 9, 1)), streams(1)), ValueError, "of 3 channels, the images have 1"),
    (lambda: T.PCANoise([1, 2], np.eye(3)), ValueError, r"\(2,\) and \(3, 3\)"),
    (lambda: T.PhotometricDistortion(contrast=2), ValueError, "contrast 2"),
    (lambda: T.RGB()(draw(8, 9, 2)), ValueError, "RGB: expected 1 or 3"),
    (lambda: T.Compose([T.RGB(), np.copy]), TypeError, "Compose: .*copy.* Lambda"),
])
def test_wrong_input_is_refused(call, error, message):
    """Kills: any of the checks left out."""
    with pytest.raises(error, match=message):
        call()


def test_a_pipeline_says_what_it_is():
    """Kills: a repr that hides the settings, which run logs record."""
    assert repr(T.Compose([T.RandomCrop(28, padding=4), T.ToFloat()])) == "Compose([RandomCrop(size=(28, 28), padding=4, fill=0), ToFloat(divisor=255)])"
