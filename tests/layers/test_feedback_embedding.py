import numpy as np
from keras import ops

from keras_negrec.layers import FeedbackEmbedding


def test_each_value_adds_a_vector_of_its_own():
    inputs = np.random.default_rng(0).normal(size=(1, 6, 3)).astype("float32")
    layer = FeedbackEmbedding()
    layer.build(inputs.shape)
    table = np.arange(15, dtype="float32").reshape(5, 3)
    layer.embeddings.assign(table)
    feedback = np.array([[-2, -1, 0, 1, 2, -1]], "int32")
    found = ops.convert_to_numpy(layer(inputs, feedback))
    np.testing.assert_allclose(found - inputs, table[[0, 1, 2, 3, 4, 1]][None], atol=1e-5)
