import keras
import numpy as np
import pytest
from keras import ops

from keras_negrec.layers import ItemEmbedding


def test_no_two_rows_of_a_large_table_are_alike():
    """More rows than are drawn at once."""
    num_items = 2**17 + 2**12
    layer = ItemEmbedding(num_items, 4, embeddings_initializer="ones")
    layer.build()
    assert (ops.convert_to_numpy(layer.embeddings) == 1).all()
    layer = ItemEmbedding(num_items, 4)
    layer.build()
    table = ops.convert_to_numpy(layer.embeddings)
    assert table.shape == (num_items, 4)
    assert len(np.unique(table, axis=0)) == num_items
    assert table.std() == pytest.approx(0.0176, rel=0.01)  # a deviation of 0.02, cut off at two
    for part in (table[: 2**17], table[2**17 :]):
        assert part.mean() == pytest.approx(0.0, abs=0.001)


@pytest.mark.parametrize("num_items", [100, 2**17 + 1])
def test_a_seed_gives_the_same_table(num_items):
    tables = []
    for _ in range(2):
        initializer = keras.initializers.RandomNormal(stddev=2.0, seed=3)
        layer = ItemEmbedding(num_items, 1, embeddings_initializer=initializer)
        layer.build()
        tables.append(ops.convert_to_numpy(layer.embeddings))
    np.testing.assert_array_equal(*tables)
