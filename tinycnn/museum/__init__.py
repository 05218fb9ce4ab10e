"""A museum of wrong gradients: real bugs, most of them historical, each with its story, to be found and repaired.

Every file in exhibits/ follows the convention of `tinycnn gradcheck FILE` (checker/files.py): forward, a backward that is wrong, and inputs(rng), random inputs of random
shapes. Below the line "# ---- the repair" are the family of the bug, as the checker should name it, and `repaired`, the backward as it should be.
"""
from .collection import Exhibit, check_exercise, exercise, exhibit, names, rates, solution

__all__ = ["Exhibit", "check_exercise", "exercise", "exhibit", "names", "rates", "solution"]
