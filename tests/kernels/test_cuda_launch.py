"""The launcher, the stand-in for CuPy and the simulator: what is read from a source, what is checked at a launch, what is found while kernels run."""
from typing import NamedTuple

import numpy as np
import pytest
from cuda_device import needs_simulator, simulator_only

from tinycnn.kernels import cuda
from tinycnn.kernels.cuda import blocks, launch, layout, source, strided
from tinycnn.kernels.cuda.memory import keep

pytestmark = needs_simulator

KERNELS = """
#include "device.h"
#define SIDE 16
extern "C" __global__ void __launch_bounds__(SIDE * 2) scale(const real* x, real* __restrict__ y, real factor, index_t n) { // a comment, with a (comma)
    index_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = factor * x[i];
}
extern "C" __global__ void all_types(const float* a, double b, half c, bool d, unsigned e, long long f, const Layout g, unsigned char h, short i) {}
extern "C" __global__ void reverse(float* x) {
    __shared__ float s[64];
    s[threadIdx.x] = x[threadIdx.x];
#ifndef NO_BARRIER
    __syncthreads();
#endif
    x[threadIdx.x] = s[63 - threadIdx.x];
}
extern "C" __global__ void dynamic(float* x) {
    DYNAMIC_SHARED(float, s);
    x[threadIdx.x] = s[threadIdx.x];
    s[threadIdx.x] = 1;
}
extern "C" __global__ void some_wait(float* x) {
    if (threadIdx.x < 16) __syncthreads();
    x[threadIdx.x] = 1;
}
extern "C" __global__ void warp_sums(const float* x, float* y) {
    float sum = x[threadIdx.x];
    for (int distance = 16; distance; distance /= 2) sum += __shfl_down_sync(ALL_LANES, sum, distance);
    if (threadIdx.x % WARP == 0) y[threadIdx.x / WARP] = sum;
}
extern "C" __global__ void product(const float* A, const float* B, float* C) {  // 16x8 = 16x8 8x8
    int g = threadIdx.x / 4, t = threadIdx.x % 4;
    unsigned a[4] = {to_tf32(A[g * 8 + t]), to_tf32(A[(g + 8) * 8 + t]), to_tf32(A[g * 8 + t + 4]), to_tf32(A[(g + 8) * 8 + t + 4])};
    unsigned b[2] = {to_tf32(B[t * 8 + g]), to_tf32(B[(t + 4) * 8 + g])};
    float c[4] = {};
    mma_m16n8k8_tf32(c, a, b);
    for (int i = 0; i < 4; ++i) C[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = c[i];
}
extern "C" __global__ void through_shared(const float* x, float* y) {  // 4 floats a thread, read by its neighbour
    __shared__ __align__(16) float s[256];
    cp_async_16(s + 4 * threadIdx.x, x + 4 * threadIdx.x);
    cp_async_commit();
#ifndef NO_WAIT
    cp_async_wait<0>();
#endif
    __syncthreads();
    for (int k = 0; k < 4; ++k) y[4 * threadIdx.x + k] = s[(4 * threadIdx.x + k + 4) % 256];
}
struct Pair { int a, b; real c; };
extern "C" __global__ void with_pair(const Pair p, index_t n, real* y) { y[0] = p.a - p.b * p.c + n; }
struct Sizes { unsigned char few; unsigned int some = 2, more; long long many = 1; };
extern "C" __global__ void with_sizes(Sizes s, float* y) { y[0] = s.few + 10 * s.some + 100 * s.more + 1000 * s.many; }
struct Table { unsigned char count; real values[3][SIDE * 2], factor; long long address[2]; };
extern "C" __global__ void with_table(const Table t, real* y) { y[0] = t.count + t.values[2][31] * t.factor + reinterpret_cast<real*>(t.address[1])[1]; }
template <int ROWS> struct Open { real values[ROWS]; };  // which no launch can give
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("kernels") / "some.cu"
    path.write_text(KERNELS)
    return str(path)


@pytest.fixture
def xp():
    return cuda.array_module()


def floats(xp, *shape):
    return xp.asarray(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def test_signatures_are_those_that_the_compiler_sees(file):
    """Every kernel of the library and of the file above. Kills: a type read wrongly; a kernel not found; a bound not understood."""
    from tinycnn.kernels.cuda.simulator import build
    from tinycnn.kernels.cuda.simulator.module import Library
    f4, i4 = np.dtype(np.float32), np.dtype(np.int32)
    types = {name: f4 for name in ("real", "input", "A", "B", "C", "T", "X", "Y")} | {"winner_t": np.dtype(np.uint8), "index_t": i4}
    types |= {"FORMULA": "a", "COMBINE": "a + b", "BEATS": "a > b"}
    for path in [file, *source.KERNELS.rglob("*.cu")]:
        kernels = source.kernels(source.path_of(path), types)
        assert kernels, path
        library = Library(build.library(source.path_of(path), types))
        for name, kernel in kernels.items():
            letters = ["P" if p.is_pointer else "s" if p.dtype.kind == "V" else p.dtype.char for p in kernel.parameters]
            read = "".join(letters).translate({ord("l"): "q", ord("L"): "Q"})  # NumPy's long has C's 64 bits
            assert library.signature(name) == read, (path, name)
    scale = source.kernels(source.path_of(file), types)["scale"]
    assert scale.most_threads == 32 and [p.name for p in scale.parameters] == ["x", "y", "factor", "n"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_launch(file, xp, dtype):
    """Kills: a type compiled for another; a Python number in the wrong width."""
    x = xp.asarray(np.arange(100, dtype=dtype))
    y = cuda.empty((100,), dtype)
    launch(file, "scale", blocks(100, 32), 32, x, y, 0.5, 100, real=dtype)
    assert y.get().tolist() == [i / 2 for i in range(100)]
    launch(file, "scale", blocks(100, 32), 32, x, y, 2, 100, real=dtype, index_t=np.int64)
    assert y.get()[99] == 198
    launch(file, "scale", 0, 32, x, y, 3, 0, real=dtype)
    assert y.get()[99] == 198


@pytest.mark.parametrize("change, kind, message", [
    (lambda a: a.pop(), TypeError, "scale: 3 arguments were given, it takes 4: const real"),
    (lambda a: a.__setitem__(0, np.zeros(8, np.float32)), TypeError, r"`const real\* x` must be a device array, got numpy.ndarray; copy it"),
    (lambda a: a.__setitem__(0, cuda.empty((8,), np.float64)), TypeError, r"`const real\* x` is an array of float64, the kernel was compiled for float32"),
    (lambda a: a.__setitem__(1, cuda.empty((4, 2), np.float32).T), ValueError, r"`real\* __restrict__ y` of shape \(2, 4\) and strides \(4, 8\) is not C-contiguous"),
    (lambda a: a.__setitem__(2, cuda.empty((), np.float32)), TypeError, "`real factor` is a number, got a device array"),
    (lambda a: a.__setitem__(2, "2"), TypeError, "`real factor` is a number, got str"),
    (lambda a: a.__setitem__(3, 2.5), ValueError, "`index_t n` is 2.5, which a int32 cannot hold"),
    (lambda a: a.__setitem__(3, 1 << 31), ValueError, "which a int32 cannot hold"),
])
def test_arguments_are_checked(file, xp, change, kind, message):
    """Kills: any of these passed on to a GPU, which would compute something else."""
    arguments = [floats(xp, 8), floats(xp, 8), 2.0, 8]
    change(arguments)
    with pytest.raises(kind, match=message):
        launch(file, "scale", 1, 32, *arguments, real=np.float32)


class Pair(NamedTuple):
    a: int
    b: int
    c: float


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_structs(file, xp, dtype):
    """Kills: fields in another order or width; a struct of other fields; a number that does not fit."""
    y = cuda.empty((1,), dtype)
    launch(file, "with_pair", 1, 1, Pair(7, 2, 0.5), 100, y, real=dtype)
    assert y.item() == 106
    with pytest.raises(TypeError, match="`const Pair p` must come from a NamedTuple with the fields a, b, c, got tuple"):
        launch(file, "with_pair", 1, 1, (7, 2, 0.5), 100, y, real=dtype)
    with pytest.raises(ValueError, match="b of argument `const Pair p` is 4294967296, which a int32 cannot hold"):
        launch(file, "with_pair", 1, 1, Pair(7, 1 << 32, 0.5), 100, y, real=dtype)


def test_structs_with_types_of_several_words_and_defaults(file, xp):
    """Kills: `unsigned int` and `long long` read as a shorter type and another name; a default taken for a part of the name."""
    class Sizes(NamedTuple):
        few: int
        some: int
        more: int
        many: int

    y = cuda.empty((1,), np.float32)
    launch(file, "with_sizes", 1, 1, Sizes(4, 3, 2, 1), y, real=np.float32)
    assert y.item() == 1234


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_structs_with_arrays(file, xp, dtype):
    """Kills: extents in another order, or of another constant; fields at another place after an array; an array given back while a kernel that has its address waits."""
    table = np.zeros((), np.dtype([("count", np.uint8), ("values", dtype, (3, 32)), ("factor", dtype), ("address", np.int64, 2)], align=True))
    y, held = cuda.empty((1,), dtype), xp.asarray(np.array([0, 1000], dtype))
    table["count"], table["values"], table["factor"], table["address"][1] = 5, np.arange(96).reshape(3, 32), 0.5, held.data.ptr
    launch(file, "with_table", 1, 1, table, y, real=dtype)
    keep(held)
    del held
    assert y.item() == 5 + 95 / 2 + 1000
    with pytest.raises(TypeError, match="`const Table t` must come from a NamedTuple with the fields count, values, factor, address"):
        launch(file, "with_table", 1, 1, table["values"], y, real=dtype)


def test_elements_far_apart_are_counted_in_64_bits(xp):
    """Kills: an index_t for the elements of a view, in place of the memory that it spans."""
    from tinycnn.kernels.cuda.launch import _extent
    x = xp.empty((4, 6), np.float32)
    assert [_extent(view) for view in (x, x.T, x[:, ::5], x[::-2, 1:2], x[:0, ::2])] == [24, 24, 24, 13, 0]


@pytest.mark.parametrize("options, kind, message", [
    (dict(block=33), ValueError, r"a block of \(33, 1, 1\) has 33 threads; this kernel is compiled for 1 to 32"),
    (dict(grid=(1, 1 << 16)), ValueError, r"scale: the grid \(1, 65536, 1\) has 65536 blocks along y; a GPU allows 65535"),
    (dict(grid=1.5), ValueError, "the grid is 1.5; it must be"),
    (dict(shared=300_000), ValueError, "300000 bytes of shared memory; this device has 232448"),
    (dict(kernel="scales"), ValueError, "has no kernel 'scales': there are scale, all_types"),
    (dict(source="nothing.cu"), FileNotFoundError, "nothing.cu"),
    (dict(defines={}), source.SourceError, r"type of its parameter `const real. x` is unknown: launch with real=dtype \(it was given index_t=int32\)"),
])
def test_launches_are_checked(file, xp, options, kind, message):
    given = dict(source=file, kernel="scale", grid=1, block=32, shared=0, defines={"real": np.float32}) | options
    place = [given[name] for name in ("source", "kernel", "grid", "block")]
    with pytest.raises(kind, match=message):
        launch(*place, floats(xp, 8), floats(xp, 8), 2.0, 8, shared=given["shared"], **given["defines"])


def test_unreadable_sources(tmp_path, xp):
    """Kills: a kernel that is silently not there; a compiler's error that is not shown."""
    path = tmp_path / "wrong.cu"
    path.write_text("template <class T> __global__ void f(T* x) {}")
    with pytest.raises(source.SourceError, match="1 of its __global__ functions cannot be read"):
        launch(str(path), "f", 1, 1)
    path = tmp_path / "error.cu"
    path.write_text('extern "C" __global__ void f(float* x) { y[0] = 1; }')
    with pytest.raises(RuntimeError, match=r"error.cu(:1:\d+|\(1\)): error: .*\by\b"):
        launch(str(path), "f", 1, 1, floats(xp, 1))


