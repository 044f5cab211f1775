"""The time of the day and of the week, and other periods."""

import math

import keras
from keras import ops

from keras_negrec.argument_checks import check_choice, check_positive_int
from keras_negrec.layers.time_buckets import request_times

PERIODS = {"day": 86_400, "week": 604_800}


@keras.saving.register_keras_serializable(package="keras_negrec")
class PeriodicTimeEmbedding(keras.layers.Layer):
    """Adds to events where their times lie in each period: a learned map of sines and cosines.

    Times are UTC. A time of 0 is none, and nothing is added.

    Args:
        periods: sequence of `"day"`, `"week"` or lengths in seconds.
        num_harmonics: int. Sines of each period: of it, of its half, its third and so on.

    Call arguments:
        inputs: float tensor of shape `(batch, length, embedding_dim)`, as is what is returned.
        timestamps: int tensor of shape `(batch, length)`, seconds since 1970.
        request_timestamps: optional int tensor as for `TimeBuckets`. With it the times are those
            at which what follows each event was asked for.

    Raises:
        ValueError: another period.

    Example:

    >>> layer = keras_negrec.layers.PeriodicTimeEmbedding(["day", 3600])
    >>> tuple(layer(np.zeros((1, 2, 8)), np.array([[0, 1700000000]])).shape)
    (1, 2, 8)
    """

    def __init__(self, periods=("day", "week"), num_harmonics=4, **kwargs):
        super().__init__(**kwargs)
        self.periods = check_periods(periods)
        self.num_harmonics = check_positive_int("num_harmonics", num_harmonics)

    def build(self, inputs_shape, timestamps_shape=None, request_timestamps_shape=None):
        self.kernel = self.add_weight(
            (2 * len(self.periods) * self.num_harmonics, inputs_shape[-1]),
            keras.initializers.TruncatedNormal(stddev=0.02),
            name="kernel",
        )

    def call(self, inputs, timestamps, request_timestamps=None):
        if request_timestamps is not None:
            timestamps = request_times(timestamps, request_timestamps)
        waves = []
        for period in self.periods:
            seconds = PERIODS.get(period, period)
            phase = ops.cast(timestamps % seconds, "float32") * (2 * math.pi / seconds)
            for n in range(1, self.num_harmonics + 1):
                waves += [ops.sin(n * phase), ops.cos(n * phase)]
        waves = ops.stack(waves, axis=-1)
        waves = ops.where(ops.expand_dims(timestamps != 0, -1), waves, 0.0)
        return inputs + ops.matmul(ops.cast(waves, self.compute_dtype), self.kernel)

    def compute_output_shape(
        self, inputs_shape, timestamps_shape=None, request_timestamps_shape=None
    ):
        return inputs_shape

    def get_config(self):
        own = {"periods": list(self.periods), "num_harmonics": self.num_harmonics}
        return {**super().get_config(), **own}


def check_periods(periods) -> tuple:
    """The periods as a tuple, each a name or a positive number of seconds."""
    for period in periods:
        if isinstance(period, str):
            check_choice("periods", period, tuple(PERIODS))
        else:
            check_positive_int("periods", period)
    return tuple(periods)
