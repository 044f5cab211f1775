"""Parts of a user's own: an encoder with a column of its own, an objective, a feedback term."""

import itertools

import keras
import numpy as np
import pandas as pd
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


def table(num_sessions=40):
    """What is played next follows from what was played and from the device."""
    random = np.random.default_rng(0)
    rows = []
    for session in range(num_sessions):
        item = random.integers(12)
        for position in range(9):
            device = int(random.integers(1, 3))
            rows.append((session, position, TRACKS[item], device, 1 if position % 4 else -1))
            item = (item + device) % 12
    return pd.DataFrame(rows, columns=["session", "position", "item", "device", "feedback"])


def build_with_device(**options):
    encoder = DecayingMean(decay=0.1, feedback_inputs=True, dropout=0.0)
    return build(encoder, vocabulary=TWELVE, **{"embedding_dim": 16, **options})


def test_an_encoder_does_what_a_built_in_one_does(device, tmp_path):
    sessions = Sessions.from_events(table(), TWELVE)
    assert sessions.columns["device"].dtype == np.int32
    model = build_with_device(negative_loss="keep", num_sampled_negatives=5)
    assert set(model.serving_model.input) == {"item_ids", "feedback", "device"}
    go_through(model, sessions, tmp_path)
    # The column matters: other devices, other scores.
    others = {**sessions.columns, "device": 3 - sessions.columns["device"]}
    other = Sessions(others, sessions.row_splits, sessions.keys)
    assert np.abs(model.score(sessions) - model.score(other)).max() > 1e-3


def test_an_encoder_never_sees_what_comes_later(device):
    model = build_with_device()
    x, _, _ = batch_of(model, Sessions.from_events(table(4), TWELVE).between(0, 6))
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


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="data are tested once")
def test_a_column_goes_through_prepared_folders(device, tmp_path):
    names = {name: name for name in ("session", "position", "item", "feedback")}
    options = {**names, "columns": {"device": "device"}}
    keras_negrec.data.prepare(
        table(), tmp_path / "plays", format_options=options, verbose=False, num_shards=2
    )
    prepared = keras_negrec.data.load_prepared(tmp_path / "plays")
    assert set(prepared.sessions().columns["device"]) == {1, 2}
    model = build(DecayingMean(dropout=0.0), vocabulary=prepared.vocabulary)
    fit(model, prepared)
    assert keras_negrec.evaluate(model, prepared.examples("test"))["mrr"] > 0


# An objective


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


def test_an_objective_does_what_a_built_in_one_does(tmp_path):
    contrastive = keras_negrec.models.feedback.Contrastive()
    objective = MarginObjective(margin=0.5)
    model = build("gru4rec", vocabulary=TWELVE, objective=objective, feedback=[contrastive])
    assert model.loss["next_item"].margin == 0.5
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

    def get_config(self):  # which would be the same without
        return {**super().get_config(), "dim": self.dim}


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
    assert model.item_vectors().shape == (12, 8 + 1 + 4)
    with pytest.raises(ValueError, match=r"terms that rank .*\['keep', 'liking'\]. Received: skip"):
        model.set_ranking_weights(skip=1.0)
    with pytest.raises(ValueError, match="`not_to_recommend` and `liking` cannot be combined"):
        build("sasrec", feedback=[Liking()], negative_loss="not_to_recommend")
    with pytest.raises(ValueError, match="each term once"):
        build("sasrec", feedback=[Liking(), Liking()])
