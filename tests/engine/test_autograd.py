"""The recorded graph and the backward pass: what accumulates, what is freed, what is refused."""
import gc
import threading
import weakref

import numpy as np
import pytest

import tinycnn
from tinycnn.autograd import Function, grad
from tinycnn.nn import functional as F


def leaf(*values):
    return tinycnn.tensor(values, dtype=tinycnn.float64, requires_grad=True)


def test_a_tensor_used_twice_receives_twice():
    """Kills: overwriting a gradient instead of adding; adding before all uses have reported."""
    x = leaf(2, 3)
    y = x * x
    z = y + y * x  # x^2 + x^3
    z.backward(tinycnn.ones(2, dtype=tinycnn.float64))
    np.testing.assert_allclose(x.grad.numpy(), [2 * 2 + 3 * 4, 2 * 3 + 3 * 9])


def test_two_backwards_accumulate_in_the_leaf():
    x = leaf(1, 2)
    (x * 3).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [5, 7])
    assert x.grad is first  # PyTorch accumulates in place


def test_leaves_never_share_the_memory_of_their_gradients():
    """An addition hands one gradient to two inputs. Kills: storing it in both, so that clearing one clears the other."""
    a, b = leaf(1, 2), leaf(3, 4)
    start = tinycnn.tensor([1.0, 2.0], dtype=tinycnn.float64)
    (a + b).backward(start)
    a.grad.zero_()
    np.testing.assert_array_equal(b.grad.numpy(), [1, 2])
    np.testing.assert_array_equal(start.numpy(), [1, 2])


def test_the_incoming_gradient_is_never_added_to():
    """Kills: accumulating in place into a buffer that somebody else gave."""
    x = leaf(1, 2)
    start = tinycnn.tensor([1.0, 1.0], dtype=tinycnn.float64)
    (x + x + x).backward(start)
    np.testing.assert_array_equal(start.numpy(), [1, 1])
    np.testing.assert_array_equal(x.grad.numpy(), [3, 3])


def test_one_fresh_gradient_given_to_two_leaves_is_not_shared():
    class Both(Function):
        def forward(ctx, a, b):
            return a.array + b.array

        def backward(ctx, dy):
            fresh = dy * 2
            return fresh, fresh

    Both.is_ours = True  # a function of the engine: its fresh results are not copied
    a, b = leaf(1), leaf(2)
    Both.apply(a, b).backward(tinycnn.ones(1, dtype=tinycnn.float64))
    a.grad.zero_()
    assert b.grad.item() == 2


def test_a_graph_can_be_used_once_unless_retained():
    x = leaf(1, 2)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4, 8])
    with pytest.raises(RuntimeError, match=r"<Mul> a second time.*retain_graph"):
        y.backward()


def test_what_was_saved_is_freed_during_the_backward():
    """Kills: keeping every activation until the graph itself dies."""
    x = leaf(1, 2)
    hidden = x.exp()
    seen = weakref.ref(hidden)
    y = (hidden * hidden).sum()
    del hidden
    assert seen() is not None  # the graph needs it
    y.backward()
    assert seen() is None


def test_a_saved_output_makes_no_cycle():
    """exp saves its own output. Kills: output -> node -> saved output, memory that only the garbage collector can free."""
    gc.disable()
    try:
        x = leaf(1, 2)
        y = x.exp()
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None
    finally:
        gc.enable()


def test_a_long_chain_needs_no_deep_stack():
    """100,000 operations: recorded, run back, and thrown away. Kills: recursion anywhere."""
    x = leaf(1)
    y = x
    for _ in range(100_000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1
    del y


def test_a_changed_saved_tensor_is_an_error_and_names_the_operation():
    """Kills: a silently wrong gradient."""
    x = leaf(1, 2)
    y = x.exp()
    z = (y * y).sum()
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"<Mul> saved .*changed in place"):
        z.backward()


def test_a_detached_alias_counts_as_the_same_memory():
    x = leaf(1, 2)
    y = x * 1
    z = (y * y).sum()
    y.detach().zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        z.backward()


def test_a_view_of_a_changed_tensor_is_refused():
    """v was made from the old y: its history would give a wrong gradient."""
    x = leaf(1, 2)
    y = x * 1
    v = y[0]
    y.mul_(2)
    with pytest.raises(RuntimeError, match="take the view again"):
        v * 1
    assert grad(y[0] * 1, x)[0].tolist() == [2, 0]


