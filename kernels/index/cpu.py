"""Indexing on the CPU is NumPy's: see the reference."""
from ..graph import record
from . import reference

globals().update(record.all_noted(reference))