# ---- what the simulator does

def run(*arguments, **options):
    launch(*arguments, real=np.float32, **options)


@simulator_only
@pytest.mark.parametrize("seed", range(4))
def test_shared_memory_and_barriers(file, xp, seed, monkeypatch):
    """Right in every order; without its barrier wrong in every shuffled one. Kills: a barrier that lets threads through; orders that are all the same."""
    monkeypatch.setenv("TINYCNN_CUDA_SEED", str(seed))
    x = np.arange(64, dtype=np.float32)
    for defines, right in (({}, True), ({"NO_BARRIER": 1}, False)):
        device = xp.asarray(x)
        run(file, "reverse", 1, 64, device, **defines)
        assert np.array_equal(device.get(), x[::-1]) == right


@simulator_only
def test_shared_memory_is_not_zero(file, xp):
    """Kills: shared memory that still holds what the block before left there."""
    x = floats(xp, 32)
    run(file, "dynamic", 2, 32, x, shared=128)
    assert np.isnan(x.get()).all()


@simulator_only
def test_threads_that_wait_for_ever(file, xp, monkeypatch):
    """Kills: a hang; an error that does not say where, or names another order of threads."""
    monkeypatch.setenv("TINYCNN_CUDA_SEED", "3")
    run(file, "some_wait", 1, 32, floats(xp, 32))
    with pytest.raises(RuntimeError, match=r"some_wait: __syncthreads \(some.cu, line 23\) is reached by 16 threads.*test_cuda_launch.py, line \d+; TINYCNN_CUDA_SEED=3"):
        xp.cuda.Device().synchronize()


