"""Tools that look into networks (summary, trace, graph) and into CUDA kernels (cuda/), and what loads the files that people bring (own_file)."""
from .summary import summary

__all__ = ["summary"]
