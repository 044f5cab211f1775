"""A training step that draws its batch and does nothing with it."""

import keras

from keras_negrec.backend.keras_private import build_metrics


def skip_next_step(model: keras.Model, logs: dict) -> None:
    """Has `fit` draw the data of its next step, or of `steps_per_execution`, and go on.

    Callbacks are given `logs` as its outcome. To be called while the step begins.
    """
    train_function = model.train_function

    def draw(*state_and_data):
        model.train_function = train_function  # first: what follows may be interrupted
        *state, data = state_and_data
        if keras.config.backend() != "torch":  # which has drawn them already
            batches = [next(data) for _ in range(model.steps_per_execution)]
            if keras.config.backend() == "tensorflow":
                build_metrics(model, batches[0])
        return (logs, *state) if state else logs

    model.train_function = draw
