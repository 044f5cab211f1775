"""Parts of a user's own: an encoder with a column of its own, an objective, a feedback term."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from small_models import batch_of, build, fit
from toy_sessions import toy_sessions

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.layers import TakePositions
from keras_negrec.models.feedback import FeedbackTerm

TRACKS = [f"track {i}" for i in range(12)]
TWELVE = Vocabulary(TRACKS)


def go_through(model, sessions, tmp_path):
    """Trains a model and asserts that it does all that a built-in one does; its history."""
    history = fit(model, sessions, epochs=6)
    assert history["loss"][-1] < history["loss"][0], history

    model.save(tmp_path / "own.keras")
    loaded = keras.saving.load_model(tmp_path / "own.keras")
    scores = model.score(sessions)
    assert loaded.get_config() == model.get_config()
    np.testing.assert_allclose(loaded.score(sessions), scores, atol=1e-6)

    split = keras_negrec.data.leave_one_out(sessions)
    assert 0 < keras_negrec.evaluate(model, split.test, k=(3,))["mrr"] <= 1

    grown = keras_negrec.grow_vocabulary(model, ["one more"])
    np.testing.assert_allclose(grown.score(sessions)[:, :-1], scores, atol=1e-5)
    fit(grown, sessions)
    if keras.config.backend() == "tensorflow":
        check_export(model, sessions, tmp_path)
    return history


def check_export(model, sessions, tmp_path):
    """The export answers as `recommend` does."""
    histories = sessions.take([0, 1, 2])
    ends = histories.row_splits
    lists = [[TRACKS[i - 1] for i in histories.item_ids[a:b]] for a, b in itertools.pairwise(ends)]
    columns = {
        name: [values[a:b].tolist() for a, b in itertools.pairwise(ends)]
        for name, values in histories.columns.items()
        if name in model.serving_model.input and name != "item_ids"
    }
    expected = keras_negrec.recommend(model, lists, k=3, **columns)
    served = tf.saved_model.load(str(keras_negrec.export(model, tmp_path / "own")))
    length = max(map(len, lists))

    def padded(rows, fill, dtype):
        return tf.constant([[fill] * (length - len(row)) + row for row in rows], dtype)

    inputs = {"item_ids": padded(lists, "", tf.string), "feedback": tf.ones((3, length), "int32")}
    for name, rows in columns.items():
        inputs[name] = padded(rows, 0, model.serving_model.input[name].dtype)
    found = served.signatures["serving_default"](**inputs)
    for row, best in enumerate(expected):
        items = [item.decode() for item in found["item_ids"][row, :3].numpy()]
        assert items == [one.item for one in best]
        scores = [one.score for one in best]
        assert found["scores"][row, :3].numpy().tolist() == pytest.approx(scores, abs=1e-4)


# An encoder


@keras.saving.register_keras_serializable("own")
class DecayingMean(keras_negrec.models.Encoder):
    """The mean of what came before, the newest counting most, with a vector of the device."""

    columns = ("device",)

    def __init__(self, *, decay=0.5, **kwargs):
        super().__init__(**kwargs)
        self.decay = decay

    def build(self, *, embedding_dim, max_length, dtype):
        self.devices = keras.layers.Embedding(3, embedding_dim, dtype=dtype, name="devices")
        self.dense = keras.layers.Dense(embedding_dim, dtype=dtype, name="dense")
        self.take_positions = TakePositions(dtype=dtype, name="take_positions")

    def encode(self, x, events, positions):
        mask = ops.cast(events["padding_mask"], x.dtype)[:, :, None]
        x = (x + self.devices(events["device"])) * mask
        place = ops.cumsum(ops.ones_like(mask[..., 0]), axis=1)
        age = place[:, :, None] - place[:, None, :]  # (batch, position, event)
        weights = ops.where(age >= 0, self.decay ** ops.maximum(age, 0.0), 0.0)
        return self.dense(self.take_positions(ops.matmul(weights, x), positions))


@pytest.fixture
def device():
    keras_negrec.data.register_event_column("device")  # the one line
    yield
    del EVENT_COLUMNS["device"]


def sessions_on_devices(num_rows, length=9):
    """What is played next follows from what was played and from the device."""
    random = np.random.default_rng(0)
    device = random.integers(1, 3, (num_rows, length))
    steps = np.concatenate([random.integers(12, size=(num_rows, 1)), device[:, :-1]], axis=1)
    feedback = np.where(np.arange(length) % 4, 1, -1).tolist()
    rows = Sessions.from_lists((np.cumsum(steps, axis=1) % 12 + 1).tolist(), [feedback] * num_rows)
    columns = {**rows.columns, "device": device.ravel().astype("int32")}
    return Sessions(columns, rows.row_splits, rows.keys)


def build_with_device(**options):
    encoder = DecayingMean(decay=0.1, feedback_inputs=True, dropout=0.0)
    return build(encoder, vocabulary=TWELVE, **{"embedding_dim": 16, **options})


def test_an_encoder_does_what_a_built_in_one_does(device, tmp_path):
    sessions = sessions_on_devices(40)
    model = build_with_device(negative_loss="keep", num_sampled_negatives=5)
    assert set(model.serving_model.input) == {"item_ids", "feedback", "device"}
    go_through(model, sessions, tmp_path)
    # The column matters: other devices, other scores.
    others = {**sessions.columns, "device": 3 - sessions.columns["device"]}
    other = Sessions(others, sessions.row_splits, sessions.keys)
    assert np.abs(model.score(sessions) - model.score(other)).max() > 1e-3


def test_an_encoder_never_sees_what_comes_later(device):
    model = build_with_device()
    x, _, _ = batch_of(model, sessions_on_devices(4, 6))
    before = ops.convert_to_numpy(model(x)["next_item"])
    changed = {name: values.copy() for name, values in x.items()}
    changed["device"][:, -1] = 3 - changed["device"][:, -1]
    changed["item_ids"][:, -1] = 1
    after = ops.convert_to_numpy(model(changed)["next_item"])
    earlier = x["target_positions"] < x["item_ids"].shape[1] - 1
    np.testing.assert_allclose(after[earlier], before[earlier], atol=1e-6)
    assert np.abs(after - before).max() > 1e-5
    with pytest.raises(ValueError, match=r"reads the event column `device`.* Received data with"):
        model.training_dataset(Sessions.from_lists([[1, 2, 3]]))


# An objective


@keras.saving.register_keras_serializable("own")
class Tempered(keras_negrec.models.Objective):
    """A softmax over the catalogue with a temperature."""

    def __init__(self, *, temperature=1.0, **kwargs):
        super().__init__(**kwargs)
        self.temperature = temperature

    def logits(self, predictions, inputs, name="target_ids"):
        return super().logits(predictions, inputs, name) / self.temperature

    def loss(self, num_items):
        return keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        )


def test_an_objective_does_what_a_built_in_one_does(tmp_path):
    contrastive = keras_negrec.models.feedback.Contrastive()
    objective = Tempered(temperature=0.5)
    model = build("gru4rec", vocabulary=TWELVE, objective=objective, feedback=[contrastive])
    assert model.objective.temperature == 0.5
    history = go_through(model, toy_sessions(48), tmp_path)
    assert np.isfinite(history["contrastive_loss"]).all()


# A feedback term, which takes part in the ranking


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


def test_a_term_does_what_a_built_in_one_does(tmp_path):
    options = {"negative_loss": {"keep": 0.1}, "feedback_inputs": True}
    model = build("sasrec", vocabulary=TWELVE, feedback=[Liking(0.5)], **options)
    weights = model.get_compile_config()["loss_weights"]
    assert weights == {"next_item": 1.0, "keep": 0.1, "liking": 0.5}
    sessions = toy_sessions(48)
    history = go_through(model, sessions, tmp_path)
    assert history["liking_loss"][-1] < history["liking_loss"][0]

    # Its weight in the ranking is its own, whatever the other term's.
    with_it = model.score(sessions)
    model.set_ranking_weights(liking=0.0)
    without = model.score(sessions)
    model.set_ranking_weights(liking=2.0, keep=1.0)
    np.testing.assert_allclose(model.score(sessions), 2 * with_it - without, atol=1e-4)
    assert model.item_vectors().shape == (12, 8 + 2 + 4)
    with pytest.raises(ValueError, match=r"terms that rank .*\['keep', 'liking'\]. Received: skip"):
        model.set_ranking_weights(skip=1.0)
    with pytest.raises(ValueError, match="`not_to_recommend` and `liking` cannot be combined"):
        build("sasrec", feedback=[Liking()], negative_loss="not_to_recommend")
    with pytest.raises(ValueError, match="each term once"):
        build("sasrec", feedback=[Liking(), Liking()])
