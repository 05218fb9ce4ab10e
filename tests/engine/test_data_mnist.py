"""IDX files, MNIST's folder, and the bundled images."""
import gzip
import hashlib
import struct
import subprocess
import sys

import numpy as np
import pytest
from data_files import write_mnist

from tinycnn.data import MNIST, ArrayDataset, FashionMNIST, Subset, bundled, make_bundled, read_idx, write_idx
from tinycnn.data.mnist import BUNDLED


def test_the_bytes_of_a_label_file(tmp_path):
    """The format written out by hand. Kills: little-endian sizes, a wrong type code, a header of the wrong length."""
    (tmp_path / "labels").write_bytes(b"\0\0\x08\x01\0\0\0\x03" + bytes([5, 0, 255]))
    np.testing.assert_array_equal(read_idx(tmp_path / "labels"), np.array([5, 0, 255], np.uint8), strict=True)
    (tmp_path / "shorts").write_bytes(b"\0\0\x0b\x02\0\0\0\x02\0\0\0\x01" + struct.pack(">2h", 258, -2))
    np.testing.assert_array_equal(read_idx(tmp_path / "shorts"), np.array([[258], [-2]], np.int16), strict=True)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_every_element_type_comes_back(tmp_path, dtype, suffix):
    """Kills: a byte order left as in the file; a type exchanged with another; gzip told by the name alone."""
    array = np.array([[[0, 1, 100], [-3, 2, 127]]]).astype(dtype)
    write_idx(tmp_path / f"a{suffix}", array)
    (tmp_path / f"a{suffix}").rename(tmp_path / "renamed")
    back = read_idx(tmp_path / "renamed")
    np.testing.assert_array_equal(back, array, strict=True)
    assert back.dtype.isnative and back.flags.writeable


def test_an_element_type_that_idx_lacks_is_refused(tmp_path):
    """Kills: writing int64 under another type's code."""
    with pytest.raises(TypeError, match="int64"):
        write_idx(tmp_path / "a", np.arange(3))


IMAGES = b"\0\0\x08\x03" + struct.pack(">3I", 2, 2, 3) + bytes(12)


@pytest.mark.parametrize(("content", "message"), [
    (b"", "nothing"),
    (b"\0\0", "not an IDX file"),
    (b"\x89PNG\r\n\x1a\n", "89 50 4e 47"),
    (b"\0\0\x07\x01\0\0\0\0", "00 00 07 01"),
    (b"\0\1\x08\x01\0\0\0\0", "00 01 08 01"),
    (IMAGES[:9], "truncated: the header of 3 dimensions takes 16 bytes, the file has 9"),
    (IMAGES[:-1], r"truncated: \(2, 2, 3\) elements of uint8 and the header take 28 bytes, there are 27"),
    (IMAGES + b"\0", "too long: .* 28 bytes, there are 29"),
    (b"\0\0\x0e\x03" + b"\xff" * 12, "truncated"),
    (gzip.compress(IMAGES, mtime=0)[:-9], "gzip"),
    (gzip.compress(IMAGES, mtime=0)[:-6] + b"abcdef", "gzip"),
    (gzip.compress(IMAGES, mtime=0)[:10] + b"\xff" * 20, "gzip"),
], ids=["empty", "two bytes", "png", "unknown type", "magic", "half a header", "short", "long", "absurd sizes", "half a gzip", "gzip checksum", "gzip garbage"])
def test_a_damaged_file_is_named(tmp_path, content, message):
    """Kills: any of the checks left out; an error without the file's name; memory allocated for sizes that the file does not have."""
    (tmp_path / "broken-idx").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(tmp_path / "broken-idx")
    assert str(tmp_path / "broken-idx") in str(caught.value)


@pytest.mark.parametrize("names", ["plain", "gz", "dot", "raw"])
def test_a_folder_of_mnist(tmp_path, names):
    """Kills: train and test exchanged; (N, W, H); a lost channel axis; a spelling of the names that is not looked for."""
    write_mnist(tmp_path / "raw" if names == "raw" else tmp_path, suffix=".gz" if names == "gz" else "")
    if names == "dot":
        for file in list(tmp_path.iterdir()):
            file.rename(tmp_path / file.name.replace("-idx", ".idx"))
    train, test = MNIST(tmp_path), MNIST(tmp_path, train=False)
    assert (len(train), len(test)) == (20, 10)
    image, label = train[3]
    np.testing.assert_array_equal(image, np.arange(18, 24, dtype=np.uint8).reshape(2, 3, 1), strict=True)
    assert label == 3 and type(label) is int
    assert train.classes == list("0123456789") and FashionMNIST(tmp_path).classes[9] == "Ankle boot"
    images, labels = train.take(np.array([12, 3]))
    assert images[1].tolist() == image.tolist() and labels.tolist() == [2, 3]


