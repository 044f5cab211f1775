"""An objective of a user's own."""

import keras
import numpy as np
from keras import ops
from own_part import go_through, vocabulary
from toy_sessions import toy_sessions

import keras_negrec


@keras.saving.register_keras_serializable("own")
class Margin(keras.losses.Loss):
    """How far the best other item comes within a margin of the target."""

    def __init__(self, margin=1.0, name="margin", reduction="mean_with_sample_weight"):
        super().__init__(name=name, reduction=reduction)
        self.margin = margin

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, "int32")
        target = ops.take_along_axis(y_pred, y_true[..., None], axis=-1)
        is_target = ops.one_hot(y_true, ops.shape(y_pred)[-1])
        return ops.mean(ops.relu(self.margin - target + y_pred) * (1 - is_target), axis=-1)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable("own")
class MarginObjective(keras_negrec.models.Objective):
    """A margin between the target and every other item of the catalogue."""

    def __init__(self, *, margin=1.0, **kwargs):
        super().__init__(**kwargs)
        self.margin = margin

    def loss(self, num_items):
        return Margin(self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


def test_it_does_what_a_built_in_one_does(tmp_path):
    model = keras_negrec.build_model(
        "gru4rec",
        vocabulary=vocabulary(),
        objective=MarginObjective(margin=0.5),
        feedback=[keras_negrec.models.feedback.Contrastive()],
        max_length=8,
        embedding_dim=8,
        learning_rate=0.01,
    )
    assert model.loss["next_item"].margin == 0.5
    history = go_through(model, toy_sessions(48), tmp_path)
    assert np.isfinite(history["contrastive_loss"]).all()
