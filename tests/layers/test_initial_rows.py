import keras
import numpy as np
import pytest
from keras import ops

from keras_negrec.layers import ItemEmbedding
from keras_negrec.layers import initial_rows as initial_rows_module
from keras_negrec.layers.initial_rows import initial_rows

drawn_in_parts = pytest.mark.skipif(
    keras.config.backend() == "tensorflow", reason="TensorFlow draws all rows at once"
)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(initial_rows_module, "_ROWS_AT_ONCE", 100)


def values(initializer, shape):
    return ops.convert_to_numpy(initial_rows(initializer)(shape, dtype="float32"))


@pytest.mark.parametrize("num_rows", [1, 100])
def test_small_tables_are_what_the_initializer_draws(num_rows):
    initializer = keras.initializers.RandomNormal(seed=3)
    expected = ops.convert_to_numpy(initializer((num_rows, 4), dtype="float32"))
    np.testing.assert_array_equal(values(initializer, (num_rows, 4)), expected)


@drawn_in_parts
@pytest.mark.parametrize("num_rows", [101, 200, 1234])
def test_no_two_rows_of_a_large_table_are_alike(num_rows):
    found = values(keras.initializers.RandomNormal(stddev=2.0, seed=3), (num_rows, 4))
    assert found.shape == (num_rows, 4)
    assert len(np.unique(found, axis=0)) == num_rows
    again = values(keras.initializers.RandomNormal(stddev=2.0, seed=3), (num_rows, 4))
    np.testing.assert_array_equal(found, again)


def test_deviation():
    found = values(keras.initializers.RandomNormal(stddev=2.0, seed=3), (5000, 4))
    assert found.std() == pytest.approx(2.0, rel=0.05)
    assert found.mean() == pytest.approx(0.0, abs=0.1)


def test_initializers_that_draw_nothing():
    assert (values(keras.initializers.Constant(0.5), (1000, 2)) == 0.5).all()


def test_item_embedding():
    keras.utils.set_random_seed(0)
    layer = ItemEmbedding(1234, 4)
    layer.build()
    table = ops.convert_to_numpy(layer.embeddings)
    assert len(np.unique(table, axis=0)) == 1234
    assert table.std() == pytest.approx(0.0176, rel=0.05)  # a deviation of 0.02, cut off at two
