"""What tells a right kernel from a wrong one: the answers to compare with, and the mistakes that are found and named."""
import numpy as np
import pytest
from tolerance import close

from tinycnn.bench import truth
from tinycnn.bench.layers import FORMS, Layer
from tinycnn.bench.rivals.base import Contestant
from tinycnn.bench.validate import CASES, allowed, check, draw, error, listed, report
from tinycnn.kernels.conv import reference


@pytest.mark.parametrize("threads", [None, 3])
@pytest.mark.parametrize("layer", CASES, ids=lambda layer: layer.name)
def test_the_truth_is_the_reference(layer, threads):
    """Kills: a mistake in what everybody is judged by: stride, padding, dilation, groups, the overlap, the bias; images out of order where threads share them out."""
    x, w, bias, dy = (None if array is None else array.astype(np.float64) for array in draw(layer))
    found = truth.answers(x, w, bias, dy, layer, FORMS, threads)
    close(found["forward"], reference.forward(x, w, bias, layer.geometry), layer.length("forward"))
    close(found["input_grad"], reference.input_grad(dy, w, layer.x_shape, layer.geometry), layer.length("input_grad"))
    close(found["weight_grad"], reference.weight_grad(dy, x, layer.w_shape, layer.geometry), layer.length("weight_grad"))


def test_answers_are_kept(tmp_path, monkeypatch):
    """Kills: a folder that is not read, keys that mean different things and are one, a file where nobody asked for one."""
    computed = []

    def compute():
        computed.append(1)
        return {"w": np.arange(3.0)}
    monkeypatch.delenv("TINYCNN_ANSWERS", raising=False)
    assert [len(truth.kept(compute, "a")["w"]) for _ in range(2)] == [3, 3] and len(computed) == 2
    monkeypatch.setenv("TINYCNN_ANSWERS", str(tmp_path))
    answers = [truth.kept(compute, "a", batch) for batch in (1, 1, 2)]
    assert len(computed) == 4 and len(list(tmp_path.iterdir())) == 2
    np.testing.assert_array_equal(answers[1]["w"], np.arange(3.0))


class Kernel(Contestant):
    """Right, except for what is put in its place: {form: function(right answer, x, w, bias, dy, layer)}."""

    library = "mine"

    def __init__(self, **wrong):
        super().__init__("default", 1)
        self.wrong = wrong

    def conv(self, layer, x, w, bias, dy):
        right = {"forward": lambda: reference.forward(x, w, bias, layer.geometry), "input_grad": lambda: reference.input_grad(dy, w, layer.x_shape, layer.geometry),
                 "weight_grad": lambda: reference.weight_grad(dy, x, layer.w_shape, layer.geometry)}
        mutant = {form: (lambda form=form, change=change: change(right[form](), x, w, bias, dy, layer)) for form, change in self.wrong.items()}
        return {**right, **mutant}


def faults(form, change, cases=CASES):
    """What is said about a kernel with this change, for each case where anything is."""
    return {finding.case.name: finding.fault for finding in check(Kernel(**{form: change}), cases) if finding.fault}


def test_a_right_kernel_is_right():
    """Kills: a check that finds fault with float32 itself, or with a result that is not contiguous."""
    findings = check(Kernel())
    assert len(findings) == 3 * len(CASES) and [finding for finding in findings if finding.fault] == []
    assert all(finding.error < 2e-5 for finding in findings)
    text = report(findings)
    assert text.count(f"{len(CASES)} of {len(CASES)} cases right") == 3 and "WRONG" not in text


def flipped(w):
    return np.ascontiguousarray(w[:, :, ::-1, ::-1])


def shifted_padding(y, x, w, bias, dy, layer):
    """Padding only below and at the right, twice as much."""
    top, left = layer.padding
    moved = np.pad(x, ((0, 0), (0, 0), (0, 2 * top), (0, 2 * left)))
    return reference.forward(moved, w, bias, layer._replace(padding=(0, 0)).geometry)


def lost_column(y, x, w, bias, dy, layer):
    """Only whole tiles of eight columns."""
    whole = y.shape[3] // 8 * 8
    if 0 < whole < y.shape[3]:
        y[..., whole:] = 0
    return y


