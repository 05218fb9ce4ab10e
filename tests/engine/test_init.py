"""Initial values: exact fans and gains, the right distribution by its moments and bounds, the engine's seed, and errors."""
import math

import numpy as np
import pytest

import tinycnn
from tinycnn.nn import init

FILTERS = (40, 30, 3, 2)  # fan_in 180, fan_out 240


def values(function, *args, shape=FILTERS, dtype=tinycnn.float64, **options):
    tinycnn.manual_seed(11)
    tensor = tinycnn.zeros(shape, dtype=dtype)
    assert function(tensor, *args, **options) is tensor
    assert tensor.dtype == dtype
    return tensor.numpy().reshape(-1)


def is_normal(x, mean, std):
    """Mean, deviation and kurtosis within five standard errors."""
    n, z = x.size, (x - mean) / std
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs(z.std() - 1) < 5 / math.sqrt(2 * n)
    assert abs((z ** 4).mean() - 3) < 5 * math.sqrt(96 / n)


def is_uniform(x, a, b):
    """Bounds reached but not passed, mean and deviation within five standard errors."""
    n, z = x.size, (x - a) / (b - a)
    assert 0 <= z.min() < 20 / n and 1 - 20 / n < z.max() <= 1
    assert abs(z.mean() - 0.5) < 5 / math.sqrt(12 * n)
    assert abs(z.std() * math.sqrt(12) - 1) < 5 / math.sqrt(n)


NORMAL = {
    "normal_": (init.normal_, {"mean": 2.0, "std": 3.0}, 2.0, 3.0),
    "normal_, defaults": (init.normal_, {}, 0.0, 1.0),
    "xavier_normal_": (init.xavier_normal_, {"gain": 1.5}, 0.0, 1.5 * math.sqrt(2 / (180 + 240))),
    "kaiming_normal_, defaults": (init.kaiming_normal_, {}, 0.0, math.sqrt(2 / 180)),
    "kaiming_normal_, fan_out": (init.kaiming_normal_, {"mode": "fan_out", "nonlinearity": "relu"}, 0.0, math.sqrt(2 / 240)),
    "kaiming_normal_, slope": (init.kaiming_normal_, {"a": 1.0}, 0.0, math.sqrt(1 / 180)),
    "kaiming_normal_, tanh": (init.kaiming_normal_, {"nonlinearity": "tanh"}, 0.0, 5 / 3 / math.sqrt(180)),
}
UNIFORM = {
    "uniform_": (init.uniform_, {"a": -1.0, "b": 3.0}, -1.0, 3.0),
    "uniform_, defaults": (init.uniform_, {}, 0.0, 1.0),
    "xavier_uniform_": (init.xavier_uniform_, {}, -math.sqrt(6 / 420), math.sqrt(6 / 420)),
    "kaiming_uniform_": (init.kaiming_uniform_, {"mode": "fan_out", "nonlinearity": "relu"}, -math.sqrt(6 / 240), math.sqrt(6 / 240)),
    "kaiming_uniform_, PyTorch's default layer": (init.kaiming_uniform_, {"a": math.sqrt(5)}, -1 / math.sqrt(180), 1 / math.sqrt(180)),
}


@pytest.mark.parametrize("case", NORMAL)
def test_normal_distributions(case):
    """Kills: fans exchanged or without the filter's area; variance for deviation; the gain forgotten; a uniform of the same variance (by its kurtosis)."""
    function, options, mean, std = NORMAL[case]
    is_normal(values(function, **options), mean, std)


@pytest.mark.parametrize("case", UNIFORM)
def test_uniform_distributions(case):
    """Kills: the deviation as the bound; bounds that are not symmetric."""
    function, options, a, b = UNIFORM[case]
    is_uniform(values(function, **options), a, b)


def test_truncated_normal():
    """Against the exact mean and variance of the truncated distribution. Kills: clipping to the bounds; bounds in multiples of std; bounds moved with the mean."""
    def pdf(t):
        return math.exp(-t * t / 2) / math.sqrt(2 * math.pi)

    def cdf(t):
        return (1 + math.erf(t / math.sqrt(2))) / 2
    mean, std, a, b = 0.5, 2.0, -1.0, 2.0
    x = values(init.trunc_normal_, mean, std, a, b)
    low, high = (a - mean) / std, (b - mean) / std
    share = cdf(high) - cdf(low)
    shift = (pdf(low) - pdf(high)) / share
    expected_mean = mean + std * shift
    expected_var = std ** 2 * (1 + (low * pdf(low) - high * pdf(high)) / share - shift ** 2)
    assert a <= x.min() < a + 0.01 and b - 0.01 < x.max() <= b
    assert abs(x.mean() - expected_mean) < 5 * math.sqrt(expected_var / x.size)
    assert abs(x.var() / expected_var - 1) < 5 * math.sqrt(2 / x.size)
    assert np.unique(x).size == x.size
    is_normal(values(init.trunc_normal_, std=0.1), 0.0, 0.1)


def test_constants():
    """Kills: zeros for ones; a constant in another dtype."""
    assert (values(init.zeros_) == 0).all() and (values(init.ones_) == 1).all() and (values(init.constant_, 0.3) == 0.3).all()
    np.testing.assert_array_equal(values(init.eye_, shape=(2, 3)).reshape(2, 3), np.eye(2, 3))