@pytest.mark.parametrize("seed", range(4))
def test_warps(file, xp, seed, monkeypatch):
    """Kills: a lane that reads a value of the next round; the lane layout of the tensor core; copies that land in time only when early."""
    monkeypatch.setenv("TINYCNN_CUDA_SEED", str(seed))
    x, y = floats(xp, 64), cuda.empty((2,), np.float32)
    run(file, "warp_sums", 1, 64, x, y)
    np.testing.assert_allclose(y.get(), x.get().reshape(2, 32).sum(1), rtol=1e-5)
    A, B = (np.random.default_rng(seed).integers(-8, 8, shape).astype(np.float32) for shape in ((16, 8), (8, 8)))
    C = cuda.empty((16, 8), np.float32)
    run(file, "product", 1, 32, xp.asarray(A), xp.asarray(B), C)
    np.testing.assert_array_equal(C.get(), A @ B)
    x, y = floats(xp, 256), cuda.empty((256,), np.float32)
    run(file, "through_shared", 1, 64, x, y)
    np.testing.assert_array_equal(y.get(), np.roll(x.get(), -4))


@simulator_only
def test_a_forgotten_wait(file, xp, monkeypatch):
    """Kills: asynchronous copies that always land at once."""
    monkeypatch.setenv("TINYCNN_CUDA_SEED", "0")
    y = cuda.empty((256,), np.float32)
    run(file, "through_shared", 1, 64, floats(xp, 256), y, NO_WAIT=1)
    assert np.isnan(y.get()).all()


