"""IDX, the file format of MNIST: a header of big-endian numbers, then the elements of one array.

    byte 0, 1       zero
    byte 2          element type: 0x08 uint8, 0x09 int8, 0x0B int16, 0x0C int32, 0x0D float32, 0x0E float64
    byte 3          number of dimensions d
    4 * d bytes     the sizes, uint32 each
    the rest        the elements, big-endian, last dimension fastest

So an image file of MNIST begins with 00 00 08 03 (hence "idx3-ubyte" in its name) and a label file with 00 00 08 01. Files may be gzipped; the content says so.
"""
import gzip
import math
import zlib
from pathlib import Path

import numpy as np

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path):
    """The array in an IDX file, gzipped or not. ValueError, naming the file, where it is not one or not whole."""
    content = Path(path).read_bytes()
    if content.startswith(GZIP_MAGIC):
        content = _decompressed(content, path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in DTYPES:
        raise ValueError(f"{path}: not an IDX file: it should begin with two zero bytes, an element type ({', '.join(f'{code:02x}' for code in DTYPES)}) and the "
                         f"number of dimensions; it begins with {content[:4].hex(' ') or 'nothing'}")
    dtype, start = np.dtype(DTYPES[content[2]]).newbyteorder(">"), 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError(f"{path}: truncated: the header of {content[3]} dimensions takes {start} bytes, the file has {len(content)}")
    shape = tuple(np.frombuffer(content, ">u4", content[3], offset=4).tolist())
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise ValueError(f"{path}: {'truncated' if len(content) < expected else 'too long'}: {shape} elements of {dtype.newbyteorder('=')} and the header take "
                         f"{expected:,} bytes, there are {len(content):,}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def write_idx(path, array):
    """Write `array` as IDX, gzipped if the name ends in .gz. The same array gives the same bytes: the gzip header holds no time and no name."""
    array = np.asarray(array)
    codes = {np.dtype(name): code for code, name in DTYPES.items()}
    if array.dtype not in codes:
        raise TypeError(f"write_idx: no IDX element type for {array.dtype}: there are {', '.join(map(str, codes))}")
    content = bytes([0, 0, codes[array.dtype], array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(array.dtype.newbyteorder(">")).tobytes()
    unfinished = Path(f"{path}.part")  # so that nobody finds half a file
    unfinished.write_bytes(gzip.compress(content, compresslevel=9, mtime=0) if str(path).endswith(".gz") else content)
    unfinished.replace(path)


def _decompressed(content, path):
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}: truncated or damaged gzip file: {error}") from error