@pytest.mark.parametrize(("change", "operation"), [(lambda v: v.mul_(2), "Assign"), (lambda v: v.copy_(v * 2), "Assign"), (lambda v: v.__setitem__(0, 2.0), "Set"),
                                                   (tinycnn.nn.ReLU(inplace=True), "ReLU")], ids=["mul_", "copy_", "set", "relu_"])
def test_changing_a_recorded_view_is_refused(change, operation):
    """By an error that names the operation, the view, and what to do instead. Kills: a silently wrong gradient; the change made before it is refused."""
    y = leaf(1, 2) * 1
    with pytest.raises(RuntimeError, match=r"view of a recorded tensor \(shape \(1,\), made by <\w+>\).*v = v \* 2.*inplace=False.*y\[0\] = value") as refused:
        change(y[:1])
    assert f"in the forward of {operation}(" in refused.value.__notes__[0]
    assert y.tolist() == [1, 2]


def test_what_that_error_advises_works():
    x = leaf(1, 2)
    y = x * 1
    v = y[:1]
    v = v * 2
    y[1] = 5 * x[1]
    assert grad(y.sum() + v.sum(), x)[0].tolist() == [3, 5]


def test_changing_a_leaf_needs_no_grad():
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match="leaf that requires grad"):
        x.add_(1)
    with tinycnn.no_grad():
        x.add_(1)
    assert x.tolist() == [2, 3] and x.is_leaf and x.requires_grad


def test_in_place_history_continues_from_the_new_value():
    x = leaf(3)
    y = x * 2
    y.mul_(x)  # 2x^2
    y += x
    y.backward()
    assert x.grad.item() == 4 * 3 + 1


def test_part_of_a_recorded_tensor_may_be_set_from_another_part():
    """Kills: calling the value an outdated view because the assignment itself has changed what it looks at."""
    x = leaf(1, 2, 3)
    y = x * 2
    y[0] = y[1]
    y.backward(tinycnn.tensor([1.0, 10.0, 100.0], dtype=tinycnn.float64))
    assert y.tolist() == [4, 4, 6] and x.grad.tolist() == [0, 22, 200]


def test_set_grad_enabled_as_a_decorator():
    """Kills: switching recording off for everybody when the function is defined; a second call in which it is on."""
    with tinycnn.enable_grad():  # whatever happens, other tests find it on
        @tinycnn.set_grad_enabled(False)
        def double(x):
            return x * 2

        assert tinycnn.is_grad_enabled()
        assert not double(leaf(1)).requires_grad and not double(leaf(1)).requires_grad
        assert tinycnn.is_grad_enabled()


def test_no_grad_as_block_decorator_and_nested():
    x = leaf(1)

    @tinycnn.no_grad()
    def double(x):
        with tinycnn.enable_grad():
            assert (x * 1).requires_grad
        return x * 2

    assert not double(x).requires_grad
    assert not double(x).requires_grad  # a second call, and the state is restored
    assert tinycnn.is_grad_enabled() and (x * 2).requires_grad


