"""Folders of images, and finding out what a folder holds."""
import struct

import numpy as np
import pytest
from data_files import write_cifar10, write_images, write_mnist
from PIL import Image

from tinycnn.data import CIFAR10, MNIST, FashionMNIST, ImageFolder, open_dataset, read_image


def test_a_folder_per_class(tmp_path):
    """Kills: labels in the order of the file system, files of other kinds taken, folders inside a class not searched, height and width exchanged."""
    write_images(tmp_path, {"zebra": 1, "ant": 2})
    (tmp_path / "ant" / "deeper").mkdir()
    Image.new("RGB", (5, 4), (9, 9, 9)).save(tmp_path / "ant" / "deeper" / "more.JPEG")
    for clutter in ("ant/notes.txt", "ant/.hidden.png", "readme.md"):
        (tmp_path / clutter).write_text("no image")
    (tmp_path / ".cache").mkdir()
    dataset = ImageFolder(tmp_path)
    assert dataset.classes == dataset.synsets == ["ant", "zebra"]
    assert [path.name for path in dataset.paths] == ["00.png", "01.png", "more.JPEG", "00.png"] and dataset.labels.tolist() == [0, 0, 0, 1]
    image, label = dataset[1]
    assert image.shape == (4, 5, 3) and image.dtype == np.uint8 and image[0, 0].tolist() == [1, 1, 7] and label == 0 and image.flags.writeable
    assert dataset.describe(3).endswith("zebra/00.png")


@pytest.mark.parametrize(("list_name", "separator"), [("LOC_synset_mapping.txt", " "), ("synset_words.txt", " "), ("words.txt", "\t")])
@pytest.mark.parametrize("beside", [False, True])
def test_synsets_get_their_names(tmp_path, list_name, separator, beside):
    """Kills: labels by the list's order instead of the folders', a name cut at its first blank, a list only looked for in one place."""
    root = write_images(tmp_path / "train", {"n01440764": 1, "n02119789": 1})
    lines = [("n02119789", "kit fox, Vulpes macrotis"), ("n01440764", "tench, Tinca tinca"), ("n00000001", "else")]
    ((tmp_path if beside else root) / list_name).write_text("\n".join(separator.join(line) for line in lines) + "\n")
    dataset = ImageFolder(root)
    assert dataset.classes == ["tench, Tinca tinca", "kit fox, Vulpes macrotis"] and dataset.synsets == ["n01440764", "n02119789"]


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK"])
def test_every_kind_of_image_becomes_rgb(tmp_path, mode):
    """Kills: a grey or palette image that comes out with another number of channels."""
    Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode).save(tmp_path / f"x.{'tif' if mode == 'CMYK' else 'png'}")
    image = read_image(next(tmp_path.iterdir()))
    np.testing.assert_array_equal(image, np.full((2, 3, 3), 255, np.uint8), strict=True)


