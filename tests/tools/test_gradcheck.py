"""The gradient checker: what it accepts, what it finds, what it says where it cannot tell."""
import json
import sys
import types

import numpy as np
import pytest

import tinycnn
from tinycnn import nn
from tinycnn.autograd import Function
from tinycnn.checker import GradientError, assert_gradients, gradcheck

F = nn.functional


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def linear(x, w, b):
    return x @ w + b


def linear_backward(dy, x, w, b):
    return dy @ w.T, x.T @ dy, dy.sum(0)


LINEAR = numbers(4, 3), numbers(3, 2), numbers(2)


class Scaled(Function):
    """x^2 with a gradient that is wrong by a factor."""

    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.array * x.array

    def backward(ctx, dy):
        x, = ctx.saved_tensors
        return dy * x * 2.02


@pytest.mark.parametrize("mode", ["auto", "fast", "full"])
def test_a_right_gradient_is_accepted(mode):
    assert gradcheck(lambda x, w: F.conv2d(x, w, stride=2, padding=1), (tinycnn.tensor(numbers(2, 2, 5, 4)), tinycnn.tensor(numbers(3, 2, 3, 3))), mode=mode)
    assert gradcheck(linear, LINEAR, linear_backward, mode=mode)


@pytest.mark.parametrize("mode", ["auto", "fast", "full"])
def test_one_per_cent_is_found(mode):
    """Kills: a tolerance that lets real bugs through."""
    report = gradcheck(Scaled.apply, tinycnn.tensor(numbers(3, 2)), mode=mode)
    assert not report and report.verdict == "wrong"


def test_fast_takes_four_evaluations_at_any_size():
    """Kills: an evaluation per element."""
    report = gradcheck(lambda x: x * x, tinycnn.tensor(numbers(40, 50)), mode="fast")
    assert report and report.evaluations <= 8 and report.backwards <= 8


def test_one_wrong_element_of_hundreds_is_found_and_named():
    """By a hundredth of a per cent. Kills: a projection too coarse; a worst element that is not the worst."""
    x = numbers(20, 10)
    x[17, 5] = 1.5

    def backward(dy, x):
        dx = 3 * x * x * dy
        dx[17, 5] *= 1.0001
        return dx
    report = gradcheck(lambda x: x ** 3, x, backward)
    assert report.inputs[0].wrong == 1 and report.inputs[0].worst[0].input == (17, 5) and report.inputs[0].worst[0].output == (17, 5)
    assert report.inputs[0].error[17, 5] > 0 and np.count_nonzero(report.inputs[0].error) == 1
    assert "[17, 5]" in str(report)


def test_gradients_in_float32_are_judged_as_such():
    """Kills: calling rounding a bug; letting a bug pass as rounding."""
    report = gradcheck(lambda x: x ** 3, numbers(4, 3), lambda dy, x: (3 * x * x * dy * (1 + 6e-7)).astype(np.float32), mode="full")  # a few roundings
    assert report and any("float32" in note for note in report.notes)
    assert not gradcheck(lambda x: x ** 3, numbers(4, 3), lambda dy, x: (3.001 * x * x * dy).astype(np.float32))


def test_which_input_is_wrong():
    report = gradcheck(linear, LINEAR, lambda dy, x, w, b: (dy @ w.T, x.T @ dy, dy.mean(0)))
    assert [(r.name, r.verdict) for r in report.inputs] == [("x", "right"), ("w", "right"), ("b", "wrong")]


