"""What a tensor is: dtypes, memory, exchange with others, printing, errors."""
import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import tinycnn


def test_dtypes_of_new_tensors():
    """Kills: float64 for Python floats."""
    assert tinycnn.tensor([1.5]).dtype == tinycnn.float32
    assert tinycnn.tensor([1]).dtype == tinycnn.int64
    assert tinycnn.tensor([True]).dtype == tinycnn.bool
    assert tinycnn.tensor(np.zeros(2)).dtype == tinycnn.float64
    assert tinycnn.tensor([1.5], dtype=tinycnn.float64).dtype == tinycnn.float64
    assert tinycnn.zeros(2, 3).shape == tinycnn.zeros((2, 3)).shape == (2, 3)
    assert tinycnn.full((2,), 7).dtype == tinycnn.int64 and tinycnn.arange(3).tolist() == [0, 1, 2]
    assert tinycnn.full((2,), np.int64(7)).dtype == tinycnn.int64 and tinycnn.arange(np.int64(3)).dtype == tinycnn.int64
    assert tinycnn.full((2,), 7.0).dtype == tinycnn.full((2,), np.float64(7)).dtype == tinycnn.float32 and tinycnn.full((2,), True).dtype == tinycnn.bool


def test_numbers_in_the_byte_order_of_another_machine():
    """As NumPy reads them from some files. Kills: a dtype that no kernel knows, found out by the compiler."""
    big = np.arange(3, dtype=">f4")
    assert tinycnn.tensor(big).dtype == tinycnn.float32 and tinycnn.tensor(big).relu().tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="order of another machine"):
        tinycnn.from_numpy(big)
    with pytest.raises(TypeError, match="at most 64 bits"):
        tinycnn.from_numpy(np.ones(2, np.longdouble))


def test_a_new_tensor_copies_and_from_numpy_shares():
    array = np.zeros(3, np.float32)
    copied, shared = tinycnn.tensor(array), tinycnn.from_numpy(array)
    array[0] = 1
    assert copied.tolist() == [0, 0, 0] and shared.tolist() == [1, 0, 0]
    assert shared.numpy() is array and np.shares_memory(np.asarray(shared), array)
    assert np.shares_memory(np.from_dlpack(shared), array)


def test_numpy_of_a_recorded_tensor_is_refused():
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(tinycnn.ones(2, requires_grad=True))


@pytest.mark.torch
def test_exchange_with_pytorch_shares_memory():
    import torch
    ours = tinycnn.arange(6, dtype=tinycnn.float32).reshape(2, 3)
    theirs = torch.from_dlpack(ours)
    theirs[0, 0] = 9
    assert ours[0, 0].item() == 9
    back = tinycnn.from_dlpack(theirs)
    back[1, 1] = -1
    assert theirs[1, 1].item() == -1


def test_memory_formats():
    x = tinycnn.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    last = x.contiguous(memory_format=tinycnn.channels_last)
    assert last.shape == x.shape and (last == x).all()
    assert last.is_contiguous(memory_format=tinycnn.channels_last) and not last.is_contiguous()
    assert last.stride() == (60, 1, 15, 3)
    assert last.contiguous().is_contiguous() and x.to(memory_format=tinycnn.channels_last).stride() == last.stride()
    assert last.clone().stride() == last.stride()
    with pytest.raises(ValueError, match="channels_last is an order of"):
        x[0].contiguous(memory_format=tinycnn.channels_last)


def test_view_copies_where_strides_forbid():
    """Our one departure from PyTorch."""
    x = tinycnn.arange(6).reshape(2, 3).t()
    assert x.view(6).tolist() == [0, 3, 1, 4, 2, 5]


def test_views_share_memory_and_version():
    x = tinycnn.zeros(2, 3)
    x[0].fill_(1)
    x.t()[2, 1] = 5
    assert x.tolist() == [[1, 1, 1], [0, 0, 5]]