def test_what_is_wrong_in_a_folder_of_mnist_is_named(tmp_path):
    """Kills: a missing file, an exchanged file, unequal counts or a label out of range that goes unnoticed."""
    folder = write_mnist(tmp_path, suffix="")
    labels = folder / "train-labels-idx1-ubyte"
    write_idx(labels, np.zeros(19, np.uint8))
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte has 20 images, but .*train-labels-idx1-ubyte has 19 labels"):
        MNIST(folder)
    write_idx(labels, np.array([0] * 19 + [10], np.uint8))
    with pytest.raises(ValueError, match="image 19 has the label 10; with 10 classes labels should be 0 to 9"):
        MNIST(folder)
    write_idx(labels, np.zeros((20, 2, 3), np.uint8))
    with pytest.raises(ValueError, match=r"train-labels.*found uint8 of shape \(20, 2, 3\)"):
        MNIST(folder)
    write_idx(folder / "train-images-idx3-ubyte", np.zeros((20, 2, 3), np.float32))
    with pytest.raises(ValueError, match=r"train-images.*found float32"):
        MNIST(folder)
    write_idx(folder / "train-images-idx3-ubyte", np.zeros((20, 6), np.uint8))
    with pytest.raises(ValueError, match=r"train-images.*found uint8 of shape \(20, 6\)"):
        MNIST(folder)
    labels.unlink()
    with pytest.raises(FileNotFoundError, match="train-labels-idx1-ubyte"):
        MNIST(folder)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        MNIST(folder / "nowhere")


def test_arrays_that_do_not_belong_together():
    """Kills: checks of ArrayDataset left out; negative labels, which NumPy would take as counted from the end."""
    images = np.zeros((3, 2, 2, 1), np.uint8)
    for labels, message in (([0, 1], "3 images but 2 labels"), ([0, -1, 1], "image 1 has the label -1"), ([0.0, 1, 2], "one integer per image"), ([0, 1, 3], "label 3")):
        with pytest.raises(ValueError, match=message):
            ArrayDataset(images, np.array(labels), classes=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"\(N, H, W, C\)"):
        ArrayDataset(images[0], np.array([0, 1]))
    assert ArrayDataset(images, np.array([0, 4, 1])).classes == list("01234")


def test_a_subset_reads_through():
    """Kills: indices applied twice or not at all; a subset of a list-like dataset that claims to have arrays."""
    whole = ArrayDataset(np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1), np.array([0, 1, 2, 3, 4]))
    part = Subset(Subset(whole, [4, 2, 0]), [2, 0])
    assert len(part) == 2 and [part[i][1] for i in range(2)] == [0, 4] and part.take(np.array([1]))[0].item() == 4
    assert part.describe(1) == "the arrays, image 4" and part.classes == whole.classes
    assert part.labels.tolist() == [0, 4] and part.images.ravel().tolist() == [0, 4] and part.images.shape == (2, 1, 1, 1)
    listed = Subset(type("Listed", (list,), {"classes": ["a"]})([(1, 2)]), [0])
    assert not any(hasattr(listed, name) for name in ("take", "images", "labels"))
    for outside in (5, -1):
        with pytest.raises(IndexError, match=f"{outside} in a dataset of 5"):
            Subset(whole, [0, outside])


def test_the_bundled_images():
    """What the package promises, on the files that it ships. Kills: unequal classes, a wrong subset, shipping more than 4 MB, a lost licence."""
    train, test = bundled(), bundled(train=False)
    assert train.images.shape == (6000, 28, 28, 1) and test.images.shape == (1000, 28, 28, 1) and train.images.dtype == np.uint8
    assert np.bincount(train.labels).tolist() == [600] * 10 and np.bincount(test.labels).tolist() == [100] * 10
    assert len(np.unique(np.concatenate([train.images, test.images]).reshape(7000, -1), axis=0)) >= 6990  # the full set has a few images twice
    assert sum(file.stat().st_size for file in BUNDLED.iterdir()) < 4e6
    assert "Zalando" in (BUNDLED / "LICENSE").read_text(encoding="utf-8")
    assert hashlib.sha256(train.images.tobytes() + train.labels.tobytes()).hexdigest()[:16] == "d3d69fdeca455c15"


def test_making_the_bundled_images_again_gives_the_same_bytes(tmp_path):
    """Kills: a time or a name in the gzip header, a choice that varies, unequal classes, an order that is not the original's."""
    folder = write_mnist(tmp_path / "full", train=200, test=100)
    digests = []
    for attempt in ("one", "two"):
        make_bundled.main([str(folder), "--output", str(tmp_path / attempt), "--train-per-class", "7", "--test-per-class", "3"])
        digests.append({file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in (tmp_path / attempt).iterdir()})
    assert digests[0] == digests[1] and len(digests[0]) == 4
    assert (tmp_path / "one" / "train-labels-idx1-ubyte.gz").read_bytes()[3:8] == bytes(5)  # gzip flags and time: none
    part, full = FashionMNIST(tmp_path / "one"), FashionMNIST(folder)
    assert np.bincount(part.labels).tolist() == [7] * 10
    places = [np.flatnonzero((full.images == image).all(axis=(1, 2, 3)) & (full.labels == label))[0] for image, label in zip(part.images, part.labels)]
    assert places == sorted(set(places)) and places[:10] != list(range(10))
    assert make_bundled.stratified(np.arange(40) % 4, 2, make_bundled.SEED).tolist() == [8, 11, 12, 15, 17, 18, 29, 30]  # today's choice, for ever
    with pytest.raises(ValueError, match="class 0 has 20 images, 21 are wanted"):
        make_bundled.main([str(folder), "--output", str(tmp_path / "three"), "--train-per-class", "21"])


def test_importing_the_data_package_is_cheap():
    """Kills: Pillow, Numba or Matplotlib imported before anything needs them."""
    code = "import sys, tinycnn.data; print([name for name in ('PIL', 'numba', 'matplotlib', 'torch') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