# ---- the stand-in

@simulator_only
def test_launches_and_copies_wait(file, xp):
    """Kills: a stand-in that hides a missing synchronisation; one that reads host memory after it may have changed."""
    x = np.ones(8, np.float32)
    a, b = xp.asarray(x), xp.empty(8, np.float32)
    x[:] = 5
    launch(file, "scale", 1, 32, a, b, 2.0, 8, real=np.float32)
    assert np.isnan(b.host).all()
    assert b.get().tolist() == [2] * 8


@simulator_only
def test_streams_and_events(xp):
    """Kills: an event that waits for too much or too little."""
    done, first, second, event = [], xp.cuda.Stream(), xp.cuda.Stream(), xp.cuda.Event()
    first.enqueue(lambda: done.append(1))
    first.record(event)
    first.enqueue(lambda: done.append(3))
    second.wait_event(event)
    first.record(event)  # again, which the second one need not wait for
    second.enqueue(lambda: done.append(2))
    second.synchronize()
    assert done == [1, 2]
    first.synchronize()
    assert done == [1, 2, 3]
    with first:
        assert xp.cuda.get_current_stream() is first
    assert xp.cuda.get_current_stream() is xp.cuda.Stream.null


@simulator_only
def test_graphs(file, xp):
    """Kills: a launch that runs while it is captured, or never again; one that reads what it read first, or keeps arrays alive; a wait or a copy from the host."""
    x, y, stream, memory = floats(xp, 8), xp.zeros(8, np.float32), xp.cuda.Stream(non_blocking=True), xp.cuda.MemoryPool()
    expected = 6 * x.get()  # in float32, which rounds as 2 * (3 * x) does
    with stream, xp.cuda.using_allocator(memory.malloc):
        stream.begin_capture()
        assert stream.is_capturing()
        between = xp.empty(8, np.float32)
        launch(file, "scale", 1, 32, x, between, 3.0, 8, real=np.float32)
        launch(file, "scale", 1, 32, between, y, 2.0, 8, real=np.float32)
        address = between.data.ptr
        del between
        assert memory.used_bytes() == 0 and xp.empty(8, np.float32).data.ptr == address
        graph = stream.end_capture()
    stream.synchronize()
    assert not stream.is_capturing() and y.get().tolist() == [0] * 8
    for _ in range(2):
        graph.launch()
        assert y.get().tolist() == expected.tolist()
        launch(file, "scale", 1, 32, y, x, 0.5, 8, real=np.float32)
        expected = 3 * expected
    for wrong, message in ((y.get, "cannot be waited for"), (lambda: xp.asarray(np.ones(1)), "from the host again")):
        with stream:
            stream.begin_capture()
            with pytest.raises(RuntimeError, match=message):
                wrong()
            if message == "cannot be waited for":
                with pytest.raises(RuntimeError, match="cannot be captured was done"):
                    stream.end_capture()
            else:
                stream.end_capture()
    with pytest.raises(RuntimeError, match="default stream"):
        xp.cuda.Stream.null.begin_capture()