def test_dirac_passes_its_channels_on():
    """Kills: the tap beside the centre; the second group writing to the first's channels."""
    w = values(init.dirac_, 2, shape=(4, 3, 3, 3)).reshape(4, 3, 3, 3)
    assert w.sum() == 4 and all(w[k, k % 2, 1, 1] == 1 for k in range(4))
    x = tinycnn.randn(1, 2, 4, 4)
    w = tinycnn.zeros(2, 2, 3, 3)
    np.testing.assert_array_equal(tinycnn.nn.functional.conv2d(x, init.dirac_(w), padding=1).numpy(), x.numpy())


@pytest.mark.parametrize("shape, expected", [((5, 7), (7, 5)), ((8, 3, 5, 2), (30, 80)), ((4, 6, 3), (18, 12))])
def test_fans(shape, expected):
    """Weight (out, in, R, S): fan_in = in*R*S, fan_out = out*R*S. Kills: exchanged; area left out."""
    assert init.fans(tinycnn.zeros(shape)) == expected


def test_gains():
    """PyTorch's table. Kills: sqrt(2) for tanh; the default slope of leaky_relu."""
    assert init.calculate_gain("linear") == init.calculate_gain("sigmoid") == init.calculate_gain("conv2d") == 1
    assert init.calculate_gain("tanh") == 5 / 3 and init.calculate_gain("selu") == 0.75
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / (1 + 0.01 ** 2))
    assert init.calculate_gain("leaky_relu", 1) == 1


def test_draws_follow_the_seed_or_a_given_generator():
    """Kills: NumPy's global generator; the engine's state used up in spite of a generator of one's own."""
    np.testing.assert_array_equal(values(init.normal_), values(init.normal_))
    tinycnn.manual_seed(0)
    state = tinycnn.get_rng_state()
    first = [function(tinycnn.zeros(5, 4), generator=np.random.default_rng(3)).numpy() for function in
             (init.normal_, init.uniform_, init.trunc_normal_, init.xavier_normal_, init.xavier_uniform_, init.kaiming_normal_, init.kaiming_uniform_)]
    assert tinycnn.get_rng_state() == state
    np.testing.assert_array_equal(first[0], init.normal_(tinycnn.zeros(5, 4), generator=np.random.default_rng(3)).numpy())
    init.normal_(tinycnn.zeros(5))
    assert tinycnn.get_rng_state() != state


def test_parameters_are_filled_in_place():
    """Outside the graph, and seen by the version counter. Kills: an error about a leaf; a new array; a strided tensor filled through a copy."""
    weight = tinycnn.nn.Parameter(tinycnn.zeros(3, 2))
    memory = weight.array
    version = weight.version[0]
    init.ones_(weight)
    assert weight.array is memory and (memory == 1).all() and weight.version[0] > version and weight.is_leaf
    whole = tinycnn.zeros(4, 6)
    init.constant_(whole[:, ::2], 5.0)
    np.testing.assert_array_equal(whole.numpy().sum(0), [20, 0, 20, 0, 20, 0])
    assert values(init.normal_, dtype=tinycnn.float32).dtype == np.float32


@pytest.mark.parametrize("draw", [init.uniform_, init.normal_, init.trunc_normal_, init.xavier_uniform_, init.kaiming_normal_])
def test_skip_draws_nothing(draw):
    """Kills: a distribution that is drawn all the same; a generator that moves; constants left out as well."""
    before, weight = tinycnn.random.get_rng_state(), tinycnn.zeros(3, 2)
    with init.skip():
        assert draw(weight) is weight
        layer = tinycnn.nn.BatchNorm2d(3)
    assert not weight.numpy().any() and tinycnn.random.get_rng_state() == before
    assert (layer.weight.detach().numpy() == 1).all() and (layer.running_var.numpy() == 1).all()


def test_skip_ends_with_its_block():
    """Also with an inner block, and after an error. Kills: an inner block that switches drawing on again; an error that leaves it off for good."""
    weight = tinycnn.zeros(3, 2)
    with pytest.raises(ValueError, match="std is -1"), init.skip():
        with init.skip():
            pass
        assert not init.uniform_(weight).numpy().any()
        init.normal_(weight, std=-1)
    assert init.uniform_(weight).numpy().any()


@pytest.mark.parametrize("function, message", [
    (lambda: init.xavier_uniform_(tinycnn.zeros(3)), "at least 2 dimensions"),
    (lambda: init.kaiming_normal_(tinycnn.zeros(3, 3), mode="fan"), "mode is 'fan'"),
    (lambda: init.kaiming_normal_(tinycnn.zeros(3, 3), nonlinearity="swish"), "'swish'.* relu"),
    (lambda: init.normal_(tinycnn.zeros(3), std=-1), "std is -1"),
    (lambda: init.trunc_normal_(tinycnn.zeros(3), mean=100.0), r"only 0.00% .* mean 100"),
    (lambda: init.eye_(tinycnn.zeros(3)), "only matrices"),
    (lambda: init.dirac_(tinycnn.zeros(3, 3)), "3 to 5 dimensions"),
], ids=["vector", "mode", "nonlinearity", "std", "nothing inside", "eye", "dirac"])
def test_wrong_arguments_are_one_clear_error(function, message):
    with pytest.raises(ValueError, match=message):
        function()


def test_only_floating_point_tensors_are_drawn():
    for wrong in (tinycnn.tensor([1, 2]), np.zeros(3)):
        with pytest.raises(TypeError, match="floating-point tensor"):
            init.zeros_(wrong)