def test_a_network_is_checked_in_all_its_parameters():
    """Kills: parameters forgotten; the caller's module changed."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4 * 4, 3))
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    report = gradcheck(net, tinycnn.randn(2, 1, 6, 6))
    assert report and [r.name for r in report.inputs] == ["x", "0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "4.bias"]
    assert all(np.array_equal(before[name], value.numpy()) and value.dtype == tinycnn.float32 for name, value in net.state_dict().items() if value.is_floating)
    assert "float64 copy" in str(report)


def test_a_wrong_parameter_among_many_is_found():
    """More than a few inputs are projected together. Kills: a small gradient that the others drown."""
    class Wrong(Function):
        def forward(ctx, w):
            return w.array * 1.0

        def backward(ctx, dy):
            return dy * 1.01

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(6)])

        def forward(self, x):
            for i, layer in enumerate(self.layers):
                x = F.linear(x, Wrong.apply(layer.weight) * 1e-3, layer.bias) if i == 3 else layer(x)
            return x
    tinycnn.manual_seed(0)
    report = gradcheck(Layer(), tinycnn.randn(4, 3))
    assert [r.name for r in report.inputs if r.verdict == "wrong"] == ["layers.3.weight"]


def test_several_outputs_and_inputs_that_are_no_arrays():
    def forward(x, options, w):
        return x * options["by"], (x @ w).sum()

    def backward(dy, x, options, w):
        return dy[0] * options["by"] + dy[1] * np.ones((len(x), 1)) * w.sum(1), None, np.outer(x.sum(0), np.ones(2)) * dy[1]
    assert gradcheck(forward, (numbers(4, 3), {"by": 3}, numbers(3, 2)), backward)


def test_a_cache_between_forward_and_backward():
    """The convention of many courses."""
    def forward(x, w):
        return x @ w, (x, w)

    def backward(dy, cache):
        x, w = cache
        return dy @ w.T, x.T @ dy
    assert gradcheck(forward, LINEAR[:2], backward, cache=True)
    with pytest.raises(TypeError, match="must return .outputs, cache."):
        gradcheck(linear, LINEAR, backward, cache=True)


def test_the_second_order():
    """Kills: a backward that computes on arrays, and so is constant for its own derivative."""
    class Cube(Function):
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.array ** 3

        def backward(ctx, dy):
            x, = ctx.saved_tensors
            return dy * 3 * (x * x).detach()
    x = tinycnn.tensor(numbers(3, 2))
    assert gradcheck(lambda x: x * x * x, x, order=2).order == 2
    assert gradcheck(Cube.apply, x)
    report = gradcheck(Cube.apply, x, order=2)
    assert report.verdict == "wrong" and report.inputs[0].verdict == "wrong" and report.inputs[1].verdict == "right"


# ---- behaviour

def remembered():
    """A backward that adds to memory which it keeps."""
    total = np.zeros((4, 3))

    def backward(dy, x):
        total[...] += 2 * x * dy
        return total
    return backward


class Drops:
    """Dropout that draws its mask from NumPy's global generator."""

    def __init__(self, again):
        self.again = again

    def forward(self, x):
        self.mask = np.random.random(x.shape) < 0.5
        return x * self.mask * 2

    def backward(self, dy, x):
        mask = np.random.random(dy.shape) < 0.5 if self.again else self.mask
        return dy * mask * 2


BEHAVIOUR = {
    "not reset": (lambda x: x * x, remembered()),
    "changes its arguments": (lambda x: x * x, lambda dy, x: np.multiply(dy, 2 * x, out=dy)),
    "ignores dy": (lambda x: x * x, lambda dy, x: 2 * x),
    "depends on the sign of dy": (lambda x: np.maximum(x, 0), lambda dy, x: np.where(dy > 0, dy, 0)),
    "not linear in dy": (lambda x: x * x, lambda dy, x: 2 * x * dy * np.abs(dy)),
    "not finite": (lambda x: np.tanh(100 * x) / 100, lambda dy, x: dy * (1 - (np.exp(10000 * x) / np.exp(10000 * x)))),
    "random": (Drops(False).forward, Drops(True).backward),
    "transposed": (lambda x: x * x, lambda dy, x: (2 * x * dy).T),
    "not summed": (lambda x: np.ones((5, 1, 1)) * x, lambda dy, x: dy),
    "leftover rows": (lambda x: x[:3] ** 2, lambda dy, x: 2 * x[:3] * dy),
    "padding": (lambda x: x * x, lambda dy, x: np.pad(2 * x * dy, 1)),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("family", BEHAVIOUR)
def test_what_is_not_even_a_backward(family):
    forward, backward = BEHAVIOUR[family]
    report = gradcheck(forward, numbers(4, 3), backward)
    assert report.verdict == "wrong" and report.family == family, report


def test_random_numbers_are_held_still():
    """Kills: a mask that differs between x + h and x - h."""
    drops = Drops(False)
    report = gradcheck(drops.forward, numbers(4, 3), drops.backward, mode="full")
    assert report and any("random" in note for note in report.notes)
    assert gradcheck(nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2)), tinycnn.randn(4, 3), mode="full")
    generator = np.random.default_rng(5)
    assert gradcheck(lambda x, g: x * (g.random(x.shape) < 0.5), (numbers(4, 3), generator), lambda dy, x, g: dy * (np.random.default_rng(5).random(x.shape) < 0.5))


