"""Every operation, layer and block of the engine through its own gradient checker, in both orders; and that none is left out."""
import importlib
import pkgutil

import numpy as np
import pytest

from tinycnn import nn, ops
from tinycnn.autograd import Function, engine
from tinycnn.checker import subjects
from tinycnn.checker.cases import all_cases


@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_first_and_second_order(case):
    """Against finite differences, at default settings. Kills: any wrong gradient; a backward that computes on arrays and so is constant to the second derivative; a
    checker that doubts right ones."""
    report = case.check(progress=False)
    assert report, report
    second = case.check(order=2, progress=False)
    assert second, second


def test_no_operation_is_left_out(monkeypatch):
    """The backward of every operation is run by some case, in first or second order. Kills: a new operation that nobody checks."""
    ran, call = set(), engine._call
    monkeypatch.setattr(engine, "_call", lambda node, gradients: ran.add(type(node)) or call(node, gradients))
    for case in all_cases():
        fn = case.fn.module() if hasattr(case.fn, "module") else case.fn
        for kind in (subjects.EngineSubject, subjects.SecondOrder):
            subject = kind(fn, case.inputs())
            outputs = subject.evaluate(subject.arrays).outputs
            subject.pullback(subject.arrays)([np.ones(y.shape) for y in outputs])
    written = {function for module in pkgutil.iter_modules(ops.__path__) for function in vars(importlib.import_module(f"tinycnn.ops.{module.name}")).values()
               if isinstance(function, type) and issubclass(function, Function) and function.backward is not Function.backward}
    # float32 cannot be checked; nor another device; Gather's backward is the backward of the backward of the backward of max pooling
    cannot_be = {"tinycnn.ops.shape.Cast", "tinycnn.ops.shape.Move", "tinycnn.ops.pool.Gather"}
    assert {f"{function.__module__}.{function.__name__}" for function in written - ran} <= cannot_be


def test_no_layer_is_left_out():
    made = {type(module).__name__ for case in all_cases() if hasattr(case.fn, "module") for module in case.fn.module().modules()}
    containers = {"Module", "ModuleDict", "ModuleList", "Parameter", "Sequential"}
    losses = {"CrossEntropyLoss", "MSELoss", "NLLLoss"}  # they need targets: as functions, in the table of networks
    assert {name for name in nn.__all__ if isinstance(getattr(nn, name), type)} - made - containers - losses == set()
