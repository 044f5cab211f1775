import keras
import numpy as np
import pytest
from small_models import build
from toy_sessions import toy_sessions

from keras_negrec.callbacks import StopOnNonFinite

SESSIONS = toy_sessions(32)


class Ruin(keras.callbacks.Callback):
    """Sets one value of a weight, before a step of the second epoch or at its end."""

    def __init__(self, at, value):
        super().__init__()
        self.at, self.value, self.epoch = at, value, 0

    def ruin(self):
        weight = self.model.item_embedding.embeddings
        values = np.array(keras.ops.convert_to_numpy(weight))
        values[3, 2] = self.value
        weight.assign(values)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == (1, self.at):
            if keras.config.backend() == "jax":
                self.model.jax_state_sync()
            self.ruin()

    def on_epoch_end(self, epoch, logs=None):
        if (epoch, self.at) == (1, "end"):
            self.ruin()


def train(at, value, **arguments):
    model = build("sasrec", negative_loss="keep")
    callbacks = [Ruin(at, value), StopOnNonFinite(**arguments)]
    dataset = model.training_dataset(SESSIONS, batch_size=8)
    model.fit(dataset, epochs=3, shuffle=False, verbose=0, callbacks=callbacks)


@pytest.mark.parametrize(("every", "step"), [(1, 2), (3, 3)])
def test_a_loss_is_named_with_its_place(every, step):
    message = (
        rf"^The loss is not finite in epoch 2 of 3, step {step} of \d+: .*keep_loss nan.*"
        r"loss nan.*next_item_loss nan.*learning rate"
    )
    with pytest.raises(FloatingPointError, match=message):
        train(1, np.nan, every=every)


def test_a_weight_is_named_though_the_loss_is_finite():
    message = r"not finite after epoch 2 of 3, .*item_embedding/.* \(1 of its 80 values\)"
    for value in (np.nan, -np.inf):
        with pytest.raises(FloatingPointError, match=message):
            train("end", value)


def test_a_loss_at_the_end_of_an_epoch():
    callback = StopOnNonFinite(every=10)
    callback.set_params({"epochs": 5, "steps": None})
    callback.on_epoch_begin(4)
    callback.on_train_batch_end(3, {"loss": np.inf})  # not looked at
    with pytest.raises(FloatingPointError, match="step 10: loss inf"):
        callback.on_train_batch_end(9, {"loss": np.inf})
    with pytest.raises(FloatingPointError, match=r"in epoch 5 of 5: loss 1, keep_loss inf"):
        callback.on_epoch_end(4, {"loss": 1.0, "keep_loss": np.inf, "val_kept_share@10": np.nan})


def test_a_training_that_goes_well_is_left_alone():
    train(at=None, value=0.0)
    with pytest.raises(ValueError, match="`every` must be a positive integer"):
        StopOnNonFinite(every=0)
