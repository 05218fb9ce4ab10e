"""Files that are either there and whole, or not there.

A program can be killed between any two instructions and a disk can fill up between any two bytes, so a file that matters is never written in place: it is written
beside, under another name; forced to the disk; and renamed, which the operating system does as one step. Whoever looks finds the old file or the new one, whole.
"""
import os
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def replacing(path):
    """`with replacing(path) as part:` write the file called `part`; at the end of the block it takes the place of `path`.

    Whatever goes wrong inside the block, `path` is as it was and `part` is gone. Errors of the disk name `path` and say what is left.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    try:
        part.touch()
        mode = part.stat().st_mode
        yield part
        os.chmod(part, mode)  # some libraries make files that only their owner may read
        _to_disk(part)
        os.replace(part, path)
        _to_disk(path.parent)  # the rename itself
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        kept = "the file that was there before is untouched" if path.exists() else "nothing was left behind"
        raise OSError(f"{path}: could not be written: {getattr(error, 'strerror', None) or error} ({kept})") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _to_disk(path):
    """Wait until what was written to `path` is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
