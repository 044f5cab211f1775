import numpy as np
import pytest
from keras import ops

from keras_negrec.layers import GatedAttention, TimeBuckets

PADDING_MASK = np.array([[False, False, True, True, True], [True] * 5, [False] * 5])
TIMES = np.array([[0, 0, 100, 160, 5000], [7, 7, 9, 90, 4000], [0] * 5], "int32")
FORMS = [
    {},
    {"use_positions": False},
    {"num_time_buckets": 40},
    {"num_time_buckets": 40, "separate_channels": True},
    {"separate_channels": True, "intermediate_dim": 6},
]
every_form = pytest.mark.parametrize("form", FORMS)


def made(form):
    """A layer with random weights, and its inputs but for the events."""
    random = np.random.default_rng(1)
    layer = GatedAttention(num_heads=2, max_length=7, **form)
    x = random.normal(size=(3, 5, 8)).astype("float32")
    buckets = []
    if "num_time_buckets" in form:
        buckets = [np.asarray(ops.convert_to_numpy(TimeBuckets(40)(TIMES, TIMES)))]
    layer(x, PADDING_MASK, *buckets)
    for weight in layer.weights:
        weight.assign(random.normal(size=weight.shape))
    return layer, x, buckets


def outputs(layer, *inputs, **options):
    return ops.convert_to_numpy(layer(*inputs, **options))


def silu(x):
    return x / (1 + np.exp(-x))


def by_loops(layer, x, mask, buckets):
    """What the docstring says, an event and a head at a time."""
    arrays = {
        weight.path.split("/", 1)[-1]: ops.convert_to_numpy(weight) for weight in layer.weights
    }

    def normed(values, name):
        centered = values - values.mean()
        values = centered / np.sqrt((centered**2).mean() + 1e-6)
        return values * arrays[f"{name}/gamma"] + arrays[f"{name}/beta"]

    def dense(values, name):
        return values @ arrays[f"{name}/kernel"] + arrays[f"{name}/bias"]

    batch, length, width = x.shape
    num_channels = arrays["output_projection/kernel"].shape[0] // width
    found = np.zeros_like(x)
    for b in range(batch):
        ends = np.cumsum([num_channels * width, width, width])
        projected = [silu(dense(normed(e, "norm"), "gate_value_query_key")) for e in x[b]]
        u, v, q, k = zip(*(np.split(each, ends) for each in projected), strict=True)
        for i in range(length):
            channels = np.zeros((num_channels, width))
            for j in range(i + 1):
                biases = []
                if layer.use_positions:
                    biases.append(arrays["position_bias"][i - j])
                if layer.num_time_buckets:
                    biases.append(arrays["time_bias"][buckets[0][b, i, j]])
                for head in range(2):
                    part = slice(head * width // 2, (head + 1) * width // 2)
                    product = q[i][part] @ k[j][part]
                    weights = [silu(product + sum(biases))]
                    if num_channels > 1:
                        weights = [silu(product), *biases]
                    for channel, weight in enumerate(weights):
                        channels[channel, part] += mask[b, j] * weight / 7 * v[j][part]
            gated = u[i] * normed(channels.ravel(), "attended_norm")
            y = x[b, i] + dense(gated, "output_projection")
            if layer.intermediate_dim:
                both = dense(normed(y, "feedforward_norm"), "feedforward/gate_and_value")
                gate, value = np.split(both, 2)
                y = y + dense(silu(gate) * value, "feedforward/output_projection")
            found[b, i] = y
    return found


@every_form
def test_is_what_loops_compute(form):
    layer, x, buckets = made(form)
    expected = by_loops(layer, x, PADDING_MASK, buckets)
    np.testing.assert_allclose(outputs(layer, x, PADDING_MASK, *buckets), expected, rtol=2e-4)


@every_form
def test_outputs_at_positions_are_those_among_all(form):
    layer, x, buckets = made(form)
    positions = np.array([[4, 2], [0, -2], [-1, 4]])
    everywhere = outputs(layer, x, PADDING_MASK, *buckets)
    if buckets:
        buckets = [TimeBuckets(40)(TIMES, TIMES, positions)]
    found = outputs(layer, x, PADDING_MASK, *buckets, positions=positions)
    expected = np.take_along_axis(everywhere, positions[..., np.newaxis] % 5, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@every_form
def test_no_output_depends_on_padding_or_on_a_later_event(form):
    layer, x, buckets = made(form)
    before = outputs(layer, x, PADDING_MASK, *buckets)
    x[0, :2] = 100.0
    x[1, 3, 0] += 3.0  # not all alike, which a normalization takes out
    after = outputs(layer, x, PADDING_MASK, *buckets)
    np.testing.assert_array_equal(after[0, 2:], before[0, 2:])
    np.testing.assert_array_equal(after[1, :3], before[1, :3])
    assert (np.abs(after[1, 3:] - before[1, 3:]).max(axis=1) > 1e-4).all()
    short = [each[:, 2:, 2:] for each in buckets]
    alone = outputs(layer, x[:, 2:], PADDING_MASK[:, 2:], *short)
    np.testing.assert_allclose(after[0, 2:], alone[0], rtol=1e-4, atol=1e-5)


def test_buckets_grow_with_the_time_and_know_of_the_request():
    request = TIMES + 10**6  # of which the last one counts
    found = ops.convert_to_numpy(TimeBuckets(40)(TIMES, request))
    for row, times in enumerate([TIMES[0].tolist(), TIMES[1].tolist()]):
        asked = [*times[1:], times[-1] + 10**6]
        for i in range(5):
            for j in range(i + 1):
                seconds = max(abs(asked[i] - times[j]), 1)
                assert found[row, i, j] == min(int(np.log(seconds) / 0.301), 40)
    at_once = ops.convert_to_numpy(TimeBuckets(40)(TIMES, np.zeros_like(TIMES)))
    assert at_once[1, 4, 4] == 0 and found[1, 4, 4] == 40


def test_without_times_events_are_evenly_spaced():
    found = ops.convert_to_numpy(TimeBuckets(default_gap=300)(TIMES, TIMES * 0 + 9))[2]
    evenly = np.arange(1, 6, dtype="int32")[np.newaxis] * 300
    np.testing.assert_array_equal(found, ops.convert_to_numpy(TimeBuckets()(evenly, evenly))[0])
    assert found[3].tolist()[:4] == [int(np.log(300 * n) / 0.301) for n in (4, 3, 2, 1)]


def test_what_does_not_go_together():
    with pytest.raises(ValueError, match=r"divide .* inputs, 8. Received: num_heads=3"):
        GatedAttention(3, 5)(np.zeros((1, 5, 8)), np.ones((1, 5), bool))
    with pytest.raises(ValueError, match="`separate_channels` needs positions or times"):
        GatedAttention(2, 5, use_positions=False, separate_channels=True)
    with pytest.raises(ValueError, match=r"at most max_length=4 events. Received length 5"):
        GatedAttention(2, 4)(np.zeros((1, 5, 8)), np.ones((1, 5), bool))
    with pytest.raises(ValueError, match="`num_time_buckets` go together"):
        GatedAttention(2, 5)(np.zeros((1, 5, 8)), np.ones((1, 5), bool), np.zeros((1, 5, 5)))
