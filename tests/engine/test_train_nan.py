"""NaN and infinity stop a run where they appear, and the message says where that is."""
import numpy as np
import pytest
from tiny_run import make_model, make_trainer

import tinycnn
from tinycnn import nn
from tinycnn.train import NotFiniteError, checkpoint
from tinycnn.train.diagnose import diagnose, gradients_finite
from tinycnn.train.loss import ClassificationLoss


@pytest.fixture(autouse=True)
def reference_kernels():
    with tinycnn.use_kernels("reference"):
        yield


class Poison(nn.Module):
    """Passes its input on; from its call number `after` on, with one element replaced by `value`."""

    def __init__(self, after, value):
        super().__init__()
        self.after, self.value, self.calls = after, value, 0

    def forward(self, x):
        self.calls += 1
        if self.calls > self.after:
            x = tinycnn.cat([x[:-1], x[-1:] * self.value])
        return x


class PoisonGradient(tinycnn.autograd.Function):
    """Passes on what it gets; its gradient is infinite."""

    def forward(ctx, x):
        return x.array.copy()

    def backward(ctx, dy):
        return dy / 0.0


def test_the_layer_and_the_step_are_named(tmp_path):
    """Kills: naming a later layer, which only passed it on; the loss reported in the wrong step; weights spoilt before the stop."""
    model = make_model()
    model[2] = nn.Sequential(nn.ReLU(), Poison(6, float("nan")))
    run = make_trainer(tmp_path / "run", model=model)
    calls = []
    model[2][1].register_forward_hook(lambda *_: calls.append(run.model.training))
    with pytest.raises(NotFiniteError, match=r"step \d+ \(epoch \d, batch \d\): the loss is nan\n  it first appears in the output of 2\.1 \(Poison\)") as caught:
        run.run()
    assert f"step {run.step + 1} (epoch {run.epoch + 1}, batch {run.batch + 1})" in str(caught.value)
    assert "--lr 0.005" in str(caught.value)
    assert "64 NaN among" in str(caught.value)
    saved = checkpoint.load(run.folder / "last.safetensors")
    assert saved.state["step"] == run.step
    for name, tensor in run.model.state_dict().items():
        if "running" not in name and "num_batches" not in name:
            np.testing.assert_array_equal(tensor.array, saved.model[name].array)


def test_the_diagnosis_drops_out_what_the_step_did(tmp_path):
    """Kills: looking for a NaN with another dropout mask than the one that made it."""
    class BreaksOnZero(nn.Module):
        def forward(self, x):
            return x + 1 / abs(x[0, 0] * self.training + 1 - self.training)

    model = make_model()
    model[4] = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.2), BreaksOnZero())
    with pytest.raises(NotFiniteError, match=r"it first appears in the output of 4\.2 \(BreaksOnZero\)"):
        make_trainer(tmp_path / "run", model=model, lr=1e-6).run()


def test_a_gradient_that_overflows(tmp_path):
    """Kills: looking at the loss alone, so that the weights become infinite and the next step is blamed."""
    class Layer(nn.Module):
        def forward(self, x):
            return PoisonGradient.apply(x)

    model = make_model()
    model[1] = nn.Sequential(model[1], Layer())
    run = make_trainer(tmp_path / "run", model=model)
    with pytest.raises(NotFiniteError, match=r"step 1 .*finite, but its gradient is not\n.*gradient that reaches the output of 1\.0 \(BatchNorm2d\)"):
        run.run()
    assert all(np.isfinite(parameter.array).all() for parameter in model.parameters())


def test_diagnosis_of_images_weights_and_loss():
    """Kills: blaming a layer for what it was given."""
    tinycnn.manual_seed(0)
    model, loss = make_model(), ClassificationLoss()
    images, labels = tinycnn.randn(4, 1, 6, 6), tinycnn.tensor([0, 1, 2, 0])
    assert "did not appear again" in diagnose(model, loss, images, labels)
    images.array[0, 0, 0, 0] = np.inf
    assert "images of this batch already hold 1 infinities among 144" in diagnose(model, loss, images, labels)
    images.array[0, 0, 0, 0] = 0
    model[1].running_mean.array[2] = np.nan
    assert diagnose(model, loss, images, labels).startswith("1.running_mean holds 1 NaN among 4 values before this step")
    model[1].running_mean.array[2] = 0
    assert "the loss itself" in diagnose(model, lambda output, labels: (output.sum() * float("inf"), output), images, labels)
    assert not any(module._forward_hooks for module in model.modules())


def test_large_gradients_are_not_infinite_ones():
    """Kills: taking the overflow of the sum of squares for that of a gradient; missing a NaN."""
    parameter = nn.Parameter(tinycnn.zeros(3))
    for value, expected in ((1.0, True), (3e38, True), (np.inf, False), (np.nan, False)):
        parameter.grad = tinycnn.tensor([0.0, value, 1.0], dtype="float32")
        assert gradients_finite([parameter, nn.Parameter(tinycnn.zeros(2))]) is expected


def test_weights_that_overflow_are_not_saved(tmp_path):
    """Kills: a checkpoint that cannot be trained on, in the place of one that can."""
    run = make_trainer(tmp_path / "run", epochs=1)
    run.run()
    saved = (run.folder / "last.safetensors").read_bytes()
    run.model[0].weight.array[0] = np.inf
    with pytest.raises(NotFiniteError, match=r"last.safetensors: not saved: model.0.weight holds NaN or infinity"):
        run.save()
    assert (run.folder / "last.safetensors").read_bytes() == saved
