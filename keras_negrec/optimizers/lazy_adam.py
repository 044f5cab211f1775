"""Adam that touches only the rows of a table that were looked up."""

from __future__ import annotations

import keras
from keras import ops

from keras_negrec.backend.item_table import is_item_table
from keras_negrec.backend.keras_private import (
    OptimizerSteps,
    decay_weights_with,
    moments_of,
    portable_config,
    update_variables_with,
)
from keras_negrec.backend.row_gradients import read_rows, unique_rows, with_rows, write_rows

_SET_HERE = (
    "clipnorm",
    "global_clipnorm",
    "clipvalue",
    "use_ema",
    "gradient_accumulation_steps",
    "loss_scale_factor",
)


@keras.saving.register_keras_serializable(package="keras_negrec")
class LazyAdam(OptimizerSteps, keras.optimizers.Adam):
    """Adam whose step costs the same however many rows a table has.

    Where a gradient holds some rows of a table, as that of item vectors does in a model of this
    package with `num_sampled_negatives`, these rows are updated, each once, and their moments. All
    others stay as they are: their moments do not decay, and they do not move on from earlier
    gradients. A row that is looked up at each step is updated as by Adam to the letter. Any other
    variable is updated by Adam, or by `dense_optimizer`.

    Averages of weights (`use_ema`) are of all rows and cost as much as the table is large. On
    TensorFlow it is not for `jit_compile=True`, which makes a copy of the table.

    Args:
        learning_rate: float, or a Keras schedule.
        beta_1, beta_2, epsilon: floats, as in `keras.optimizers.Adam`.
        dense_optimizer: a Keras optimizer, or its name, for all variables but those with a row for
            each item, in `keras_negrec.layers.ItemEmbedding` and `KeepLogit`; None is Adam with the
            arguments above. Its learning rate or schedule and its weight decay are its own;
            clipping and averages are set here and are of all variables together.
        **kwargs: further arguments of `keras.optimizers.Adam`, such as `clipnorm` or `use_ema`.

    Raises:
        ValueError: `amsgrad`, `weight_decay` or `gradient_accumulation_steps`, which concern all
            rows at each step; a `dense_optimizer` that clips, averages, accumulates or
            scales losses.

    Example:

    >>> optimizer = keras_negrec.optimizers.LazyAdam(
    ...     1e-3, dense_optimizer=keras.optimizers.AdamW(1e-3, weight_decay=0.01)
    ... )
    >>> model = keras_negrec.build_model(
    ...     "sasrec", num_items=1_000, num_sampled_negatives=16, optimizer=optimizer
    ... )

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
        dense_optimizer=None,
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
        self.dense_optimizer = (
            None if dense_optimizer is None else keras.optimizers.get(dense_optimizer)
        )
        if isinstance(self.dense_optimizer, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                "Losses are scaled by `LossScaleOptimizer` around LazyAdam. Received: "
                f"dense_optimizer={self.dense_optimizer!r}"
            )
        for setting in _SET_HERE if self.dense_optimizer is not None else ():
            value = getattr(self.dense_optimizer, setting)
            if value:
                raise ValueError(
                    f"`{setting}` must be set on LazyAdam, for all variables, and not on "
                    f"`dense_optimizer`. Received: {setting}={value!r}"
                )

    def build(self, variables):
        super().build(variables)
        if self.dense_optimizer is not None:
            self.dense_optimizer.build([v for v in variables if not self._is_own(v)])

    def add_variable_from_reference(self, reference_variable, name=None, initializer="zeros"):
        if name != "average" and not self._is_own(reference_variable):
            return None  # the other optimizer has moments of its own
        return super().add_variable_from_reference(reference_variable, name, initializer)

    @property
    def variables(self):
        others = [] if self.dense_optimizer is None else self.dense_optimizer.variables
        return super().variables + others

    def apply(self, grads, trainable_variables=None):
        super().apply(grads, trainable_variables)
        if self.dense_optimizer is not None:
            self.dense_optimizer.iterations.assign_add(1)

    def update_variables(self, gradients, variables, learning_rate):
        if self.dense_optimizer is None:
            super().update_variables(gradients, variables, learning_rate)
            return
        pairs = list(zip(gradients, variables, strict=True))
        own = [pair for pair in pairs if self._is_own(pair[1])]
        others = [pair for pair in pairs if not self._is_own(pair[1])]
        super().update_variables(*_unzip(own), learning_rate)
        update_variables_with(self.dense_optimizer, *_unzip(others))

    def decay_weights(self, variables):
        if self.dense_optimizer is not None:
            others = [variable for variable in variables if not self._is_own(variable)]
            decay_weights_with(self.dense_optimizer, others)

    def _is_own(self, variable) -> bool:
        return self.dense_optimizer is None or is_item_table(variable)

    def update_step(self, gradient, variable, learning_rate):
        found = unique_rows(gradient)
        if found is None:
            super().update_step(gradient, variable, learning_rate)
            return
        rows, gradient = found
        momentum, velocity = moments_of(self, variable)
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

    def clip_gradients(self, gradients):
        if not (self.clipnorm or self.global_clipnorm or self.clipvalue):
            return gradients
        # A row that is there several times must be summed before anything is measured.
        found = [unique_rows(gradient) for gradient in gradients]
        values = super().clip_gradients(
            [
                gradient if of_rows is None else of_rows[1]
                for gradient, of_rows in zip(gradients, found, strict=True)
            ]
        )
        return [
            value if of_rows is None else with_rows(gradient, of_rows[0], value)
            for gradient, of_rows, value in zip(gradients, found, values, strict=True)
        ]

    def get_config(self):
        config = super().get_config()
        if self.dense_optimizer is not None:
            dense_optimizer = keras.saving.serialize_keras_object(self.dense_optimizer)
            config["dense_optimizer"] = portable_config(dense_optimizer)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        dense_optimizer = config.get("dense_optimizer")
        if dense_optimizer is not None:
            dense_optimizer = keras.saving.deserialize_keras_object(dense_optimizer, custom_objects)
        return super().from_config({**config, "dense_optimizer": dense_optimizer}, custom_objects)


def _unzip(pairs: list[tuple]) -> tuple[list, list]:
    return [gradient for gradient, _ in pairs], [variable for _, variable in pairs]
