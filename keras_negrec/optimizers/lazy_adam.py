"""Adam that touches only the rows of a table that were looked up."""

import keras
from keras import ops

from keras_negrec.backend import keras_private, table_rows

_CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")
_SET_HERE = (*_CLIPPING, "use_ema", "gradient_accumulation_steps", "loss_scale_factor")


@keras.saving.register_keras_serializable(package="keras_negrec")
class LazyAdam(keras_private.OptimizerSteps, keras.optimizers.Adam):
    """Adam whose step costs the same however many rows a table has.

    Where a gradient holds some rows of a table, as that of item vectors does in a model of this
    package with `num_sampled_negatives`, these rows are updated as by Adam, each once, and their
    moments. All others stay as they are: their moments do not decay, and they do not move on from
    earlier gradients. Any other variable is updated by Adam, or by `dense_optimizer`.

    Averages of weights (`use_ema`) cost as much as the table is large, and so does
    `jit_compile=True` on TensorFlow, which copies it.

    Args:
        learning_rate: float, or a Keras schedule.
        beta_1, beta_2, epsilon: floats, as in `keras.optimizers.Adam`.
        dense_optimizer: a Keras optimizer, or its name, for all variables but those with a row for
            each item, in `keras_negrec.layers.ItemEmbedding` and `KeepLogit`; None is Adam with the
            arguments above. Its learning rate or schedule and its weight decay are its own.
        **kwargs: further arguments of `keras.optimizers.Adam`, such as `clipnorm` or `use_ema`,
            which concern all variables together.

    Raises:
        ValueError: `amsgrad`, `weight_decay` or `gradient_accumulation_steps`, which concern all
            rows at each step; a `dense_optimizer` that clips, averages, accumulates or scales.

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
            if value := kwargs.get(argument):
                raise ValueError(
                    f"LazyAdam has no `{argument}`, which concerns all rows at each step; use "
                    f"`keras.optimizers.Adam`. Received: {argument}={value!r}"
                )
        super().__init__(learning_rate, beta_1, beta_2, epsilon, name=name, **kwargs)
        self.dense_optimizer = None
        if dense_optimizer is not None:
            self.dense_optimizer = dense_optimizer = keras.optimizers.get(dense_optimizer)
            if isinstance(dense_optimizer, keras.optimizers.LossScaleOptimizer):
                raise ValueError(
                    "Losses are scaled by `LossScaleOptimizer` around LazyAdam. Received: "
                    f"{dense_optimizer=}"
                )
            for setting in _SET_HERE:
                if value := getattr(dense_optimizer, setting):
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
        own: tuple[list, list] = ([], [])
        others: tuple[list, list] = ([], [])
        for gradient, variable in zip(gradients, variables, strict=True):
            of_gradients, of_variables = own if self._is_own(variable) else others
            of_gradients.append(gradient)
            of_variables.append(variable)
        super().update_variables(*own, learning_rate)
        if self.dense_optimizer is not None:
            keras_private.update_variables_with(self.dense_optimizer, *others)

    def decay_weights(self, variables):
        if self.dense_optimizer is not None:
            keras_private.decay_weights_with(
                self.dense_optimizer, [v for v in variables if not self._is_own(v)]
            )

    def _is_own(self, variable) -> bool:
        return self.dense_optimizer is None or table_rows.is_item_table(variable)

    def update_step(self, gradient, variable, learning_rate):
        found = table_rows.unique_rows(gradient)
        if found is None:
            super().update_step(gradient, variable, learning_rate)
            return
        rows, gradient = found
        momentum, velocity = keras_private.moments_of(self, variable)
        gradient = ops.cast(gradient, variable.dtype)
        step, rate, beta_1, beta_2 = (
            ops.cast(value, variable.dtype)
            for value in (self.iterations + 1, learning_rate, self.beta_1, self.beta_2)
        )
        alpha = rate * ops.sqrt(1 - ops.power(beta_2, step)) / (1 - ops.power(beta_1, step))
        old = table_rows.read_rows(momentum, rows)
        new_momentum = old + (gradient - old) * (1 - self.beta_1)
        old = table_rows.read_rows(velocity, rows)
        new_velocity = old + (ops.square(gradient) - old) * (1 - self.beta_2)
        old = table_rows.read_rows(variable, rows)
        new = old - new_momentum * alpha / (ops.sqrt(new_velocity) + self.epsilon)
        table_rows.write_rows(momentum, rows, new_momentum)
        table_rows.write_rows(velocity, rows, new_velocity)
        table_rows.write_rows(variable, rows, new)

    def clip_gradients(self, gradients):
        if not any(getattr(self, setting) for setting in _CLIPPING):
            return gradients
        # A row that is there several times must be summed before anything is measured.
        found = [table_rows.unique_rows(gradient) or (None, gradient) for gradient in gradients]
        values = super().clip_gradients([value for _, value in found])
        return [
            value if rows is None else table_rows.with_rows(gradient, rows, value)
            for gradient, (rows, _), value in zip(gradients, found, values, strict=True)
        ]

    def get_config(self):
        config = super().get_config()
        if self.dense_optimizer is not None:
            dense_optimizer = keras.saving.serialize_keras_object(self.dense_optimizer)
            config["dense_optimizer"] = keras_private.portable_config(dense_optimizer)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        dense = keras.saving.deserialize_keras_object(config.get("dense_optimizer"), custom_objects)
        return super().from_config({**config, "dense_optimizer": dense}, custom_objects)