@simulator_only
def test_memory(xp):
    """Kills: memory that is zero by luck; blocks that are never freed; blocks that are freed before what is queued has written to them."""
    pool = xp.get_default_memory_pool()
    xp.cuda.get_current_stream().synchronize()
    before = pool.used_bytes()
    x = xp.empty((3, 5), np.float32)
    assert pool.used_bytes() == before + 60 and np.isnan(x.get()).all() and x.data.ptr % 256 == 0
    view = x.T[1:]
    del x
    assert pool.used_bytes() == before + 60
    del view
    assert pool.used_bytes() == before
    x = xp.asarray(np.ones(1000, np.float32))
    x[:500] = 2
    x.copy()
    del x
    assert pool.used_bytes() > before  # what is queued still needs it
    xp.cuda.get_current_stream().synchronize()
    assert pool.used_bytes() == before


@simulator_only
@pytest.mark.parametrize("function", [lambda x: x + 1, lambda x: -x, lambda x: x == x, lambda x: bool(x), lambda x: float(x[0]), lambda x: np.asarray(x),
                                      lambda x: list(x), lambda x: np.ones(3) * x, lambda x: x[np.array([0])], lambda x: x[[0, 1]]])
def test_what_device_arrays_refuse(xp, function):
    """Kills: arithmetic and hidden copies that CuPy would do, one slow kernel or one wait at a time."""
    with pytest.raises(TypeError):
        function(xp.zeros(3, np.float32))


def test_layouts(xp):
    """Kills: axes merged that one of the arrays does not pass through as one; more axes than fit."""
    x, row, column = floats(xp, 4, 5, 6), floats(xp, 6), floats(xp, 5, 1)
    assert layout(x.shape, x, x)["axes"] == 1 and layout(x.shape, x, row)["axes"] == 2 and layout(x.shape, x, row, column)["axes"] == 3
    both = layout(x.shape, x, row, column, None)
    assert both["extent"][:3].tolist() == [4, 5, 6] and both["stride"][:, :3].tolist() == [[30, 6, 1], [0, 0, 1], [0, 1, 0], [0, 0, 0]]
    turned = x.transpose(2, 0, 1)
    assert layout(turned.shape, turned, turned)["axes"] == 1 and layout((), floats(xp))["axes"] == 0
    nine = xp.empty((2,) * 9, np.float32)
    with pytest.raises(ValueError, match="need 9 axes; kernels walk along 8"):
        layout(nine.shape, nine, nine.transpose(*range(8, -1, -1)))
    assert strided(nine).array is nine
