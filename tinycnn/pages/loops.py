"""Loop nests beside the lines of the reference kernel that do the same."""
import inspect
from pathlib import Path

from .. import kernels


def source_of(module):
    """(path in the repository, number of the first line, text) of a kernel's file."""
    path = Path(inspect.getfile(module)).relative_to(Path(inspect.getfile(kernels)).parent)
    return f"kernels/{path.as_posix()}", 1, inspect.getsource(module)


def nest(lines, module):
    """[{text, index, line}] of lines that are text, or (text, where): index is the variable of a `for`; line, the number of the line of the module that does it.

    where: (function, what the line begins with), or None.
    """
    result = []
    for entry in lines:
        text, where = entry if isinstance(entry, tuple) else (entry, None)
        words = text.split()
        result.append({"text": text, "index": words[1] if words[0] == "for" else None, "line": where and line_of(module, *where)})
    return result


def line_of(module, function, beginning):
    """The number of the line of a module's function that begins so."""
    lines, first = inspect.getsourcelines(getattr(module, function))
    for number, line in enumerate(lines, first):
        if line.strip().startswith(beginning):
            return number
    raise ValueError(f"{module.__name__}.{function} has no line that begins with {beginning!r}")
