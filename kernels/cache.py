"""Where compiled kernels are kept."""
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path


def cache_root():
    """TINYCNN_CACHE, or tinycnn/ in the user's cache folder."""
    return os.environ.get("TINYCNN_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "tinycnn")


@contextmanager
def written(path):
    """A file to write that becomes `path` when complete: another process never sees half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(name)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
