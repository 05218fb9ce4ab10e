"""The optimisers' steps: the reference against PyTorch's optimisers over several steps, the CPU kernels against the reference."""
from pathlib import Path

import numpy as np
import pytest
from cuda_device import CUDA, kernels_of, needs_simulator
from tolerance import close

from tinycnn.kernels import backend, runtime

VECTORS = Path(__file__).parents[1] / "vectors" / "optim_kernels.npz"
STEPS = 4

# PyTorch's optimiser, and its arguments besides lr = 0.1. Every option alone and all together, so that no two can stand in for each other.
CASES = {
    "sgd": ("SGD", {}),
    "sgd, weight decay": ("SGD", dict(weight_decay=0.3)),
    "sgd, momentum": ("SGD", dict(momentum=0.8)),
    "sgd, momentum, dampening": ("SGD", dict(momentum=0.8, dampening=0.4, weight_decay=0.3)),
    "sgd, nesterov": ("SGD", dict(momentum=0.8, weight_decay=0.3, nesterov=True)),
    "adam": ("Adam", dict(betas=(0.7, 0.9), eps=0.01)),
    "adam, weight decay": ("Adam", dict(betas=(0.7, 0.9), eps=0.01, weight_decay=0.3)),
    "adam, amsgrad": ("Adam", dict(betas=(0.7, 0.4), eps=0.01, weight_decay=0.3, amsgrad=True)),
    "adamw": ("AdamW", dict(betas=(0.7, 0.9), eps=0.01, weight_decay=0.3)),
    "adamw, amsgrad": ("AdamW", dict(betas=(0.7, 0.4), eps=0.01, weight_decay=0.3, amsgrad=True)),
    "rmsprop": ("RMSprop", dict(alpha=0.7, eps=0.01)),
    "rmsprop, weight decay": ("RMSprop", dict(alpha=0.7, eps=0.01, weight_decay=0.3)),
    "rmsprop, momentum": ("RMSprop", dict(alpha=0.7, eps=0.01, momentum=0.8)),
    "rmsprop, centred": ("RMSprop", dict(alpha=0.7, eps=0.01, centered=True)),
    "rmsprop, all": ("RMSprop", dict(alpha=0.7, eps=0.01, weight_decay=0.3, momentum=0.8, centered=True)),
}