def test_printing_and_conversion():
    assert repr(tinycnn.tensor([1.0, 2.5])) == "tensor([1. , 2.5])"
    assert "requires_grad=True" in repr(tinycnn.ones(1, requires_grad=True))
    assert "grad_fn=<Mul>" in repr(tinycnn.ones(1, requires_grad=True) * 2)
    assert "float64" in repr(tinycnn.ones(1, dtype=tinycnn.float64))
    assert f"{tinycnn.tensor(2.5):.2f}" == "2.50" and float(tinycnn.tensor(2.5)) == 2.5
    assert [10, 20, 30][tinycnn.tensor(1)] == 20
    assert len(tinycnn.ones(4, 2)) == 4 and list(tinycnn.arange(3)) == [0, 1, 2]


def test_what_is_imported_when_first_used():
    """Kills: a package or function in the table that is not where the table says."""
    for name in (*tinycnn.LATER, *tinycnn.FUNCTIONS):
        assert getattr(tinycnn, name) is not None


def test_a_tensor_of_a_list():
    """Kills: torch.Tensor([1, 2]) that is no tensor."""
    x = tinycnn.Tensor([[1, 2], (3, 4)])
    assert x.dtype == tinycnn.float32 and (x + 1).tolist() == [[2, 3], [4, 5]]


def test_copies_and_pickles_are_leaves():
    x = tinycnn.ones(2, requires_grad=True)
    for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert y.requires_grad and y.is_leaf and y.tolist() == [1, 1] and not np.shares_memory(y.array, x.array)
    with pytest.raises(RuntimeError, match="only leaves"):
        copy.deepcopy(x * 2)


@pytest.mark.parametrize("function, kind, message", [
    (lambda: tinycnn.tensor(["a"]), TypeError, "numbers and booleans"),
    (lambda: tinycnn.from_numpy([1]), TypeError, "NumPy array"),
    (lambda: tinycnn.tensor([1], requires_grad=True), RuntimeError, "floating-point"),
    (lambda: tinycnn.zeros(2, device="gpu"), ValueError, "unknown device 'gpu'"),
    (lambda: tinycnn.zeros(2, -3), ValueError, r"shape \(2, -3\): no extent may be negative"),
    (lambda: tinycnn.randn(-1), ValueError, r"shape \(-1,\)"),
    (lambda: tinycnn.nothing, AttributeError, "'tinycnn' has no attribute 'nothing'"),
    (lambda: len(tinycnn.tensor(1.0)), TypeError, "0-dimensional"),
    (lambda: tinycnn.manual_seed(-1), ValueError, "seed"),
    (lambda: tinycnn.set_num_threads(0), ValueError, "n is 0"),
    (lambda: tinycnn.use_kernels("fast").__enter__(), ValueError, "unknown kernel backend 'fast'"),
])
def test_wrong_input(function, kind, message):
    with pytest.raises(kind, match=message):
        function()


def test_random_numbers_continue_where_their_state_was_taken():
    """Kills: a resumed run that draws other numbers."""
    tinycnn.manual_seed(3)
    tinycnn.randn(5)
    tinycnn.random.next_call()
    state = tinycnn.get_rng_state()
    expected = tinycnn.randn(3).tolist(), tinycnn.randint(10, size=4).tolist(), tinycnn.random.next_call()
    tinycnn.manual_seed(99)
    tinycnn.set_rng_state(state)
    assert (tinycnn.randn(3).tolist(), tinycnn.randint(10, size=4).tolist(), tinycnn.random.next_call()) == expected


def test_importing_is_cheap():
    """Kills: a module-level import of Numba, matplotlib, Pillow or PyTorch, which the first error or --help would wait for."""
    heavy = "import sys, tinycnn; print([m for m in ('numba', 'matplotlib', 'PIL', 'torch', 'scipy', 'click', 'tqdm') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout.strip() == "[]"
