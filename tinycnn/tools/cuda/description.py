"""How a .cu file is launched: a few lines of Python, in a comment of the file that begins with the word `check`,

    /* check
    x = random(1000)
    y = empty(1000)
    launch("scale", blocks(1000), 256, x, y, 2.0, 1000)
    expect(y, 2 * x)
    */

or in a file of the same name that ends in .py. They see NumPy as `np` and what `Session.names` lists. Arrays are NumPy arrays: a launch takes them to the device
and back.
"""
import re
from pathlib import Path

import numpy as np

COMMENT = re.compile(r"/\*\s*check\s*\n(.*?)\*/", re.S)


class DescriptionError(ValueError):
    """A .cu file that does not say how it is launched."""


class Wrong(AssertionError):
    """A kernel's result is not what was expected."""


def read(path, description=None):
    """(text of the description, the file that it is in); lines are numbered as in that file. `description`: another file than the usual ones."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    if description is None and (comment := COMMENT.search(path.read_text())):
        return "\n" * path.read_text()[:comment.start(1)].count("\n") + comment[1], path
    beside = Path(description) if description else path.with_suffix(".py")
    if not beside.is_file():
        raise DescriptionError(f"{path} does not say how it is launched: write a comment /* check ... */ into it, or a file {beside.name} beside it, with lines such as\n"
                               '    x = random(1000)\n    y = empty(1000)\n    launch("kernel", blocks(1000), 256, x, y, 1000)\n    expect(y, 2 * x)')
    return beside.read_text(), beside


class Session:
    """What a description can call. run_kernel(kernel, grid, block, arguments, options) launches with NumPy arrays."""

    def __init__(self, run_kernel):
        self.run_kernel = run_kernel
        self.fresh = []  # arrays from empty()
        self.expectations = 0
        self.launches = 0
        self.random_numbers = np.random.default_rng(0)

    def names(self):
        """The names that a description sees."""
        from tinycnn.kernels.cuda import blocks, layout
        return {"np": np, "random": self.random, "empty": self.empty, "launch": self.launch, "expect": self.expect, "blocks": blocks, "layout": layout}

    def run(self, text, file):
        """Run a description."""
        namespace = self.names()
        exec(compile(text, str(file), "exec"), namespace)
        if not self.launches:
            raise DescriptionError(f"{Path(file).name}: the description launches nothing")
        return namespace

    def random(self, *shape, dtype=np.float32):
        """An array of numbers between -1 and 1 (integers: 0 to 99), the same at every run."""
        if np.dtype(dtype).kind in "iu":
            return self.random_numbers.integers(0, 100, shape).astype(dtype)
        return self.random_numbers.uniform(-1, 1, shape).astype(dtype)

    def empty(self, *shape, dtype=np.float32):
        """An array that nobody has written: NaN, or -1. Reading an element before a kernel has written it is a finding."""
        array = np.empty(shape, dtype)
        array.view(np.uint8)[...] = 0xFF
        self.fresh.append(array)
        return array

    def launch(self, kernel, grid, block, *arguments, shared=0, **defines):
        """A launch, as tinycnn.kernels.cuda.launch makes it, of a kernel of the file; done when this returns."""
        self.launches += 1
        self.run_kernel(kernel, grid, block, arguments, {"shared": shared, **defines})

    def expect(self, got, right, rtol=1e-5, atol=1e-6):
        """The two must agree: |got - right| <= atol + rtol |right|, and NaN with NaN."""
        self.expectations += 1
        got, right = np.asarray(got), np.asarray(right)
        if got.shape != right.shape:
            raise Wrong(f"the result has the shape {got.shape}, {right.shape} was expected")
        wrong = ~np.isclose(got, right, rtol, atol, equal_nan=True)
        if wrong.any():
            first = tuple(int(i) for i in np.argwhere(wrong)[0])
            unset = " (which memory is that nobody has written)" if got.dtype.kind == "f" and np.isnan(got[first]) else ""
            raise Wrong(f"{wrong.sum()} of {wrong.size} elements are wrong; the first is element {', '.join(map(str, first))}: "
                        f"{got[first]!s}{unset}, expected was {right[first]!s}")
