"""How long ago each event was when an item was asked for, in buckets that grow with it."""

import keras
from keras import ops

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.layers.take_positions import from_start

_LOG_WIDTH = 0.301  # of a bucket: about log10(2), in the natural logarithm, as published


@keras.saving.register_keras_serializable(package="keras_negrec")
class TimeBuckets(keras.layers.Layer):
    """For each position and each event, the bucket of the time between request and event.

    What follows an event was asked for when the next event came, what follows the newest one at
    the time of its request. Of `s` seconds the bucket is `floor(ln(max(|s|, 1)) / 0.301)`: each is
    a third wider than the one before, and bucket 60 begins at a little over two years.

    A row whose times are all 0 has none: its events then count as `default_gap` seconds apart.

    Args:
        num_buckets: int. The index of the last bucket, which holds all that is longer.
        default_gap: int. Seconds between the events of a row without times.

    Call arguments:
        timestamps: int tensor of shape `(batch, length)`, when each event was, in seconds.
        request_timestamps: int tensor of shape `(batch, length)`, of which the last column is read:
            when the next item is asked for, 0 for at once.
        positions: optional int tensor of shape `(batch, num_positions)`, as for `TakePositions`.
            Default: everywhere.

    Returns:
        int32 tensor of shape `(batch, length or num_positions, length)`, values `0..num_buckets`.
        Where an event is later than the request, its bucket tells nothing that matters: such
        events are to be masked.

    Example:

    >>> buckets = keras_negrec.layers.TimeBuckets()
    >>> found = buckets(np.array([[0, 60, 90]]), np.array([[0, 0, 3690]]))
    >>> np.asarray(found)[0].tolist()
    [[13, 0, 11], [14, 11, 0], [27, 27, 27]]

    Reference:
        [Zhai et al., 2024](https://arxiv.org/abs/2402.17152)
    """

    def __init__(self, num_buckets=128, default_gap=60, **kwargs):
        super().__init__(**kwargs)
        self.num_buckets = check_positive_int("num_buckets", num_buckets)
        self.default_gap = check_positive_int("default_gap", default_gap)

    def call(self, timestamps, request_timestamps, positions=None):
        length = ops.shape(timestamps)[1]
        known = ops.any(timestamps != 0, axis=1, keepdims=True)
        evenly = ops.arange(length, dtype="int32") * self.default_gap
        timestamps = ops.where(known, timestamps, evenly)
        asked = request_times(timestamps, ops.where(known, request_timestamps, 0))
        if positions is not None:
            asked = ops.take_along_axis(asked, from_start(positions, length), axis=1)
        seconds = ops.abs(ops.expand_dims(asked, 2) - ops.expand_dims(timestamps, 1))
        buckets = ops.log(ops.cast(ops.maximum(seconds, 1), "float32")) / _LOG_WIDTH
        return ops.minimum(ops.cast(buckets, "int32"), self.num_buckets)

    def compute_output_spec(self, timestamps, request_timestamps, positions=None):
        asked = (timestamps if positions is None else positions).shape
        return keras.KerasTensor((*asked, timestamps.shape[1]), "int32")

    def get_config(self):
        own = {"num_buckets": self.num_buckets, "default_gap": self.default_gap}
        return {**super().get_config(), **own}


def request_times(timestamps, request_timestamps):
    """When what follows each event was asked for: int tensor `(batch, length)`."""
    newest, request = timestamps[:, -1:], request_timestamps[:, -1:]
    request = ops.where(request == 0, newest, request)
    return ops.concatenate([timestamps[:, 1:], request], axis=1)
