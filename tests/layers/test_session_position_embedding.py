import numpy as np
import pytest
from keras import ops

from keras_negrec.layers import SessionPositionEmbedding


def indices(session_ids, max_sessions=3):
    """The position index and the sessions-ago index that each event got."""
    layer, session_ids = SessionPositionEmbedding(8, max_sessions), np.array(session_ids, "int32")
    inputs = np.zeros((*session_ids.shape, 2), "float32")
    layer.build(inputs.shape)
    # Column 0 of the sum is the position's index, column 1 the session's.
    layer.position_embeddings.assign(np.stack([np.arange(8), np.zeros(8)], 1))
    if max_sessions is None:
        return ops.convert_to_numpy(layer(inputs))[..., 0]
    layer.session_embeddings.assign(np.stack([np.zeros(max_sessions), np.arange(max_sessions)], 1))
    found = ops.convert_to_numpy(layer(inputs, session_ids))
    return found[..., 0], found[..., 1]


@pytest.mark.parametrize("length", [1, 3, 8])
def test_newest_event_has_index_0_whatever_the_length(length):
    found = indices([[0] * length], max_sessions=None)
    np.testing.assert_array_equal(found[0], np.arange(length)[::-1])


def test_positions_restart_in_each_session():
    positions, ago = indices([[0, 0, 0, 1, 1, 2], [4, 4, 4, 4, 9, 9]])
    np.testing.assert_array_equal(positions, [[2, 1, 0, 1, 0, 0], [3, 2, 1, 0, 1, 0]])
    np.testing.assert_array_equal(ago, [[2, 2, 2, 1, 1, 0], [1, 1, 1, 1, 0, 0]])
    _, ago = indices([[0, 1, 2, 3, 4]])
    np.testing.assert_array_equal(ago, [[2, 2, 2, 1, 0]])  # older ones share the oldest vector


def test_padding_does_not_shift_events():
    padded = np.array(indices([[0, 0, 0, 0, 0, 1, 1]]))
    np.testing.assert_array_equal(padded[..., -3:], indices([[0, 1, 1]]))


def test_one_session_equals_the_ordinary_embedding():
    inputs = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    table = np.random.default_rng(1).normal(size=(8, 4))
    ordinary, aware = SessionPositionEmbedding(8), SessionPositionEmbedding(8, 3)
    for layer in (ordinary, aware):
        layer.build(inputs.shape)
        layer.position_embeddings.assign(table)
    aware.session_embeddings.assign(np.zeros((3, 4)))
    expected = ops.convert_to_numpy(ordinary(inputs))
    found = ops.convert_to_numpy(aware(inputs, np.full((2, 5), 2, "int32")))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(expected, inputs + table[:5][::-1], rtol=1e-5, atol=1e-6)


def test_session_ids_and_max_sessions_go_together():
    inputs, session_ids = np.zeros((1, 3, 4), "float32"), np.zeros((1, 3), "int32")
    for layer, given in (
        (SessionPositionEmbedding(8), [session_ids]),
        (SessionPositionEmbedding(8, max_sessions=2), []),
    ):
        with pytest.raises(ValueError, match="`session_ids` and `max_sessions` go together"):
            layer(inputs, *given)


def test_longer_than_max_length():
    with pytest.raises(ValueError, match=r"at most max_length=3 events. Received length 4"):
        SessionPositionEmbedding(3)(np.zeros((1, 4, 2), "float32"))
