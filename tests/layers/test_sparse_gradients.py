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
    ("layer", "weight", "inputs"),
    [
        (FeedbackEmbedding(), "embeddings", (INPUTS, OFTEN)),
        (SessionPositionEmbedding(10, 2), "session_embeddings", (INPUTS, OFTEN)),
        (KeepLogit(2), "item_bias", (INPUTS, OFTEN + 1)),
        (ItemEmbedding(2, 1), "embeddings", (OFTEN + 1,)),
    ],
)
def test_first_step_of_adam_is_the_learning_rate(layer, weight, inputs):
    symbolic = [keras.Input(batch_shape=x.shape, dtype=x.dtype.name) for x in inputs]
    model = keras.Model(symbolic, layer(*symbolic))
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    before = keras.ops.convert_to_numpy(getattr(layer, weight)).copy()
    model.train_on_batch(list(inputs), np.ones((1, 10, 1), "float32"))
    moved = keras.ops.convert_to_numpy(getattr(layer, weight)) - before
    assert len(moved[moved != 0]) == 2
    np.testing.assert_allclose(np.abs(moved[moved != 0]), 1e-3, rtol=1e-3)