def test_hidden_randomness_is_named_and_nothing_is_claimed():
    hidden = np.random.default_rng()
    report = gradcheck(lambda x: x * hidden.random(), numbers(4, 3), lambda dy, x: dy)
    assert report.verdict == "cannot tell" and not report and "not deterministic" in str(report)


def test_float32_is_upgraded_with_the_reason_and_float32_inside_is_said():
    report = gradcheck(linear, tuple(array.astype(np.float32) for array in LINEAR), linear_backward)
    assert report and "checked as float64: in float32 rounding" in str(report)
    report = gradcheck(lambda x: (x.astype(np.float32) ** 2), numbers(4, 3), lambda dy, x: 2 * x * dy)
    assert report.verdict != "wrong" and "returns float32" in str(report)
    assert gradcheck(lambda x: (x.astype(np.float32) ** 2), numbers(4, 3), lambda dy, x: 2.2 * x * dy).verdict == "wrong"


def test_where_the_function_is_not_finite_nothing_is_claimed():
    report = gradcheck(lambda x: np.where(x > 0, x, np.nan), numbers(4, 3), lambda dy, x: dy)
    assert report.verdict == "cannot tell" and "NaN" in str(report)


def test_last_bits_that_vary_are_named_and_do_no_harm():
    """As atomic additions on a GPU make them. Kills: refusing to check what is right; saying nothing."""
    bits = np.random.default_rng(0)

    def shaken(a):
        return a * (1 + 1e-16 * bits.integers(-2, 3, a.shape))
    report = gradcheck(lambda x: shaken(x * x), numbers(4, 3), lambda dy, x: shaken(2 * x * dy))
    assert report and sum("last bits" in note for note in report.notes) == 2


def test_arrays_of_another_library_stay_there(monkeypatch):
    """CuPy's arrays, played by an array that says it is on a GPU. Kills: handing a NumPy array to a GPU kernel; reading GPU memory as if it were NumPy's."""
    class OnGPU(np.ndarray):
        __cuda_array_interface__ = {}

        def get(self):
            return np.array(self)
    cupy = types.SimpleNamespace(asarray=lambda a: np.array(a).view(OnGPU))
    monkeypatch.setitem(sys.modules, "cupy", cupy)

    def forward(x, w):
        assert isinstance(x, OnGPU) and isinstance(w, OnGPU)
        return np.tanh(x @ w)

    def backward(dy, x, w):
        assert isinstance(dy, OnGPU) and isinstance(x, OnGPU)
        inner = dy * (1 - np.tanh(x @ w) ** 2)
        return inner @ w.T, x.T @ inner
    x, w = cupy.asarray(numbers(4, 3)), cupy.asarray(numbers(3, 2))
    assert gradcheck(forward, (x, w), backward, mode="full")
    assert gradcheck(forward, (x, w), lambda dy, x, w: (backward(dy, x, w)[0], -backward(dy, x, w)[1])).family == "sign"


def test_a_backward_that_is_not_recorded_has_no_second_order():
    class OnArrays(Function):
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.array ** 2

        def backward(ctx, dy):
            x, = ctx.saved_tensors
            return tinycnn.tensor(2 * x.array * dy.array)
    assert gradcheck(OnArrays.apply, tinycnn.tensor(numbers(3)))
    with pytest.raises(ValueError, match="no second order to check: the backward computes on arrays"):
        gradcheck(OnArrays.apply, tinycnn.tensor(numbers(3)), order=2)


