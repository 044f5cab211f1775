"""Adam must see one gradient a row, however often the row was looked up."""

import keras
import numpy as np
import pytest

from keras_negrec.layers import (
    FeedbackEmbedding,
    ItemEmbedding,
    KeepLogit,
    SessionPositionEmbedding,
)

INPUTS = np.zeros((1, 10, 1), "float32")
OFTEN = np.array([[0] * 9 + [1]], "int32")


@pytest.mark.parametrize(
    ("layer", "weight"),
    [
        (FeedbackEmbedding(embeddings_initializer="zeros"), "embeddings"),
        (
            SessionPositionEmbedding(10, max_sessions=2, embeddings_initializer="zeros"),
            "session_embeddings",
        ),
    ],
)
def test_first_step_of_adam_is_the_learning_rate(layer, weight):
    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype.name) for x in (INPUTS, OFTEN)]
    model = keras.Model(inputs, layer(*inputs))
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    model.train_on_batch([INPUTS, OFTEN], np.ones((1, 10, 1), "float32"))
    table = keras.ops.convert_to_numpy(getattr(layer, weight))
    moved = np.abs(table[table != 0])
    assert len(moved) == 2
    np.testing.assert_allclose(moved, 1e-3, rtol=1e-3)


def test_keep_logit_too():
    layer = KeepLogit(2)
    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype.name) for x in (INPUTS, OFTEN)]
    model = keras.Model(inputs, layer(*inputs))
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    model.train_on_batch([INPUTS, OFTEN + 1], np.ones((1, 10, 1), "float32"))
    bias = keras.ops.convert_to_numpy(layer.item_bias)
    np.testing.assert_allclose(bias, 1e-3, rtol=1e-3)


def test_item_embedding_too():
    layer = ItemEmbedding(2, 1, embeddings_initializer="zeros")
    ids = keras.Input((10,), dtype="int32")
    model = keras.Model(ids, layer(ids))
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    model.train_on_batch(OFTEN + 1, np.ones((1, 10, 1), "float32"))
    table = keras.ops.convert_to_numpy(layer.embeddings)
    np.testing.assert_allclose(np.abs(table), 1e-3, rtol=1e-3)
