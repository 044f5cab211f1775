"""A training that went wrong says so."""

from __future__ import annotations

import math

import keras

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.models.finite_weights import not_finite


class StopOnNonFinite(keras.callbacks.Callback):
    """Ends `fit` with an error as soon as a loss, or after an epoch a weight, is not finite.

    `keras.callbacks.TerminateOnNaN` only ends the training: `fit` returns as if all were well, the
    program goes on to evaluate and to export a model that ranks nothing, and weights that went
    wrong under a finite loss are never seen. Here nothing comes after, and the error says where.

    Losses are those that Keras gives to callbacks anyway, and looking at them takes a microsecond
    or two. Weights are looked at where they are, in one pass over them an epoch.

    Args:
        every: int. Look at the losses every `every` steps, and at the end of the epoch.

    Raises:
        ValueError: `every` is not a positive integer.
        FloatingPointError: in `fit`: a loss or a weight is not finite. The message has the epoch,
            the step and each loss, or the names of the weights.

    Example:

    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> guard = keras_negrec.callbacks.StopOnNonFinite()
    >>> try:
    ...     model.fit(np.ones((4, 1)), np.full((4, 1), np.inf), callbacks=[guard], verbose=0)
    ... except FloatingPointError as error:
    ...     print(str(error)[:52])
    The loss is not finite in epoch 1 of 1, step 1 of 1:
    """

    async_safe = True  # Keras need not wait for a step to look at its loss.

    def __init__(self, every: int = 1):
        super().__init__()
        self.every = check_positive_int("every", every)
        self._epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (batch + 1) % self.every == 0:
            steps = self.params.get("steps")
            of = f" of {steps}" if steps else ""
            self._check(f", step {batch + 1}{of}", logs or {})

    def on_epoch_end(self, epoch, logs=None):
        self._check("", logs or {})
        if found := not_finite(self.model):
            raise FloatingPointError(
                f"Weights are not finite after {self._name_of_epoch()}, with a loss of "
                f"{(logs or {}).get('loss')}: {', '.join(found)}. {_ADVICE}"
            )

    def _check(self, step: str, logs: dict) -> None:
        losses = {
            name: value
            for name, value in logs.items()
            if (name == "loss" or name.endswith("_loss")) and not name.startswith("val_")
        }
        if not all(map(math.isfinite, losses.values())):
            parts = ", ".join(f"{name} {value:.6g}" for name, value in losses.items())
            raise FloatingPointError(
                f"The loss is not finite in {self._name_of_epoch()}{step}: {parts} (means of the "
                f"epoch so far). {_ADVICE}"
            )

    def _name_of_epoch(self) -> str:
        return f"epoch {self._epoch + 1} of {self.params.get('epochs', '?')}"


_ADVICE = (
    "Nothing after this step can be used. A smaller learning rate or `clipnorm` of the optimizer "
    "helps in most cases; in half precision, bfloat16."
)