# ---- kinks

def test_kinks_are_seen_from_the_engine():
    """x at 0, near 0, and far from it. Kills: a kink taken for a wrong gradient; one that is skipped in silence."""
    x = tinycnn.tensor(np.array([0.0, 1.0, -1.0, 1e-5]))
    report = gradcheck(F.relu, x, mode="full")
    assert report
    told = {kink.index: kink for kink in report.kinks}
    assert set(told) == {(0,), (3,)}
    assert "ReLU, element [0]: on the lower side at x, on the upper side at x+h" in told[0,].what and "nearby" in told[0,].outcome
    assert "nobody changes sides within" in told[3,].outcome


def test_the_two_inputs_between_which_a_maximum_changes_are_named():
    x = tinycnn.tensor(np.array([0.0, 1.0, 1.0, 0.5]).reshape(1, 1, 2, 2))
    report = gradcheck(nn.MaxPool2d(2), x, mode="full")
    assert report and "the winner is (h, w) = (0, 1) at x and (1, 0) at x-h" in str(report)


@pytest.mark.parametrize("function", [lambda x: x.abs(), lambda x: x.clamp(0.0, 2.0), lambda x: tinycnn.maximum(x, x * 2), lambda x: x.amax(0), lambda x: x.max(0).values,
                                      lambda x: tinycnn.where(x > 0, x, x * 3), lambda x: F.adaptive_max_pool2d(x.reshape(1, 1, 2, 3), 1)],
                         ids=["abs", "clamp", "maximum", "amax", "max", "where", "adaptive_max_pool2d"])
def test_every_operation_with_branches_reports_its_kinks(function):
    """Two equal elements at 0."""
    report = gradcheck(function, tinycnn.tensor(np.array([0.0, 0.0, -1.0, -2.0, -0.5, -0.25])), mode="full")
    assert report.verdict == "right" and report.kinks and "one-sided" not in str(report), report


def test_a_wrong_gradient_beside_a_kink_is_still_wrong():
    """Kills: taking a kink as an excuse."""
    class Wrong(Function):
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return np.maximum(x.array, 0)

        def backward(ctx, dy):
            x, = ctx.saved_tensors
            return dy * (x >= 0).double() * 1.5
    assert gradcheck(Wrong.apply, tinycnn.tensor(np.array([0.0, 0.0]))).verdict == "wrong"


def relu(x):
    return np.maximum(x, 0)


def test_kinks_of_foreign_functions_are_found_from_one_sided_differences():
    report = gradcheck(relu, np.array([0.0, 1.0, -1.0, 1e-5, 2.0]), lambda dy, x: dy * (x > 0), mode="full")
    assert report and [kink.index for kink in report.kinks] == [(0,)] and "one-sided slopes" in report.kinks[0].what
    assert gradcheck(relu, np.array([0.0, 1.0, -1.0]), lambda dy, x: dy * (x > -2), mode="full").verdict == "wrong"


def test_equal_maxima_must_not_each_get_the_whole_gradient():
    """Two elements tie; raised together they raise the maximum by as much, not by twice as much."""
    x = np.array([1.0, 3.0, 3.0, 2.0])
    report = gradcheck(lambda x: x.max(), x, lambda dy, x: dy * (x == x.max()))
    assert report.verdict == "wrong" and "moved together" in str(report)
    assert gradcheck(lambda x: x.max(), x, lambda dy, x: dy * (np.arange(4) == x.argmax()))


# ---- precision

def test_the_step_is_chosen_by_element():
    """One element needs large steps, one needs small ones. Kills: one h for all."""
    def forward(x):
        return np.array([1e8 + x[0], np.sin(1000 * x[1])])
    report = gradcheck(forward, np.array([0.3, 0.2]), lambda dy, x: np.array([dy[0], 1000 * np.cos(1000 * x[1]) * dy[1]]), mode="full")
    assert report, report