def test_recording_is_per_thread():
    """Kills: a data-loading thread's no_grad that stops the training thread from recording."""
    seen = []
    with tinycnn.no_grad():
        thread = threading.Thread(target=lambda: seen.append(tinycnn.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_starting_gradients_are_checked():
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match=r"starting gradient is needed .*\(2,\)"):
        (x * 2).backward()
    with pytest.raises(ValueError, match="must agree"):
        (x * 2).backward(tinycnn.ones(3, dtype=tinycnn.float64))
    with pytest.raises(RuntimeError, match="does not require grad"):
        x.detach().sum().backward()


def test_grad_touches_no_leaf_and_visits_only_what_leads_to_its_inputs():
    """Kills: accumulating into .grad; running (and freeing) branches that were not asked for."""
    ran = []

    class Spy(Function):
        def forward(ctx, x):
            return x.array * 2

        def backward(ctx, dy):
            ran.append(1)
            return dy * 2

    x, w = leaf(1, 2), leaf(3, 4)
    middle = x * w
    y = (middle * middle + Spy.apply(w)).sum()
    d_middle, dx = grad(y, [middle, x])
    assert ran == [] and x.grad is None and w.grad is None
    np.testing.assert_array_equal(d_middle.numpy(), [6, 16])
    np.testing.assert_array_equal(dx.numpy(), [18, 64])


def test_unused_inputs():
    x, other = leaf(1), leaf(2)
    with pytest.raises(RuntimeError, match=r"inputs\[1\].*allow_unused"):
        grad((x * 2).sum(), [x, other])
    assert grad((x * 2).sum(), [x, other], allow_unused=True)[1] is None


def test_backward_into_chosen_inputs_only():
    x, w = leaf(1), leaf(2)
    (x * w).sum().backward(inputs=[w])
    assert x.grad is None and w.grad.item() == 1


def test_an_input_asked_for_twice():
    """Kills: an answer at the last of its places only; a gradient accumulated twice."""
    x = leaf(2)
    y = x * 3
    z = (y * x).sum()
    assert [g.item() for g in grad(z, [x, y, x, y], retain_graph=True)] == [12, 2, 12, 2]
    z.backward(inputs=[x, x])
    assert x.grad.item() == 12


def test_third_derivatives():
    x = leaf(2)
    y = x ** 4
    for expected in (4 * 8, 12 * 4, 24 * 2):
        y, = grad(y, x, create_graph=True)
        assert y.item() == expected


def test_create_graph_in_the_leaf():
    x = leaf(3)
    (x ** 3).backward(create_graph=True)
    assert x.grad.item() == 27 and x.grad.requires_grad
    assert grad(x.grad, x)[0].item() == 18


def test_hooks_see_and_replace_complete_gradients():
    """Kills: calling a hook before the sum over all uses is complete."""
    x = leaf(1, 2)
    y = x * 3
    seen = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    handle = x.register_hook(lambda g: g * 10)
    (y * 2 + y).sum().backward()
    assert seen == [[3, 3]]
    assert x.grad.tolist() == [90, 90]
    handle.remove()
    x.grad = None
    (x * 1).sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_a_gradient_that_a_hook_keeps_stays_as_it_was():
    """Kills: adding the next backward's gradient into what a hook was shown."""
    x = leaf(1, 2)
    kept = []
    x.register_hook(kept.append)
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    assert [g.tolist() for g in kept] == [[2, 2], [3, 3]] and x.grad.tolist() == [5, 5]


def test_retain_grad():
    x = leaf(1, 2)
    y = x * 3
    y.retain_grad()
    y.retain_grad()  # kills: adding to .grad as often as it was asked for
    (y * y).sum().backward()
    assert y.grad.tolist() == [6, 12]


class Cube(Function):
    """As a user of PyTorch would write it."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x ** 3 * scale

    @staticmethod
    def backward(ctx, dy):
        x, = ctx.saved_tensors
        return dy * 3 * x ** 2 * ctx.scale, None


def test_a_users_own_function():
    x = leaf(1, -2)
    assert tinycnn.autograd.gradcheck(lambda x: Cube.apply(x, 2.0), x)
    assert tinycnn.autograd.gradgradcheck(lambda x: Cube.apply(x, 2.0), x)
    assert type(Cube.apply(x, 1.0).grad_fn).__name__ == "Cube"


def test_a_users_function_that_returns_its_input():
    class Reverse(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, dy):
            return -dy

    x = leaf(1)
    y = Reverse.apply(x)
    assert y is not x and x.is_leaf
    y.backward()
    assert x.grad.item() == -1


def test_several_outputs_of_which_some_are_unused_or_have_no_gradient():
    class Split(Function):
        def forward(ctx, x):
            halves = x.array[:1] * 1, x.array[1:] * 1
            position = tinycnn.Tensor(np.array([7.0]))
            ctx.mark_non_differentiable(position)
            return *halves, position

        def backward(ctx, first, second, position):
            return tinycnn.cat([first, second])

    x = leaf(1, 2)
    first, _, position = Split.apply(x)
    assert not position.requires_grad
    (first * 5).sum().backward()
    assert x.grad.tolist() == [5, 0]


def test_a_function_that_changes_its_input_in_place():
    class Double_(Function):
        def forward(ctx, x):
            x.array *= 2
            ctx.mark_dirty(x)
            return x

        def backward(ctx, dy):
            return dy * 2

    x = leaf(1, 2)
    y = x * 1
    z = Double_.apply(y)
    assert z is y and y.tolist() == [2, 4]
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]


@pytest.mark.parametrize("wrong, message", [
    (lambda dy: tinycnn.ones(3, dtype=tinycnn.float64), r"Wrong returned a gradient of \(3,\) .* argument 0, which is \(2,\)"),
    (lambda dy: dy.float(), "float32 for argument 0"),
    (lambda dy: (), "returned 0 gradients"),
])
def test_a_wrong_gradient_names_the_function_and_the_argument(wrong, message):
    class Wrong(Function):
        def forward(ctx, x):
            return x.array * 1

        def backward(ctx, dy):
            return wrong(dy)

    with pytest.raises(RuntimeError, match=message):
        Wrong.apply(leaf(1, 2)).sum().backward()


def test_errors_say_where_they_happened():
    x = leaf(1, 2)
    with pytest.raises(ValueError) as caught:
        tinycnn.ops.arithmetic.Add.apply(x, tinycnn.ones(3, dtype=tinycnn.float64))
    assert any("forward of Add(tensor(2,) float64, tensor(3,) float64)" in note for note in caught.value.__notes__)


def test_the_same_graph_gives_the_same_bits():
    """The order of additions must not depend on dictionaries or ages. Kills: accumulation in the order of hashing."""
    def once():
        rng = np.random.default_rng(0)
        x = tinycnn.tensor(rng.standard_normal(100).astype(np.float32), requires_grad=True)
        parts = [x * float(k) for k in rng.standard_normal(20)]
        y = parts[0] * 1
        for part in parts[::-1]:
            y = y + part.tanh() * x
        y.sum().backward()
        return x.grad.numpy().tobytes()
    assert once() == once()


def test_numbers_are_tensors_with_memory():
    """NumPy turns 0-d results into scalars. Kills: a gradient that cannot be added to in place."""
    x = tinycnn.tensor(3.0, requires_grad=True)
    (x * x + x * 2 + x).backward()
    assert x.grad.item() == 9 and isinstance((x * x).array, np.ndarray)


@pytest.mark.parametrize("use", ["conv first", "conv last", "three convs", "a leaf twice", "captured"])
def test_a_convolution_adds_to_what_has_arrived(use):
    """Whatever the order in which uses of a tensor report, their sum is the same as where nothing is added on the way (create_graph). Kills: a gradient added twice or
    dropped; one that somebody else owns overwritten; what one pass left behind found by the next."""
    rng = np.random.default_rng(0)
    start, w = tinycnn.tensor(rng.standard_normal((2, 3, 5, 4)), requires_grad=True), tinycnn.tensor(rng.standard_normal((3, 3, 3, 3)), requires_grad=True)

    def conv(x):
        return F.conv2d(x, w, padding=1)

    def network(a):
        x = a if use == "a leaf twice" else a * 2
        uses = {"conv first": lambda: conv(x) + x.exp(), "conv last": lambda: x.exp() * conv(x), "three convs": lambda: conv(x) + conv(x).exp() + conv(conv(x)),
                "a leaf twice": lambda: conv(x) * conv(x * x), "captured": lambda: conv(x) * x}
        return x, uses[use]()

    def gradients(**options):
        x, y = network(start)
        return grad(y.sum(), [x, start, w] if use == "captured" else [start, w], **options)
    expected = gradients(create_graph=True)
    for found in (gradients(), gradients()):
        for one, other in zip(found, expected):
            np.testing.assert_allclose(one.numpy(), other.detach().numpy(), rtol=1e-12, atol=1e-12)


def test_a_convolution_that_no_gradient_reaches_drops_nothing():
    """A function may say that there is no gradient for its argument. Kills: what other uses have sent back, lent to a convolution that has nothing to add, lost."""
    class First(Function):
        def forward(ctx, a, b):
            return a.array + b.array

        def backward(ctx, dy):
            return dy, None

    x, w = tinycnn.ones(1, 1, 2, 2, requires_grad=True), tinycnn.ones(1, 1, 1, 1, requires_grad=True)
    y = F.conv2d(x, w)
    First.apply(x * 2, y).sum().backward()
    assert x.grad.tolist() == [[[[2, 2], [2, 2]]]] and w.grad is None
