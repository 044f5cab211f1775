"""A feedback term of a user's own, which takes part in the ranking."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from own_part import go_through, vocabulary
from toy_sessions import toy_sessions

import keras_negrec
from keras_negrec.models.feedback import FeedbackTerm


@keras.saving.register_keras_serializable("own")
class Liking(FeedbackTerm):
    """How a context received an item, by the product of small vectors of both."""

    name = "liking"
    target = "next"
    inputs = ("target_ids",)
    ranks = True

    def __init__(self, weight=0.25, *, dim=4):
        super().__init__(weight)
        self.dim = dim

    def attach(self, item_embedding, objective, *, dtype):
        items = item_embedding.num_items
        self.contexts = keras.layers.Dense(self.dim, dtype=dtype, name="liking_contexts")
        self.items = keras.layers.Embedding(items + 1, self.dim, dtype=dtype, name="liking_items")

    def training_columns(self, targets, objective):
        labels = tf.cast(targets.target_feedback, "float32")[..., None]
        weights = tf.cast(targets.is_target, "float32")
        return {"target_ids": targets.target_ids}, {"liking": labels}, {"liking": weights}

    def output(self, predictions, inputs, logits):
        likings = self.contexts(predictions) * self.items(inputs["target_ids"])
        return ops.sum(likings, axis=-1, keepdims=True)

    def loss(self):
        return keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")

    def history_columns(self, predictions):
        return self.contexts(predictions)

    def item_columns(self, rows=None):
        table = ops.convert_to_tensor(self.items.embeddings)[1:]
        return table if rows is None else ops.take(table, rows, axis=0)

    def get_config(self):
        return {**super().get_config(), "dim": self.dim}


def test_it_does_what_a_built_in_one_does(tmp_path):
    model = keras_negrec.build_model(
        "sasrec",
        vocabulary=vocabulary(),
        feedback=[Liking(0.5)],
        negative_loss={"keep": 0.1},
        feedback_inputs=True,
        max_length=8,
        embedding_dim=8,
        learning_rate=0.01,
    )
    assert set(model.output) == {"next_item", "keep", "liking"}
    assert model.get_compile_config()["loss_weights"] == {
        "next_item": 1.0,
        "keep": 0.1,
        "liking": 0.5,
    }
    sessions = toy_sessions(48)
    history = go_through(model, sessions, tmp_path)
    assert history["liking_loss"][-1] < history["liking_loss"][0]

    # Its weight in the ranking is its own, whatever the other term's.
    with_it = model.score(sessions)
    model.set_ranking_weights(liking=0.0)
    without = model.score(sessions)
    model.set_ranking_weights(liking=2.0, keep=1.0)
    np.testing.assert_allclose(model.score(sessions), 2 * with_it - without, atol=1e-4)
    assert model.item_vectors().shape == (12, 8 + 1 + 4)
    with pytest.raises(ValueError, match=r"terms that rank .*\['keep', 'liking'\]. Received: skip"):
        model.set_ranking_weights(skip=1.0)


def test_terms_that_need_different_targets():
    with pytest.raises(ValueError, match="`not_to_recommend` and `liking` cannot be combined"):
        keras_negrec.build_model("sasrec", feedback=[Liking()], negative_loss="not_to_recommend")


def test_a_term_twice():
    with pytest.raises(ValueError, match="each term once"):
        keras_negrec.build_model("sasrec", feedback=[Liking(), Liking()])
