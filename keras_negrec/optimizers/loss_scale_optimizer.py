"""Loss scaling for gradients that hold some rows of a table."""

import keras

from keras_negrec.backend.table_rows import row_values


@keras.saving.register_keras_serializable(package="keras_negrec")
class LossScaleOptimizer(keras.optimizers.LossScaleOptimizer):
    """`keras.optimizers.LossScaleOptimizer` around `LazyAdam`, for whose arguments see there.

    It looks for infinite gradients in the rows that there are, where Keras would first make the
    whole table of them. `build_model` puts it around `LazyAdam` where `dtype="mixed_float16"`. On
    JAX such models train with dense gradients: use bfloat16, which needs no scaling.

    Example:

    >>> optimizer = keras_negrec.optimizers.LazyAdam(1e-3)
    >>> model = keras_negrec.build_model(
    ...     "sasrec", num_items=50, num_sampled_negatives=16, dtype="mixed_float16"
    ... )
    >>> model.compile(keras_negrec.optimizers.LossScaleOptimizer(optimizer))

    Reference:
        [Micikevicius et al., 2018](https://arxiv.org/abs/1710.03740), section 3.2
    """

    def check_finite(self, grads):
        return super().check_finite([g if g is None else row_values(g) for g in grads])