MUTANTS = {
    "the filter flipped": ("forward", lambda y, x, w, bias, dy, layer: reference.forward(x, flipped(w), bias, layer.geometry), "if the filter is flipped"),
    "the filter transposed": ("forward", lambda y, x, w, bias, dy, layer: reference.forward(x, np.ascontiguousarray(w.swapaxes(2, 3)), bias, layer.geometry)
                              if layer.R == layer.S else y, "if rows and columns of the filter are exchanged"),
    "no bias": ("forward", lambda y, x, w, bias, dy, layer: reference.forward(x, w, None, layer.geometry), "without the bias"),
    "no padding": ("forward", lambda y, x, w, bias, dy, layer: y if layer.H < layer.R else reference.forward(x, w, bias, layer.geometry._replace(padding=(0, 0))),
                   "That is the shape if the padding is ignored"),
    "padding on one side": ("forward", shifted_padding, "elements are wrong, everywhere"),
    "stride ignored": ("forward", lambda y, x, w, bias, dy, layer: reference.forward(x, w, bias, layer.geometry._replace(stride=(1, 1))),
                       "That is the shape if the stride is ignored"),
    "strides exchanged": ("forward", lambda y, x, w, bias, dy, layer: reference.forward(x, w, bias, layer.geometry._replace(stride=layer.stride[::-1])),
                          "if vertical and horizontal stride are exchanged"),
    "one group read by all": ("forward", lambda y, x, w, bias, dy, layer: reference.forward(
        np.tile(x[:, :layer.w_shape[1]], (1, layer.groups, 1, 1)), w, bias, layer.geometry), "if every filter reads the channels of the first group"),
    "whole tiles only": ("forward", lost_column, "at q = 8-10 of 11"),
    "not flipped on the way back": ("input_grad", lambda dx, x, w, bias, dy, layer: reference.input_grad(dy, flipped(w), layer.x_shape, layer.geometry),
                                    "if the filter is not flipped on the way back"),
    "overlaps overwritten": ("input_grad", lambda dx, x, w, bias, dy, layer: overwritten(dy, w, layer), "if overlapping windows overwrite each other"),
    "leftover rows missing": ("input_grad", lambda dx, x, w, bias, dy, layer: dx[:, :, :reach(layer)], "Inputs that no filter position reached belong to it"),
    "padding not cut off": ("input_grad", lambda dx, x, w, bias, dy, layer: np.pad(dx, ((0, 0), (0, 0), (layer.padding[0],) * 2, (layer.padding[1],) * 2)),
                            "The padding has not been cut off"),
    "the mean over the batch": ("weight_grad", lambda dw, x, w, bias, dy, layer: dw / np.float32(layer.N), "averaged over the batch"),
    "the last image": ("weight_grad", lambda dw, x, w, bias, dy, layer: reference.weight_grad(dy[-1:], x[-1:], layer.w_shape, layer.geometry), "of the last image alone"),
    "not a number": ("weight_grad", lambda dw, x, w, bias, dy, layer: dw * np.float32("nan"), "elements are not finite"),
    "another dtype": ("weight_grad", lambda dw, x, w, bias, dy, layer: dw.astype(np.float64), "returns float64; for float32 inputs it must be float32"),
    "no array": ("weight_grad", lambda dw, x, w, bias, dy, layer: dw.tolist(), "returns a list; it must return a NumPy array"),
    "an exception": ("forward", lambda y, x, w, bias, dy, layer: y[10**6], "raises IndexError"),
}


def overwritten(dy, w, layer):
    """= for +=, tap after tap."""
    (top, left), (N, _, P, Q), Kg, Cg = layer.padding, dy.shape, layer.K // layer.groups, layer.w_shape[1]
    dx = np.zeros((N, layer.C, layer.H + 2 * top, layer.W + 2 * left), dy.dtype)
    for r in range(layer.R):
        for s in range(layer.S):
            for g in range(layer.groups):
                received = np.einsum("kc,nkpq->ncpq", w[g * Kg:(g + 1) * Kg, :, r, s], dy[:, g * Kg:(g + 1) * Kg])
                down, right = r * layer.dilation[0], s * layer.dilation[1]
                rows = slice(down, down + (P - 1) * layer.stride[0] + 1, layer.stride[0])
                dx[:, g * Cg:(g + 1) * Cg, rows, right:right + (Q - 1) * layer.stride[1] + 1:layer.stride[1]] = received
    return dx[:, :, top:top + layer.H, left:left + layer.W]


