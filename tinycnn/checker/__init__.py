"""Gradient checks that explain themselves: see docs/gradcheck.md, and check.py for how it is done."""
from .check import GradientError, assert_gradients, gradcheck
from .report import Finding, Report

__all__ = ["Finding", "GradientError", "Report", "assert_gradients", "gradcheck"]
