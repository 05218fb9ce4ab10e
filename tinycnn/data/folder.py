"""Images in files, a folder for each class: `root/cat/one.jpg`, `root/dog/two.png`; ImageNet's `train/n01440764/n01440764_18.JPEG`.

The label of an image is the rank of its folder's name. Where the folders are called by WordNet's synsets (n01440764) and one of ImageNet's lists of names lies in `root`
or beside it, `classes` has the names (tench, Tinca tinca); `synsets` has the folders' names in any case. Files are opened only when their image is asked for.
"""
import os
from io import BytesIO
from pathlib import Path

import numpy as np

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
NAME_LISTS = ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt")  # lines of "n01440764 tench, Tinca tinca", with a blank or a tab


class ImageFolder:
    """The images below `root`, those of each class in one folder (and folders inside it).

    synsets: the folders in the order of their labels; without it, those that are there, sorted. An image outside these folders is an error.
    """

    def __init__(self, root, synsets=None):
        self.root = Path(root)
        present = class_folders(self.root)
        if not present:
            raise FileNotFoundError(f"{root}: no class folders: expected {root}/CLASS/IMAGE for each class; found {_contents(self.root)}")
        self.synsets = list(synsets) if synsets is not None else present
        unknown = sorted(set(present) - set(self.synsets))
        if unknown:
            raise ValueError(f"{root}: class folder {unknown[0]!r} is not among the {len(self.synsets)} known classes ({', '.join(self.synsets[:5])}, ...)")
        self.paths, labels = [], []
        for label, synset in enumerate(self.synsets):
            found = _images_below(self.root / synset)
            if not found and synset in present:
                raise FileNotFoundError(f"{self.root / synset}: no images in this class folder; an image's name ends in {', '.join(EXTENSIONS)}")
            self.paths += found
            labels += [label] * len(found)
        self.labels = np.array(labels, np.int64)
        names = read_names(self.root)
        self.classes = [names.get(synset, synset) for synset in self.synsets]

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return read_image(self.paths[index]), int(self.labels[index])

    def describe(self, index):
        """The file of image `index`, for error messages."""
        return str(self.paths[index])

    def __repr__(self):
        return f"<ImageFolder {self.root}: {len(self):,} images, {len(self.classes)} classes>"


def read_image(path):
    """The image in a file as a uint8 array (H, W, 3), whatever its own colours are. ValueError, naming the file, where it cannot be decoded.

    As in ImageNet's usual pipelines, a camera's note on how it was held (EXIF orientation) is not followed.
    """
    from PIL import Image, UnidentifiedImageError
    content = BytesIO(Path(path).read_bytes())  # a missing or forbidden file is the system's error, and names itself
    try:
        with Image.open(content) as image:
            mode = image.mode
            pixels = np.array(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not an image that Pillow can read") from error
    except Exception as error:  # depending on where a file is damaged, Pillow raises OSError, SyntaxError, ValueError, struct.error, ...
        raise ValueError(f"{path}: a truncated or damaged image: {error}") from error
    if mode.startswith(("I", "F")):
        raise ValueError(f"{path}: an image of mode {mode}, more than 8 bits a channel; convert it to 8 bits")
    return pixels


def class_folders(root):
    """The names of the folders in `root`, sorted, hidden ones left out; none if there is no such folder."""
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")) if Path(root).is_dir() else []


def read_names(root):
    """{synset: name} from the list of names in `root` or the folder around it, {} if there is none."""
    for folder in (Path(root), Path(root).absolute().parent):
        for name_list in NAME_LISTS:
            if (folder / name_list).is_file():
                lines = (line.split(maxsplit=1) for line in (folder / name_list).read_text(encoding="utf-8").splitlines())
                return {line[0]: line[1].strip() for line in lines if len(line) == 2}
    return {}


def _images_below(folder):
    """Every image file in `folder` and the folders inside it, in the order of their names."""
    found = [Path(place) / name for place, _, files in os.walk(folder, followlinks=True) for name in files if name.lower().endswith(EXTENSIONS)]
    return sorted(path for path in found if not path.name.startswith("."))


def _contents(folder):
    """A few of the names in a folder, for an error message."""
    if not folder.is_dir():
        return "no such folder"
    names = sorted(entry.name for entry in os.scandir(folder))
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "nothing"
