"""What all encoders share: from named event columns to embedded events."""

from __future__ import annotations

from keras import ops

from keras_negrec import layers
from keras_negrec.argument_checks import check_fraction
from keras_negrec.data.training.targets import NextItemTargets
from keras_negrec.layers.periodic_time_embedding import check_periods
from keras_negrec.models.part import Part


class Encoder(Part):
    """From a history to vectors at the positions asked for: what a model sees of its events.

    A subclass overrides `build`, which makes its layers, and `encode`, which connects them. It
    is given events that are embedded already: item vectors, plus what the arguments here add. It
    can read further event columns by naming them in `columns`.

    Args:
        dropout: float from 0 up to but not including 1. For the layers of the subclass.
        event_dropout: float from 0 up to but not including 1. The share of a history's events
            that is hidden from the encoder at each training step.
        feedback_inputs: bool. Whether the encoder sees how each event was received.
        use_position_embedding: bool or None. Whether the encoder is told the position of each
            event; None is what its paper does. Without, a causal encoder still sees each event
            after the ones before it.
        max_sessions: int or None. For histories of several sessions, how many sessions back are
            told apart; the model then has the input `session_ids`. It needs positions.
        time_periods: sequence of `"day"`, `"week"` or lengths in seconds. Periods of which the
            encoder sees in what part an item was asked for (UTC); the model then has the inputs
            `timestamps` and `request_timestamps`, when events were and when what follows them was
            asked for, seconds since 1970. 0 is no time.

    Attributes:
        causal: bool. Whether an output depends on the events up to its position alone. Such an
            encoder learns the next item at every position.
        columns: tuple of str. Event columns that `encode` reads beside `item_ids`, as
            `keras_negrec.data.register_event_column` names them.
        transform_predictions: bool. Whether a dense layer and a normalization turn outputs into
            prediction vectors; otherwise they are these vectors as they are.
        sees_time: bool. Whether the model has the inputs `timestamps` and `request_timestamps`.
        has_position_embedding: bool. What `use_position_embedding=None` means.

    Example:

    >>> @keras.saving.register_keras_serializable("docs")
    ... class LastItem(keras_negrec.models.Encoder):
    ...     def build(self, *, embedding_dim, max_length, dtype):
    ...         self.dense = keras.layers.Dense(embedding_dim, dtype=dtype, name="dense")
    ...         self.take_positions = keras_negrec.layers.TakePositions(dtype=dtype)
    ...
    ...     def encode(self, x, events, positions):
    ...         return self.dense(self.take_positions(x, positions))
    >>> model = keras_negrec.build_model(LastItem(feedback_inputs=True), num_items=9)
    >>> sorted(model.input)
    ['feedback', 'item_ids', 'target_positions']
    """

    causal = True
    columns: tuple[str, ...] = ()
    transform_predictions = False
    has_position_embedding = False

    def __init__(
        self,
        *,
        dropout=0.2,
        event_dropout=0.0,
        feedback_inputs=False,
        use_position_embedding=None,
        max_sessions=None,
        time_periods=(),
    ):
        self.dropout = check_fraction("dropout", dropout)
        self.event_dropout = check_fraction("event_dropout", event_dropout)
        self.feedback_inputs = bool(feedback_inputs)
        if use_position_embedding is None:
            use_position_embedding = self.has_position_embedding
        self.use_position_embedding = bool(use_position_embedding)
        self.max_sessions = max_sessions
        self.time_periods = check_periods(time_periods)
        self.sees_time = bool(self.time_periods)
        if max_sessions is not None and self.has_position_embedding and not use_position_embedding:
            raise ValueError(
                "`max_sessions` needs positions. Received: use_position_embedding=False, "
                f"max_sessions={max_sessions}"
            )

    @property
    def inputs(self) -> list[str]:
        """The event columns that a model with this encoder has as inputs."""
        own = {"feedback": self.feedback_inputs, "session_ids": self.max_sessions is not None}
        own |= dict.fromkeys(("timestamps", "request_timestamps"), self.sees_time)
        names = [name for name, is_read in own.items() if is_read]
        return list(dict.fromkeys(["item_ids", *names, *self.columns]))

    def attach(self, item_embedding, *, max_length: int, dtype) -> None:
        """Makes all layers; models call it once."""
        self.item_embedding = item_embedding
        if self.event_dropout:
            max_id = item_embedding.num_items
            self._hide_events = layers.EventDropout(
                self.event_dropout, max_id=max_id, dtype=dtype, name="event_dropout"
            )
        if self.use_position_embedding or self.max_sessions is not None:
            self._position_embedding = layers.SessionPositionEmbedding(
                max_length, self.max_sessions, dtype=dtype, name="position_embedding"
            )
        if self.feedback_inputs:
            name = "feedback_embedding"
            self._feedback_embedding = layers.FeedbackEmbedding(dtype=dtype, name=name)
        if self.time_periods:
            self._period_embedding = layers.PeriodicTimeEmbedding(
                self.time_periods, dtype=dtype, name="period_embedding"
            )
        self.build(embedding_dim=item_embedding.embedding_dim, max_length=max_length, dtype=dtype)
        self._head = layers.PredictionHead(
            transform=self.transform_predictions, dtype=dtype, name="prediction_head"
        )

    def build(self, *, embedding_dim: int, max_length: int, dtype) -> None:
        """Makes the layers of the subclass, each with `dtype` and a name."""

    def encode(self, x, events: dict, positions):
        """Connects the layers of the subclass.

        Args:
            x: float tensor of shape `(batch, length, embedding_dim)`, embedded events.
            events: dict of tensors of shape `(batch, length)`: the columns of `inputs`, and
                `padding_mask`, True where there is an event.
            positions: int tensor of shape `(batch, num_positions)`: where to predict, -1 the
                last, as `keras_negrec.layers.TakePositions` takes it.

        Returns:
            Float tensor of shape `(batch, num_positions, embedding_dim)`.
        """
        raise NotImplementedError(f"{type(self).__name__} must override `encode`.")

    def __call__(self, events: dict, positions):
        """Prediction vectors `(batch, num_positions, embedding_dim)` of event columns."""
        item_ids = events["item_ids"]
        if self.event_dropout:
            item_ids = self._hide_events(item_ids)
        padding_mask = ops.not_equal(item_ids, 0)
        events = {**events, "item_ids": item_ids, "padding_mask": padding_mask}
        x = self.item_embedding(item_ids)
        if self.use_position_embedding or self.max_sessions is not None:
            session_ids = [] if self.max_sessions is None else [events["session_ids"]]
            x = self._position_embedding(x, *session_ids)
        if self.feedback_inputs:
            events["feedback"] = ops.where(padding_mask, events["feedback"], 0)
            x = self._feedback_embedding(x, events["feedback"])
        if self.time_periods:
            # A cloze model asks in place of an event, at its time; others after an event.
            times = [events["timestamps"], *[events["request_timestamps"]] * self.causal]
            x = self._period_embedding(x, *times)
        return self._head(self.encode(x, events, positions))

    def next_event(self, events: dict) -> dict:
        """The event columns whose last position predicts what follows the history."""
        return events

    def targets(self, target: str, objective, feedback, seed: int = 0):
        """The transformation from batches of rows to what a model with this encoder trains on."""
        return NextItemTargets(target, objective=objective, feedback=feedback)
