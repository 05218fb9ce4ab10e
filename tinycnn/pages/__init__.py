"""Pages on which an operation's forward and backward can be seen, with the numbers of one call: `tinycnn.explain(y)`, `tinycnn explain`.

Each module here computes the plain data of one kind of page with the engine; page.py puts them, the style and the scripts of web/ into one HTML file.
"""
from .of_tensor import explain

__all__ = ["explain"]