def draw(shape, dtype=np.float64):
    """A parameter and its gradient at each step."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for _ in range(1 + STEPS)]


def run(kernels, case, param, grads):
    """The parameter after each step, and the state after the last."""
    name, options = CASES[case]
    options = dict(lr=0.1, weight_decay=0.0) | options
    param = param.copy(order="K")
    empty, zeros = (lambda wanted: np.full_like(param, np.nan) if wanted else None), (lambda wanted: np.zeros_like(param) if wanted else None)
    after = []
    if name == "SGD":
        options = dict(momentum=0.0, dampening=0.0, nesterov=False) | options
        state = [empty(options["momentum"])]  # holds nothing before the first step, and so may hold anything
    elif name == "RMSprop":
        options = dict(momentum=0.0) | options
        state = [zeros(True), zeros(options.pop("centered", False)), zeros(options["momentum"])]
    else:
        beta1, beta2 = options.pop("betas")
        options |= dict(beta1=beta1, beta2=beta2, decoupled=name == "AdamW")
        state = [zeros(True), zeros(True), zeros(options.pop("amsgrad", False))]
    for step, grad in enumerate(grads, 1):
        options |= {"SGD": dict(first=step == 1), "RMSprop": {}}.get(name, dict(step=step))
        update = {"SGD": kernels.sgd_, "RMSprop": kernels.rmsprop_}.get(name, kernels.adam_)
        assert update([param], [grad], *(buffer if buffer is None else [buffer] for buffer in state), **options) is None
        after.append(param.copy())
    return after, state


@pytest.mark.parametrize("case", CASES)
def test_reference_takes_pytorchs_steps(case):
    """Stored parameters after each of four steps. Kills: a wrong or forgotten option, bias correction, order of operations, decay applied to the wrong term."""
    param, *grads = draw((5, 3))
    expected = np.load(VECTORS)[case]
    after, _ = run(backend("reference").optim, case, param, grads)
    for step in range(STEPS):
        close(after[step], expected[step], length=4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("implementation", ["cpu", CUDA])
@pytest.mark.parametrize("case", CASES)
def test_fast_kernels_agree_with_the_reference(case, implementation, dtype):
    """More weights than a tile or a block, and not a multiple. Kills: any slip in a fused formula, a state that is not updated, tiles lost, repeated or too long."""
    param, *grads = draw((3, 1373 if implementation == "cpu" else 173), dtype)
    after, state = run(kernels_of(implementation).optim, case, param, grads)
    expected, expected_state = run(backend("reference").optim, case, param, grads)
    assert after[-1].dtype == dtype
    close(after[-1], expected[-1], length=4 * STEPS)
    for ours, theirs in zip(state, expected_state):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            close(ours, theirs, length=4 * STEPS)


@pytest.mark.parametrize("implementation", ["cpu", CUDA])
@pytest.mark.parametrize("case", ["sgd, nesterov", "adamw, amsgrad", "rmsprop, all"])
def test_any_strides_are_updated_in_place(case, implementation):
    """Transposed parameters, and gradients in another order than the parameter. Kills: updating a contiguous copy, pairing elements by memory instead of index."""
    param, *grads = draw((4, 6))
    expected, _ = run(backend("reference").optim, case, param, grads)
    for p, gs in ((param.T.copy().T, grads), (param, [grad.T.copy().T for grad in grads])):
        after, _ = run(kernels_of(implementation).optim, case, p, gs)
        close(after[-1], expected[-1])


@pytest.mark.parametrize("implementation", ["cpu", CUDA])
@pytest.mark.parametrize("shape", [(), (0, 3), (1,)])
def test_smallest_parameters(shape, implementation):
    """A number, nothing, one weight. Kills: an absent state taken for an empty one, a crash without tiles."""
    param, *grads = draw(shape)
    param, grads = np.asarray(param), [np.asarray(grad) for grad in grads]
    for case in ("sgd, nesterov", "adam, amsgrad", "rmsprop, all"):
        after, _ = run(kernels_of(implementation).optim, case, param, grads)
        close(after[-1], run(backend("reference").optim, case, param, grads)[0][-1])


def test_one_thread_and_two_give_the_same_bits():
    param, *grads = draw(50_000, np.float32)
    most = runtime.get_num_threads()
    results = []
    for threads in (1, most):
        runtime.set_num_threads(threads)
        results.append([run(backend("cpu").optim, case, param, grads)[0][-1] for case in ("sgd, nesterov", "adam, amsgrad", "rmsprop, all")])
    np.testing.assert_array_equal(*results)


SHAPES = [(3, 5), (1,), (0, 2), (4096,), (4097,), (7, 3, 2, 3), (1024,), (), (1025,), (8300,), *((n,) for n in range(2, 63))]  # 71: more than a CUDA launch takes


def drawn(dtype):
    """[(param, grad)] of all SHAPES. Some gradients lie otherwise than the parameter, some parameters in no order."""
    rng = np.random.default_rng(3)
    pairs = [[np.asarray(rng.standard_normal(shape).astype(dtype)) for _ in range(2)] for shape in SHAPES]
    pairs[5][1] = pairs[5][1].transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    pairs[6][0] = np.repeat(pairs[6][0], 2)[::2]
    pairs[0][0] = pairs[0][0].T.copy().T
    pairs[4][1].flags.writeable = False
    return pairs


def run_together(kernels, case, dtype):
    """What two steps make of all SHAPES in one call each: [param, states ...] of each."""
    pairs = drawn(dtype)
    params, grads = zip(*pairs)
    name, options = CASES[case]
    options = dict(lr=0.1, weight_decay=0.0) | options
    zeros = (lambda wanted: [np.zeros(param.shape, dtype) for param in params] if wanted else None)  # noqa: E731
    if name == "SGD":
        options = dict(momentum=0.0, dampening=0.0, nesterov=False) | options
        states, update = [zeros(options["momentum"])], kernels.sgd_
        for buffer in states[0] or ():
            buffer.fill(np.nan)  # holds nothing before the first step
    elif name == "RMSprop":
        options = dict(momentum=0.0) | options
        states, update = [zeros(True), zeros(options.pop("centered", False)), zeros(options["momentum"])], kernels.rmsprop_
    else:
        options["beta1"], options["beta2"] = options.pop("betas")
        options |= dict(decoupled=name == "AdamW")
        states, update = [zeros(True), zeros(True), zeros(options.pop("amsgrad", False))], kernels.adam_
    for step in (1, 2):
        options |= {"SGD": dict(first=step == 1), "RMSprop": {}}.get(name, dict(step=step))
        update(params, grads, *states, **options)
    return [[param, *(state[i] for state in states if state is not None)] for i, param in enumerate(params)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("implementation", ["cpu", CUDA])
@pytest.mark.parametrize("case", CASES)
def test_many_parameters_in_one_call(case, implementation, dtype):
    """Kills: a tile or block of one parameter given to its neighbour; a state of another parameter; the last of many; those that lie otherwise, left out or done twice;
    one without elements that shifts the others."""
    answers, expected = (run_together(kernels, case, dtype) for kernels in (kernels_of(implementation).optim, backend("reference").optim))
    for arrays, exact, shape in zip(answers, expected, SHAPES, strict=True):
        for array, right in zip(arrays, exact, strict=True):
            assert array.shape == shape and array.dtype == dtype
            close(array, right, length=8)


@needs_simulator
def test_few_launches(monkeypatch):
    """Kills: a launch for each parameter, as before."""
    from tinycnn.kernels.optim import cuda
    launched, launch = [], cuda.launch
    monkeypatch.setattr(cuda, "launch", lambda *arguments, **options: (launched.append(arguments[1]), launch(*arguments, **options)))
    run_together(kernels_of("cuda").optim, "sgd, nesterov", np.float32)
    assert launched == ["sgd"] * 4  # two steps of 71 parameters, at most 64 at a time


@needs_simulator
def test_a_gradient_that_is_forgotten():
    """Kills: memory given back while a launch waits that has no more than its address."""
    from tinycnn.kernels.cuda import array_module
    param, grad = (array_module().asarray(np.full(4, value, np.float32)) for value in (0, 1))
    backend("cuda").optim.sgd_([param], [grad], None, 1.0, 0.0, 0.0, 0.0, False, True)
    del grad
    assert param.get().tolist() == [-1] * 4
