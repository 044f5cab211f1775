"""Learned positions that know where one session ends and the next begins."""

import keras
from keras import ops

from keras_negrec.argument_checks import check_length, check_positive_int
from keras_negrec.backend.table_rows import lookup_rows


@keras.saving.register_keras_serializable(package="keras_negrec")
class SessionPositionEmbedding(keras.layers.Layer):
    """Adds a learned vector for where each event stands, counted from the newest event.

    Without `session_ids`, index 0 is the newest event (the last column), so that left padding never
    shifts it. With `session_ids` the count restarts in each session, at its newest event, and a
    second learned vector tells how many sessions ago the event's session was.

    Args:
        max_length: int. The most events a sequence may have.
        max_sessions: int or None. How many sessions back are told apart, older ones sharing
            the vector of the oldest; None for sequences that hold one session.

    Call arguments:
        inputs: float tensor of shape `(batch, length, embedding_dim)`, as is what is returned.
        session_ids: int tensor of shape `(batch, length)`, the index of the event's session in the
            sequence, never decreasing. Required with `max_sessions`, refused without.

    Raises:
        ValueError: a sequence longer than `max_length`; `session_ids` given or missing against
            `max_sessions`.

    Example:

    >>> layer = keras_negrec.layers.SessionPositionEmbedding(max_length=50, max_sessions=4)
    >>> tuple(layer(np.zeros((1, 5, 8)), np.array([[0, 0, 1, 1, 1]])).shape)
    (1, 5, 8)
    """

    def __init__(self, max_length, max_sessions=None, **kwargs):
        super().__init__(**kwargs)
        self.max_length = check_positive_int("max_length", max_length)
        if max_sessions is not None:
            max_sessions = check_positive_int("max_sessions", max_sessions)
        self.max_sessions = max_sessions
        self._initializer = keras.initializers.TruncatedNormal(stddev=0.02)

    def build(self, inputs_shape, session_ids_shape=None):
        width = inputs_shape[-1]
        self.position_embeddings = self.add_weight(
            (self.max_length, width), self._initializer, name="position_embeddings"
        )
        if self.max_sessions is not None:
            self.session_embeddings = self.add_weight(
                (self.max_sessions, width), self._initializer.clone(), name="session_embeddings"
            )

    def call(self, inputs, session_ids=None):
        if (session_ids is None) != (self.max_sessions is None):
            raise ValueError(
                "`session_ids` and `max_sessions` go together. Received: "
                f"session_ids={session_ids}, max_sessions={self.max_sessions}"
            )
        check_length(inputs.shape, self.max_length)
        columns = ops.arange(ops.shape(inputs)[1], dtype="int32")
        if session_ids is None:
            return inputs + lookup_rows(self.position_embeddings, ops.flip(columns))

        same = ops.expand_dims(session_ids, 2) == ops.expand_dims(session_ids, 1)
        later = ops.expand_dims(columns, 1) < ops.expand_dims(columns, 0)  # (length, length)
        from_newest = ops.sum(ops.cast(ops.logical_and(same, later), "int32"), axis=-1)
        ends = ops.cast(session_ids[:, 1:] != session_ids[:, :-1], "int32")
        ends = ops.pad(ends, [[0, 0], [0, 1]])  # (batch, length): an older session's last event
        sessions_ago = ops.flip(ops.cumsum(ops.flip(ends, axis=1), axis=1), axis=1)
        sessions_ago = ops.minimum(sessions_ago, self.session_embeddings.shape[0] - 1)
        return (
            inputs
            + lookup_rows(self.position_embeddings, from_newest)
            + lookup_rows(self.session_embeddings, sessions_ago)
        )

    def compute_output_shape(self, inputs_shape, session_ids_shape=None):
        return inputs_shape

    def get_config(self):
        own = {"max_length": self.max_length, "max_sessions": self.max_sessions}
        return {**super().get_config(), **own}