def test_complex_steps_are_used_where_the_function_allows_them():
    """Near a pole differences do not settle; an analytic function still has its answer."""
    def forward(x):
        return np.exp(x) / np.sqrt(np.sin(x) ** 3 + np.cos(x) ** 3)
    x = np.array([1.5])
    e, s, c = np.exp(x), np.sin(x), np.cos(x)
    slope = e / np.sqrt(s ** 3 + c ** 3) - 0.5 * e * (3 * s ** 2 * c - 3 * c ** 2 * s) / (s ** 3 + c ** 3) ** 1.5
    assert gradcheck(forward, x, lambda dy, x: dy * slope, rtol=1e-10, mode="full")
    assert gradcheck(lambda x: 1e13 + np.sin(x), x, lambda dy, x: dy * np.cos(x), mode="full")
    assert gradcheck(lambda x: 1e13 + np.sin(x), x, lambda dy, x: dy * np.cos(x) * 1.001, mode="full").verdict == "wrong"
    assert gradcheck(lambda x: 1e13 + np.sin(np.real(x)), x, lambda dy, x: dy * np.cos(x), mode="full").verdict == "cannot tell"


def test_what_is_below_the_rounding_of_the_output_is_not_claimed():
    """Kills: calling a gradient right, or wrong, where nothing can be measured; doubting one that is zero, and that the backward says is zero."""
    def offset(x):
        return 1e13 + x.sin()
    assert gradcheck(offset, tinycnn.tensor(numbers(3)), mode="full").verdict == "cannot tell"
    vacuous = gradcheck(lambda x: F.batch_norm(x, None, None, training=True).sum(), tinycnn.tensor(numbers(4, 3)))  # always 0
    assert vacuous.verdict == "cannot tell" and "vacuous" in str(vacuous)
    assert gradcheck(lambda x: x * 0 + 3, tinycnn.tensor(numbers(3)), mode="full")


# ---- use

def test_the_helper_for_tests_raises_the_report():
    assert assert_gradients(linear, LINEAR, linear_backward)
    with pytest.raises(GradientError, match="gradcheck of linear: WRONG"):
        assert_gradients(linear, LINEAR, lambda dy, x, w, b: (dy @ w.T, x.T @ dy, -dy.sum(0)))


def test_the_report_as_data():
    report = gradcheck(linear, LINEAR, lambda dy, x, w, b: (dy @ w.T, x.T @ dy, -dy.sum(0)))
    data = json.loads(report.to_json())
    assert data["verdict"] == "wrong" and data["inputs"][2]["wrong"] == 2 and data["inputs"][2]["worst"][0]["backward"] != 0


WRONG = {
    "no function": (lambda: gradcheck(3, numbers(2)), TypeError, "must be a function"),
    "mode": (lambda: gradcheck(linear, LINEAR, linear_backward, mode="slow"), ValueError, "'slow'"),
    "order": (lambda: gradcheck(linear, LINEAR, linear_backward, order=3), ValueError, "order is 3"),
    "second order of arrays": (lambda: gradcheck(linear, LINEAR, linear_backward, order=2), ValueError, "differentiated itself"),
    "nothing to check": (lambda: gradcheck(lambda n: n, (3,)), ValueError, "nothing to check"),
    "no floating arrays": (lambda: gradcheck(lambda n: n, (np.arange(3),), lambda dy, n: dy), ValueError, "nothing to check"),
    "tensors with a backward": (lambda: gradcheck(lambda x: x, tinycnn.ones(2), lambda dy, x: dy), TypeError, "NumPy or CuPy arrays"),
    "independent": (lambda: gradcheck(lambda x: tinycnn.ones(2), tinycnn.ones(2)), ValueError, "depends"),
    "count of gradients": (lambda: gradcheck(linear, LINEAR, lambda dy, x, w, b: (dy, dy)), TypeError, "returned 2 gradients; there are 3"),
    "cache without backward": (lambda: gradcheck(linear, LINEAR, cache=True), ValueError, "give that backward"),
    "integers": (lambda: gradcheck(lambda x: x > 0, numbers(2), lambda dy, x: dy), TypeError, "bool"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_clear_error(case):
    call, kind, message = WRONG[case]
    with pytest.raises(kind, match=message):
        call()
