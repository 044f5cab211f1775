"""Adam that touches only the rows of a table that were looked up."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.backend.row_gradients import read_rows, unique_rows, with_rows, write_rows


@keras.saving.register_keras_serializable(package="keras_negrec")
class LazyAdam(keras.optimizers.Adam):
    """Adam whose step costs the same however many rows a table has.

    Where a gradient holds some rows of a table, as that of item vectors does in a model of this
    package with `num_negatives`, these rows are updated, each once, and their moments. All others
    stay as they are: their moments do not decay, and they do not move on from earlier gradients.
    A row that is looked up at each step is updated as by Adam to the letter. Any other variable is
    updated by Adam.

    Averages of weights (`use_ema`) are of all rows and cost as much as the table is large. On
    TensorFlow it is not for `jit_compile=True`, which makes a copy of the table.

    Args:
        learning_rate: float, or a Keras schedule.
        beta_1, beta_2, epsilon: floats, as in `keras.optimizers.Adam`.
        **kwargs: further arguments of `keras.optimizers.Adam`, such as `clipnorm` or `use_ema`.

    Raises:
        ValueError: `amsgrad`, `weight_decay` or `gradient_accumulation_steps`, which concern all
            rows at each step.

    Example:

    >>> optimizer = keras_negrec.optimizers.LazyAdam(1e-3)
    >>> model = keras_negrec.build_model("sasrec", num_items=1_000, num_negatives=16)
    >>> type(model.optimizer).__name__
    'LazyAdam'

    Reference:
        [Kingma & Ba, 2015](https://arxiv.org/abs/1412.6980), section 2; lazy updates as in
        [TensorFlow Addons](https://www.tensorflow.org/addons/api_docs/python/tfa/optimizers/LazyAdam).
    """

    def __init__(
        self,
        learning_rate=0.001,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-7,
        name="lazy_adam",
        **kwargs,
    ):
        for argument in ("amsgrad", "weight_decay", "gradient_accumulation_steps"):
            if kwargs.get(argument):
                raise ValueError(
                    f"LazyAdam has no `{argument}`, which concerns all rows at each step; use "
                    f"`keras.optimizers.Adam`. Received: {argument}={kwargs[argument]!r}"
                )
        super().__init__(
            learning_rate=learning_rate,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            name=name,
            **kwargs,
        )

    def update_step(self, gradient, variable, learning_rate):
        found = unique_rows(gradient)
        if found is None:
            super().update_step(gradient, variable, learning_rate)
            return
        rows, gradient = found
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        gradient = ops.cast(gradient, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        alpha = (
            ops.cast(learning_rate, variable.dtype)
            * ops.sqrt(1 - ops.power(ops.cast(self.beta_2, variable.dtype), step))
            / (1 - ops.power(ops.cast(self.beta_1, variable.dtype), step))
        )
        old = read_rows(momentum, rows)
        new_momentum = old + (gradient - old) * (1 - self.beta_1)
        old = read_rows(velocity, rows)
        new_velocity = old + (ops.square(gradient) - old) * (1 - self.beta_2)
        old = read_rows(variable, rows)
        new = old - new_momentum * alpha / (ops.sqrt(new_velocity) + self.epsilon)
        write_rows(momentum, rows, new_momentum)
        write_rows(velocity, rows, new_velocity)
        write_rows(variable, rows, new)

    def _clip_gradients(self, grads):
        if not (self.clipnorm or self.global_clipnorm or self.clipvalue):
            return grads
        # A row that is there several times must be summed before anything is measured.
        found = [unique_rows(gradient) for gradient in grads]
        values = super()._clip_gradients(
            [
                gradient if of_rows is None else of_rows[1]
                for gradient, of_rows in zip(grads, found, strict=True)
            ]
        )
        return [
            value if of_rows is None else with_rows(gradient, of_rows[0], value)
            for gradient, of_rows, value in zip(grads, found, values, strict=True)
        ]
