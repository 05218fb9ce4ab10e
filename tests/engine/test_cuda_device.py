"""Tensors on the device "cuda", here on its simulation: moved, made, printed, computed with, and errors that say what is wrong."""
import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from cuda_device import needs_simulator, simulator_only

import tinycnn

pytestmark = needs_simulator


def test_there_and_back():
    """Kills: the wrong dtype or elements; a move of what is there already."""
    x = tinycnn.tensor([[1.0, 2.5], [-1.0, 0.0]])
    y = x.cuda()
    assert y.device == "cuda" and y.shape == (2, 2) and y.dtype == x.dtype and y.cuda() is y and y.to("cuda") is y and x.cpu() is x
    assert y.cpu().device == "cpu" and y.tolist() == y.cpu().tolist() == x.tolist()
    assert y.to("cpu", tinycnn.float64).dtype == tinycnn.float64 and x.to(y).device == "cuda"
    assert y[0, 1].item() == 2.5 and f"{y[0, 1]:.1f}" == "2.5" and bool(y[0, 0] > 0)
    assert repr(y) == "tensor([[ 1. ,  2.5],\n        [-1. ,  0. ]], device='cuda')"


def test_it_can_be_asked_for_and_waited_for():
    """Kills: a program of PyTorch's that asks whether there is a GPU; launches that are still queued after synchronize."""
    assert tinycnn.cuda.is_available()
    x = tinycnn.ones(3, device="cuda") + 1
    tinycnn.cuda.synchronize()
    assert x.tolist() == [2, 2, 2]


def test_made_on_the_device():
    """Kills: a creation function that forgets its device."""
    for make, *arguments in ((tinycnn.zeros, 2, 3), (tinycnn.ones, 2), (tinycnn.full, (2,), 7), (tinycnn.arange, 5), (tinycnn.linspace, 0, 1, 5), (tinycnn.eye, 3),
                             (tinycnn.tensor, [1, 2]), (tinycnn.as_tensor, np.ones(2))):
        here, there = make(*arguments), make(*arguments, device="cuda")
        assert there.device == "cuda" and there.dtype == here.dtype and there.tolist() == here.tolist()
    tinycnn.manual_seed(0)
    here = tinycnn.randn(4)
    tinycnn.manual_seed(0)
    assert tinycnn.randn(4, device="cuda").tolist() == here.tolist()
    assert tinycnn.zeros_like(tinycnn.ones(2, device="cuda")).device == "cuda" and tinycnn.empty(3, device="cuda").shape == (3,)


def test_gradients_flow_between_devices():
    """Kills: a gradient on the wrong device; a move that is not recorded."""
    x = tinycnn.tensor([1.0, -2.0, 3.0], requires_grad=True)
    y = (x.cuda() * 2).relu()
    y.cpu().backward(tinycnn.tensor([1.0, 1.0, 10.0]))
    assert x.grad.device == "cpu" and x.grad.tolist() == [2, 0, 20]
    w = tinycnn.tensor([1.0, 2.0], device="cuda", requires_grad=True)
    for _ in range(2):
        (w * w).backward(tinycnn.ones(2, device="cuda"))
    assert w.grad.device == "cuda" and w.grad.tolist() == [4, 8]


def test_views_and_in_place():
    """Kills: a view that copies; a version that views do not share."""
    x = tinycnn.zeros(2, 3, device="cuda")
    x[0].fill_(1)
    x.t().add_(1)
    x.copy_(x.cpu() * 2)
    assert x.tolist() == [[4, 4, 4], [2, 2, 2]]
    assert tinycnn.where(x > 3, x, 0.0).tolist() == [[4, 4, 4], [0, 0, 0]]


def test_copies_and_pickles():
    """A pickle travels as numbers and arrives on the CPU."""
    x = tinycnn.ones(2, device="cuda", requires_grad=True)
    assert copy.deepcopy(x).device == "cuda" and copy.deepcopy(x).tolist() == [1, 1]
    assert pickle.loads(pickle.dumps(x)).device == "cpu"


def test_states_are_loaded_from_either_device_into_either():
    """Kills: looking into the memory of the device that a state comes from, as if it were NumPy's."""
    def trained(device, value):
        layer = tinycnn.nn.Linear(2, 1, bias=False).to(device)
        optimizer = tinycnn.optim.SGD(layer.parameters(), 0.1, momentum=0.9)
        layer.weight.grad = tinycnn.full((1, 2), value, device=device)
        optimizer.step()
        return layer, optimizer

    for source in ("cuda", "cpu"):
        for target in ("cuda", "cpu"):
            layer, optimizer = trained(source, 2.0)
            other, continued = trained(target, 3.0)
            other.load_state_dict(layer.state_dict())
            continued.load_state_dict(optimizer.state_dict())
            buffer = continued.state[other.weight]["momentum_buffer"]
            assert other.weight.device == buffer.device == target
            assert other.weight.tolist() == layer.weight.tolist() and buffer.tolist() == [[2, 2]]


@pytest.mark.parametrize("function, kind, message", [
    (lambda x, y: x + y, ValueError, "different devices, cpu and cuda"),
    (lambda x, y: y.relu() * x, ValueError, "different devices, cuda and cpu"),
    (lambda x, y: y.numpy(), TypeError, r"use .cpu\(\).numpy\(\)"),
    (lambda x, y: np.asarray(y), TypeError, r"use .cpu\(\).numpy\(\)"),
    pytest.param(lambda x, y: y.array + 1, TypeError, "arithmetic is done by kernels", marks=simulator_only),
    pytest.param(lambda x, y: float(y.array[0]), TypeError, r"get\(\) or item\(\)", marks=simulator_only),
])
def test_wrong_use(function, kind, message):
    with pytest.raises(kind, match=message):
        function(tinycnn.ones(2), tinycnn.ones(2, device="cuda"))


@pytest.mark.parametrize("setting, message", [({"TINYCNN_CUDA": "gpu"}, "TINYCNN_CUDA=simulate"), ({"TINYCNN_CUDA": "yes"}, "it can be 'gpu' or 'simulate'"),
                                              ({"TINYCNN_CUDA": "simulate", "CXX": "no-such-compiler"}, "apt install g")])
def test_what_is_missing_is_said(setting, message, tmp_path):
    """Kills: an ImportError of CuPy's, a driver's error number, a traceback of g++ that is not there."""
    program = "import tinycnn; print((tinycnn.ones(2).cuda() * 2).tolist())"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                         env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "TINYCNN_CACHE": str(tmp_path)} | setting)
    assert run.returncode == 1 and message in run.stderr