def test_a_16_bit_image_is_refused(tmp_path):
    """Pillow would clip it to white. Kills: the check of the mode left out."""
    Image.fromarray(np.full((2, 2), 60000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep.png: an image of mode I;16"):
        read_image(tmp_path / "deep.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif"])
def test_damaged_images_are_named(tmp_path, suffix):
    """Every kind of damage that Pillow meets becomes one kind of error. Kills: a kind of Pillow's errors not caught, the file not named, half an image accepted."""
    rng = np.random.default_rng(0)
    whole, broken = tmp_path / f"whole.{suffix}", tmp_path / f"broken.{suffix}"
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(whole)
    content = whole.read_bytes()
    cuts = [content[:n] for n in (0, 1, 10, 40, len(content) // 2, len(content) - 200)]
    for damaged in [*cuts, b"this is text", b"\x89PNG\r\n\x1a\n" + bytes(100), content[:20] + bytes(60) + content[80:]]:
        broken.write_bytes(damaged)
        try:
            read_image(broken)
        except ValueError as error:
            assert str(broken) in str(error)
        else:
            assert damaged not in cuts, "a truncated image was read as if whole"
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_image(tmp_path / "nowhere.png")


def test_an_image_that_claims_to_be_enormous_is_refused(tmp_path):
    """Kills: Pillow's guard against decompression bombs left to escape without the file's name."""
    Image.new("L", (1, 1)).save(tmp_path / "bomb.bmp")
    content = bytearray((tmp_path / "bomb.bmp").read_bytes())
    content[18:26] = struct.pack("<ii", 60000, 60000)
    (tmp_path / "bomb.bmp").write_bytes(content)
    with pytest.raises(ValueError, match=r"bomb.bmp: .*decompression bomb"):
        read_image(tmp_path / "bomb.bmp")


def test_folders_without_images_say_what_was_expected(tmp_path):
    """Kills: an empty dataset returned in silence; a class without images passed over."""
    with pytest.raises(FileNotFoundError, match="no such folder"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="found nothing"):
        ImageFolder(tmp_path)
    for i in range(7):
        (tmp_path / f"{i}.png").write_text("")
    with pytest.raises(FileNotFoundError, match=r"no class folders.*found 0.png, 1.png, 2.png, 3.png, 4.png and 2 more"):
        ImageFolder(tmp_path)
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "cat.txt").write_text("")
    with pytest.raises(FileNotFoundError, match=r"cat: no images in this class folder.*\.jpg"):
        ImageFolder(tmp_path)


def test_a_validation_set_takes_its_labels_from_the_training_set(tmp_path):
    """Kills: labels counted among the validation classes alone, so that a class that is missing there shifts the rest; a class unknown in training accepted."""
    write_images(tmp_path / "train", {"a": 1, "b": 1, "c": 1})
    write_images(tmp_path / "val", {"a": 1, "c": 2})
    dataset = open_dataset(tmp_path, "test")
    assert dataset.labels.tolist() == [0, 2, 2] and dataset.classes == ["a", "b", "c"] and "val" in dataset.describe(0)
    write_images(tmp_path / "val" / "new", {"inside": 1})
    with pytest.raises(ValueError, match="class folder 'new' is not among the 3 known classes"):
        open_dataset(tmp_path, "val")


def test_open_dataset_tells_the_formats_apart(tmp_path):
    """Kills: a format not recognised or taken for another; splits exchanged; Fashion-MNIST's names lost."""
    assert repr(open_dataset("bundled", "test")).count("1,000") == 1 and len(open_dataset("bundled")) == 6000
    mnist, fashion = write_mnist(tmp_path / "digits"), write_mnist(tmp_path / "my-Fashion")
    assert type(open_dataset(mnist)) is MNIST and len(open_dataset(str(mnist), "val")) == 10
    assert type(open_dataset(fashion, "test")) is FashionMNIST
    (tmp_path / "cifar").mkdir()
    write_cifar10(tmp_path / "cifar", binary=False)
    assert type(open_dataset(tmp_path / "cifar")) is CIFAR10 and len(open_dataset(tmp_path / "cifar", "test")) == 8
    three = tmp_path / "three"
    for part, count in (("train", 3), ("val", 2), ("test", 1)):
        write_images(three / part, {"a": count})
    assert [len(open_dataset(three, split)) for split in ("train", "val", "test")] == [3, 2, 1]
    write_images(tmp_path / "no test" / "train", {"a": 1})
    with pytest.raises(FileNotFoundError, match=r"has train/, but nothing for split 'test': expected one of test/CLASS/IMAGE, val/"):
        open_dataset(tmp_path / "no test", "test")


def test_a_plain_folder_holds_images_out(tmp_path):
    """Kills: training on the test images; a class that has none held out."""
    write_images(tmp_path / "photos", {"a": 25, "b": 5})
    train, test, everything = (open_dataset(tmp_path / "photos", split) for split in ("train", "test", "all"))
    assert [test.describe(i)[-8:] for i in range(len(test))] == ["a/04.png", "a/14.png", "a/24.png", "b/04.png"]
    assert len(everything) == 30 and sorted([*train.indices, *test.indices]) == list(range(30))
    assert test[3][1] == 1 and train.classes == ["a", "b"]
    write_images(tmp_path / "few", {"a": 4, "b": 4})
    with pytest.raises(ValueError, match="too few images"):
        open_dataset(tmp_path / "few")


def test_open_dataset_lists_what_it_looked_for(tmp_path):
    """Kills: an unhelpful error; an unknown split taken for train; an archive not recognised."""
    with pytest.raises(FileNotFoundError, match=r"(?s)Looked for.*train-images-idx3-ubyte.*batches.meta.*fine_label_names.txt.*val/CLASS/IMAGE"):
        open_dataset(tmp_path)
    with pytest.raises(FileNotFoundError, match="did you mean 'bundled'"):
        open_dataset("bundeld")
    with pytest.raises(ValueError, match="unknown split 'tset'"):
        open_dataset("bundled", "tset")
    with pytest.raises(ValueError, match="split 'all'"):
        open_dataset("bundled", "all")
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match="an archive: unpack it"):
        open_dataset(tmp_path / "cifar-10-python.tar.gz")
