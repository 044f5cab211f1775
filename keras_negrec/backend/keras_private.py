"""Every private name of Keras that the package uses, in this one file.

Keras may change them in any release. `tests/backend/test_keras_private.py` says which one it did.
"""

import keras
from keras.src.random.seed_generator import global_seed_generator as global_seed_generator
from keras.src.saving.serialization_lib import SafeModeScope as SafeModeScope

_CALLBACK_STATE = {
    keras.callbacks.EarlyStopping: (
        "wait",
        "stopped_epoch",
        "best",
        "best_epoch",
        "best_weights",
    ),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "epochs_since_last_save",
        "_batches_seen_since_last_saving",
        "_last_batch_seen",
        "_current_epoch",
    ),
}


def flatten_layers(model: keras.Model) -> list:
    """The model, its layers, and the layers inside of these, at any depth."""
    return list(model._flatten_layers())


def compile_loss(model: keras.Model):
    """The one loss that `compile` made of all losses, with `built` and `build`, or None."""
    return model._compile_loss


def state_of_callback(callback) -> dict | None:
    """What one of Keras's own callbacks remembers of the epochs so far, as its attributes."""
    for kind, names in _CALLBACK_STATE.items():
        if isinstance(callback, kind):
            return {name: getattr(callback, name) for name in names if hasattr(callback, name)}
    return None


def begin_at_epoch(model: keras.Model, epoch: int | None) -> None:
    """Has the `fit` that runs begin at an epoch, from `on_train_begin`; None: at its own."""
    model._initial_epoch = epoch


def build_metrics(model: keras.Model, batch) -> None:
    """Creates the variables of metrics and losses, which TensorFlow does in the first step."""
    model._symbolic_build(data_batch=batch)


def write_back(model: keras.Model) -> None:
    """Gives the variables their values, which JAX keeps apart while `fit` runs."""
    if keras.config.backend() == "jax":
        model.jax_state_sync()


def update_metrics_variables(model, metrics_variables, loss, x, y, y_pred, sample_weight):
    """On JAX: `(logs, metrics_variables)` after a batch."""
    return model._update_metrics_variables(metrics_variables, loss, x, y, y_pred, sample_weight)


def trainable_variables_of(optimizer) -> list:
    """The variables that an optimizer was built for, in its order."""
    return optimizer._trainable_variables


def moving_averages(optimizer) -> list:
    """With `use_ema`, the average of each of `trainable_variables_of(optimizer)`."""
    return optimizer._model_variables_moving_average


def moments_of(optimizer, variable) -> tuple:
    """Adam's momentum and velocity of one variable."""
    index = optimizer._get_variable_index(variable)
    return optimizer._momentums[index], optimizer._velocities[index]


def portable_config(config):
    """A serialized optimizer under its public name, and anything else as it is.

    On PyTorch, Keras names private subclasses, which train on no other backend.
    """
    if isinstance(config, dict) and ".backend.torch." in (config.get("module") or ""):
        return {**config, "module": "keras.optimizers", "registered_name": None}
    return config


class OptimizerSteps:
    """Plain names for the steps of `apply`, for an optimizer that changes them.

    It comes before Keras's class: `class LazyAdam(OptimizerSteps, keras.optimizers.Adam)`.
    """

    def clip_gradients(self, gradients: list) -> list:
        return super()._clip_gradients(gradients)  # type: ignore[misc]

    def update_variables(self, gradients, variables, learning_rate) -> None:
        super()._backend_update_step(gradients, variables, learning_rate)  # type: ignore[misc]

    def decay_weights(self, variables) -> None:
        super()._apply_weight_decay(variables)  # type: ignore[misc]

    def _clip_gradients(self, grads):
        return self.clip_gradients(grads)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        self.update_variables(grads, trainable_variables, learning_rate)

    def _apply_weight_decay(self, variables):
        self.decay_weights(variables)


def update_variables_with(optimizer, gradients, variables) -> None:
    """A step of another optimizer, which counts and clips nothing."""
    optimizer._backend_update_step(gradients, variables, optimizer.learning_rate)


def decay_weights_with(optimizer, variables) -> None:
    """The weight decay of another optimizer."""
    optimizer._apply_weight_decay(variables)
