"""Tools that look into networks."""
from .summary import summary

__all__ = ["summary"]
