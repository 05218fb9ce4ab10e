"""A Python file that somebody brings: run as Python would run it, and what goes wrong in it told with its place."""
import importlib.util
import sys
import traceback
from contextlib import contextmanager
from pathlib import Path


class ErrorInFile(RuntimeError):
    """Somebody's own code failed: where, and how."""


def load(path):
    """The module that a file makes. Its own folder is where it imports from."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix != ".py":
        raise ValueError(f"{path}: a Python file is needed, one that ends in .py")
    spec = importlib.util.spec_from_file_location(f"own_file_{path.stem}", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # compiled and pickled functions are looked up there
    sys.path.insert(0, str(path.resolve().parent))
    try:
        with telling_where(path):
            spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


@contextmanager
def telling_where(path):
    """An error that is raised within the file at `path`, or by what it calls, says in which line of it; others pass as they are."""
    try:
        yield
    except Exception as error:
        place = _place(error, Path(path).resolve())
        if place is None:
            raise
        line, function, text = place
        message = error.msg if isinstance(error, SyntaxError) else error
        told = ErrorInFile(f"{path}, line {line}{function}: {type(error).__name__}: {message}\n    {text}")
        for note in getattr(error, "__notes__", ()):
            told.add_note(note)
        raise told from error


def _place(error, path):
    """(line number, in which function, text of the line), or None if the error is not from this file."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).resolve() == path:
        return error.lineno, "", (error.text or "").strip()
    frame = next((frame for frame in reversed(traceback.extract_tb(error.__traceback__)) if Path(frame.filename).resolve() == path), None)
    return frame and (frame.lineno, "" if frame.name == "<module>" else f", in {frame.name}", frame.line)
