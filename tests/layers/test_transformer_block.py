import warnings

import keras
import keras_hub
import numpy as np
import pytest
from keras import ops

from keras_negrec.layers import LiGRBlock, TransformerBlock

PADDING_MASK = np.array([[False, False, True, True, True], [True] * 5])


every_block = pytest.mark.parametrize("kind", [TransformerBlock, LiGRBlock])
every_rotation = pytest.mark.parametrize("rotary", [False, True])


def random_inputs(batch=2):
    return np.random.default_rng(0).normal(size=(batch, 5, 8)).astype("float32")


def outputs(block, *inputs):
    return ops.convert_to_numpy(block(*inputs))


@every_block
@every_rotation
@pytest.mark.parametrize("causal", [True, False])
def test_outputs_at_positions_are_those_among_all(kind, rotary, causal):
    inputs = random_inputs(batch=3)
    padding_mask = np.array([[False, False, True, True, True], [True] * 5, [False] * 4 + [True]])
    positions = np.array([[4, 2], [0, -2], [-1, 4]])
    block = kind(16, 2, causal=causal, rotary=rotary)
    everywhere = outputs(block, inputs, padding_mask)
    found = outputs(block, inputs, padding_mask, positions)
    expected = np.take_along_axis(everywhere, positions[..., np.newaxis] % 5, axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_computes_what_keras_hub_does(causal):
    inputs = random_inputs()
    block = TransformerBlock(16, 2, causal=causal)
    block(inputs)
    peer = "TransformerDecoder" if causal else "TransformerEncoder"
    peer = getattr(keras_hub.layers, peer)(16, 2, activation="gelu")
    peer.build(inputs.shape)
    random = np.random.default_rng(1)
    named = {}
    for weight in peer.weights:
        weight.assign(random.normal(size=weight.shape))
        named["/".join(weight.path.split("/")[-2:])] = ops.convert_to_numpy(weight)
    attention = {
        name: [named[f"{part}/{name}"] for part in ("query", "key", "value")]
        for name in ("kernel", "bias")
    }
    block.query_key_value.kernel.assign(
        np.concatenate([kernel.reshape(8, 8) for kernel in attention["kernel"]], axis=-1)
    )
    block.query_key_value.bias.assign(np.concatenate([b.ravel() for b in attention["bias"]]))
    for layer, name in (
        (block.attention_output, "attention_output"),
        (block.intermediate, "feedforward_intermediate_dense"),
        (block.feedforward_output, "feedforward_output_dense"),
    ):
        layer.kernel.assign(named[f"{name}/kernel"].reshape(layer.kernel.shape))
        layer.bias.assign(named[f"{name}/bias"])
    for layer, name in (
        (block.attention_norm, "self_attention_layer_norm"),
        (block.feedforward_norm, "feedforward_layer_norm"),
    ):
        layer.gamma.assign(named[f"{name}/gamma"])
        layer.beta.assign(named[f"{name}/beta"])
    mask_name = "decoder_padding_mask" if causal else "padding_mask"
    expected = ops.convert_to_numpy(peer(inputs, **{mask_name: PADDING_MASK}))
    found = outputs(block, inputs, PADDING_MASK)
    np.testing.assert_allclose(found[PADDING_MASK], expected[PADDING_MASK], rtol=1e-5, atol=1e-5)


@every_block
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("changed", [0, 2, 4])
def test_only_a_bidirectional_block_looks_ahead(kind, causal, changed):
    block, inputs = kind(16, 2, causal=causal), random_inputs()
    before = outputs(block, inputs)
    inputs[:, changed] += 1.0
    inputs[:, changed, 0] -= 3.0
    moved = np.abs(outputs(block, inputs) - before).max(axis=(0, 2))
    first = changed if causal else 0
    assert (moved[:first] == 0).all()
    assert (moved[first:] > 1e-6).all()  # every later output does depend on it


@every_block
@every_rotation
@pytest.mark.parametrize("causal", [True, False])
def test_padding_is_not_attended_to(kind, rotary, causal):
    block, inputs = kind(16, 2, causal=causal, rotary=rotary), random_inputs()
    padding_mask = np.array([[False, False, True, True, True]] * 2)
    before = outputs(block, inputs, padding_mask)
    inputs[:, :2] = 100.0
    after = outputs(block, inputs, padding_mask)
    np.testing.assert_allclose(after[:, 2:], before[:, 2:], atol=1e-6)
    alone = outputs(block, inputs[:, 2:], np.ones((2, 3), bool))
    np.testing.assert_allclose(after[:, 2:], alone, atol=1e-5)
    assert np.isfinite(outputs(block, random_inputs(), np.zeros((2, 5), bool))).all()


def test_causal_block_never_looks_ahead_from_padding():
    block, inputs = TransformerBlock(16, 2, causal=True), random_inputs()
    padding_mask = np.array([[False, False, True, True, True]] * 2)
    before = outputs(block, inputs, padding_mask)
    inputs[:, 2:] = 100.0
    np.testing.assert_array_equal(outputs(block, inputs, padding_mask)[:, :2], before[:, :2])


def test_a_gated_block_is_what_its_formula_says():
    block, x = LiGRBlock(16, 2), random_inputs()
    block(x)
    random = np.random.default_rng(1)
    for weight in block.weights:
        weight.assign(random.normal(size=weight.shape))
    kernels = {w.path.split("/", 1)[-1]: ops.convert_to_numpy(w) for w in block.weights}

    def dense(x, name):
        return x @ kernels[f"{name}/kernel"] + kernels[f"{name}/bias"]

    def normed(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * kernels[f"{name}/gamma"] + kernels[f"{name}/beta"]

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    query, key, value = np.split(dense(normed(x, "attention_norm"), "query_key_value"), 3, axis=-1)
    attended = np.zeros_like(value)
    for head in (slice(0, 4), slice(4, 8)):
        scores = query[..., head] @ key[..., head].transpose(0, 2, 1) / 2
        weights = np.exp(np.where(np.tri(5), scores, -np.inf))
        weights /= weights.sum(-1, keepdims=True)
        attended[..., head] = weights @ value[..., head]
    y = x + sigmoid(dense(x, "attention_gate")) * dense(attended, "attention_output")
    gate, hidden = np.split(
        dense(normed(y, "feedforward_norm"), "feedforward/gate_and_value"), 2, axis=-1
    )
    change = dense(gate * sigmoid(gate) * hidden, "feedforward/output_projection")
    expected = y + sigmoid(dense(y, "feedforward_gate")) * change
    np.testing.assert_allclose(outputs(block, x), expected, rtol=2e-4, atol=1e-4)


def test_rotation_tells_how_far_apart_events_are_and_nothing_else():
    inputs = random_inputs()
    plain, turned = TransformerBlock(16, 2), TransformerBlock(16, 2, rotary=True)
    plain(inputs), turned(inputs)
    for weight in turned.weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    plain.set_weights(turned.get_weights())
    swapped = inputs[:, [1, 0, 2, 3, 4]]
    same = [outputs(block, each)[:, 4] for block in (plain, turned) for each in (inputs, swapped)]
    np.testing.assert_allclose(same[0], same[1], atol=1e-4)
    assert np.abs(same[2] - same[3]).max() > 1e-2
    later = np.concatenate([np.zeros((2, 3, 8), "float32"), inputs], axis=1)
    mask = np.array([[False] * 3 + [True] * 5] * 2)
    np.testing.assert_allclose(
        outputs(turned, later, mask)[:, 3:], outputs(turned, inputs), atol=1e-4
    )


def test_quantizes():
    """Its products are in int8 then, and its outputs nearly the same."""
    inputs = keras.Input((5, 8))
    model = keras.Model(inputs, TransformerBlock(16, 2)(inputs))
    before = ops.convert_to_numpy(model(random_inputs()))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have a `quantize` method")
        model.quantize("int8")
    kernels = [weight for weight in model.weights if weight.name == "kernel"]
    assert [kernel.dtype for kernel in kernels] == ["int8"] * 4
    after = ops.convert_to_numpy(model(random_inputs()))
    assert 0 < np.abs(after - before).max() < 0.01


def test_dropout_in_training_only():
    block, inputs = TransformerBlock(16, 2, dropout=0.5), random_inputs()
    np.testing.assert_array_equal(outputs(block, inputs), outputs(block, inputs))
    noisy = ops.convert_to_numpy(block(inputs, training=True))
    assert not np.allclose(noisy, outputs(block, inputs))


def test_num_heads_must_divide_the_width():
    with pytest.raises(ValueError, match=r"`num_heads` must divide .* 8. Received: num_heads=3"):
        TransformerBlock(16, 3)(random_inputs())
