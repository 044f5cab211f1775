import warnings

import keras
import keras_hub
import numpy as np
import pytest
from keras import ops

from keras_negrec.layers import TransformerBlock

PADDING_MASK = np.array([[False, False, True, True, True], [True] * 5])


def random_inputs(batch=2):
    return np.random.default_rng(0).normal(size=(batch, 5, 8)).astype("float32")


def outputs(block, *inputs):
    return ops.convert_to_numpy(block(*inputs))


@pytest.mark.parametrize("causal", [True, False])
def test_outputs_at_positions_are_those_among_all(causal):
    inputs = random_inputs(batch=3)
    padding_mask = np.array([[False, False, True, True, True], [True] * 5, [False] * 4 + [True]])
    positions = np.array([[4, 2], [0, -2], [-1, 4]])
    block = TransformerBlock(16, 2, causal=causal)
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


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("changed", [0, 2, 4])
def test_only_a_bidirectional_block_looks_ahead(causal, changed):
    block, inputs = TransformerBlock(16, 2, causal=causal), random_inputs()
    before = outputs(block, inputs)
    inputs[:, changed] += 1.0
    inputs[:, changed, 0] -= 3.0
    moved = np.abs(outputs(block, inputs) - before).max(axis=(0, 2))
    first = changed if causal else 0
    assert (moved[:first] == 0).all()
    assert (moved[first:] > 1e-6).all()  # every later output does depend on it


@pytest.mark.parametrize("causal", [True, False])
def test_padding_is_not_attended_to(causal):
    block, inputs = TransformerBlock(16, 2, causal=causal), random_inputs()
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
