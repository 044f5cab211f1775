import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_negrec.layers import (
    FeedbackEmbedding,
    ItemEmbedding,
    KeepLogit,
    PredictionHead,
    SessionPositionEmbedding,
    TakePositions,
)

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(size=(3, 5, 4)).astype("float32")


def test_each_feedback_value_adds_a_vector_of_its_own():
    layer, table = FeedbackEmbedding(), RANDOM.normal(size=(5, 4))
    layer.build(INPUTS.shape)
    layer.embeddings.assign(table)
    feedback = np.array([[-2, -1, 0, 1, 2], [2] * 5, [-1] * 5])
    found = ops.convert_to_numpy(layer(INPUTS, feedback))
    np.testing.assert_allclose(found - INPUTS, table[feedback + 2], atol=1e-5)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_picks_positions_of_the_own_row(dtype):
    positions = np.array([[4, 0], [2, -5], [-1, 3]], dtype)
    found = ops.convert_to_numpy(TakePositions()(INPUTS, positions))
    for row, slot in np.ndindex(positions.shape):
        np.testing.assert_array_equal(found[row, slot], INPUTS[row, positions[row, slot]])


def test_prediction_head_is_dense_with_gelu_then_normalization():
    head, kernel = PredictionHead(), RANDOM.normal(size=(4, 4)).astype("float32")
    head.build(INPUTS.shape)
    head.dense.kernel.assign(kernel)
    dense = INPUTS @ kernel
    dense = dense * np.vectorize(lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2))))(dense)  # gelu
    centred = dense - dense.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(head(INPUTS)), expected, atol=1e-4)


@pytest.mark.parametrize("context_dim", [None, 3])
def test_keep_logit_of_context_and_item(context_dim):
    layer, ids = KeepLogit(4, context_dim), np.array([[1, 4, 0, 1], [2, 2, 3, 0], [0] * 4])
    layer.build(INPUTS.shape, ids.shape)
    for weight in layer.weights:
        weight.assign(RANDOM.normal(size=weight.shape).astype("float32"))
    found = ops.convert_to_numpy(layer(INPUTS, ids))
    kernel, offset, bias = map(ops.convert_to_numpy, (*layer.dense.weights, layer.item_bias))
    contexts = INPUTS @ kernel + offset
    expected = contexts[..., :1] + 4 * bias[ids - 1][:, np.newaxis]
    if context_dim:
        vectors = ops.convert_to_numpy(layer.item_vectors)[ids - 1]
        expected += np.einsum("bpk,bck->bpc", contexts[..., 1:], vectors)
    expected = np.where(ids[:, np.newaxis] > 0, expected, 0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    columns = [ops.convert_to_numpy(layer.item_columns(rows)) for rows in (None, np.array([2]))]
    np.testing.assert_allclose(columns[0][2:3], columns[1], atol=1e-6)
    product = ops.convert_to_numpy(layer.history_columns(INPUTS)) @ columns[0][ids[0, 0] - 1]
    np.testing.assert_allclose(product[0], expected[0, :, 0], atol=1e-5)


def test_items_start_with_equal_keep_logits():
    found = ops.convert_to_numpy(KeepLogit(4)(np.ones((1, 2, 5)), np.array([[1, 2, 3, 4]])))
    assert len(set(found.ravel().tolist())) == 1


ZEROS, OFTEN = np.zeros((1, 10, 1), "float32"), np.array([[0] * 9 + [1]], "int32")


@pytest.mark.parametrize(
    ("layer", "weight", "inputs"),
    [
        (FeedbackEmbedding(), "embeddings", (ZEROS, OFTEN)),
        (SessionPositionEmbedding(10, 2), "session_embeddings", (ZEROS, OFTEN)),
        (KeepLogit(2), "item_bias", (ZEROS[:, :1], OFTEN + 1)),
        (ItemEmbedding(2, 1), "embeddings", (OFTEN + 1,)),
    ],
)
def test_adam_sees_one_gradient_of_a_row_however_often_it_is_looked_up(layer, weight, inputs):
    """Its first step is the learning rate."""
    symbolic = [keras.Input(batch_shape=x.shape, dtype=x.dtype.name) for x in inputs]
    model = keras.Model(symbolic, layer(*symbolic))
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    before = ops.convert_to_numpy(getattr(layer, weight)).copy()
    model.train_on_batch(list(inputs), np.ones((1, *model.output.shape[1:]), "float32"))
    moved = ops.convert_to_numpy(getattr(layer, weight)) - before
    assert len(moved[moved != 0]) == 2
    np.testing.assert_allclose(np.abs(moved[moved != 0]), 1e-3, rtol=1e-3)