def reach(layer):
    """Rows of x that some filter position reaches."""
    return (layer.y_shape[2] - 1) * layer.stride[0] - layer.padding[0] + layer.dilation[0] * (layer.R - 1) + 1


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_kernels_are_found_and_the_mistake_is_named(mutant):
    """Each of MUTANTS is a planted mistake. Kills: a check that passes any of them, or that cannot say what it is."""
    form, change, said = MUTANTS[mutant]
    found = faults(form, change)
    assert any(said in fault for fault in found.values()), found


def test_every_shape_is_tried():
    """A mistake that shows on few shapes only. Kills: cases without dilation, groups, leftover rows, more than one image, rows unlike columns."""
    assert faults("forward", lambda y, x, w, bias, dy, layer: reference.forward(x, w, bias, layer.geometry._replace(dilation=(1, 1)))).keys() == {
        "dilated", "dilated as far as strided"}
    assert "depthwise" in faults("input_grad", lambda dx, x, w, bias, dy, layer: dx * np.float32(layer.groups < 5))
    assert "the stride leaves rows over" in faults("input_grad", lambda dx, x, w, bias, dy, layer: dx[:, :, :reach(layer)])


def test_kernels_that_change_their_inputs_or_keep_their_result():
    """Kills: inputs compared with themselves; a single call; results that are one buffer, called fresh."""
    def changes(y, x, w, bias, dy, layer):
        x[...] = 0
        return y
    assert faults("forward", changes, CASES[:1]) == {"plain": "changes its input x"}
    buffers = {}

    def same_memory(y, x, w, bias, dy, layer):
        first = layer not in buffers
        buffer = buffers.setdefault(layer, y)
        buffer[...] = y if first else y * np.float32(1 + 1e-6)
        return buffer
    assert "gives the same memory every time" in faults("forward", same_memory, CASES[:1])["plain"]
    calls = []

    def accumulates(y, x, w, bias, dy, layer):
        calls.append(layer)
        return y * np.float32(len(calls))
    assert "wrong when called again" in faults("forward", accumulates, CASES[:1])["plain"]


def test_what_a_kernel_does_not_do_is_left_out_and_not_wrong():
    """Kills: NotImplementedError as a fault; a fault that is left out."""
    def no_groups(y, x, w, bias, dy, layer):
        if layer.groups > 1:
            raise NotImplementedError("groups")
        return y
    findings = check(Kernel(forward=no_groups))
    assert {finding.case.name for finding in findings if finding.unsupported} == {"two groups", "depthwise"}
    assert "left out two groups" in report(findings) and "WRONG" not in report(findings)


def test_rounding_is_allowed_and_less_than_float32_is_not():
    """The outputs of Winograd's larger transforms pass (5e-5 sigma); inputs rounded to TF32's ten bits, or one product of 4608 forgotten, do not.
    Kills: a limit that is absolute, or too wide by a factor of ten, or too narrow for float32."""
    layer = Layer("", 1, 512, 6, 6, 8, 3, 3, padding=(1, 1))
    x, w, _, _ = draw(layer)
    exact = truth.forward(x.astype(np.float64), w.astype(np.float64), None, layer)
    limit = allowed(layer.length("forward"))
    noise = 5e-5 * exact.std() * np.sign(np.random.default_rng(0).standard_normal(exact.shape))
    assert error(exact + noise, exact) < limit and error(truth.forward(x, w, None, layer), exact) < limit
    tf32 = [(array.view(np.uint32) + 0x1000 & 0xFFFFE000).astype(np.uint32).view(np.float32) for array in (x, w)]
    assert error(truth.forward(*tf32, None, layer), exact) > limit
    w[:, 100, 1, 1] = 0
    assert error(truth.forward(x, w, None, layer), exact) > 10 * limit
    assert error(1e6 * exact, 1e6 * exact) == 0 == error(np.zeros((0, 3)), np.zeros((0, 3)))
    assert error(np.full(3, np.nan), np.ones(3)) == np.inf == error(np.array([1, np.inf]), np.ones(2))
    assert error(np.array([0.0, 2.2]), np.array([0.0, 2.0])) == pytest.approx(0.2 / 2**0.5)


def test_places_are_listed_in_runs():
    """Kills: off-by-one ends of a run."""
    assert listed([0, 4, 7, 8, 9]) == "0, 4, 7-9" and listed([]) == "" and listed([2, 3]) == "2-3"
