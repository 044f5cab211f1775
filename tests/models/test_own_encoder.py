"""An encoder of a user's own, which reads an event column of their own."""

import keras
import numpy as np
import pandas as pd
import pytest
from own_part import TRACKS, go_through, vocabulary

import keras_negrec
from keras_negrec.data import Sessions
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.layers import TakePositions


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
        mask = keras.ops.cast(events["padding_mask"], x.dtype)[:, :, None]
        x = (x + self.devices(events["device"])) * mask
        place = keras.ops.cumsum(keras.ops.ones_like(mask[..., 0]), axis=1)
        age = place[:, :, None] - place[:, None, :]  # (batch, position, event)
        weights = keras.ops.where(age >= 0, self.decay ** keras.ops.maximum(age, 0.0), 0.0)
        return self.dense(self.take_positions(keras.ops.matmul(weights, x), positions))

    def get_config(self):
        return {**super().get_config(), "decay": self.decay}


@pytest.fixture(autouse=True)
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


def build(**options):
    encoder = DecayingMean(decay=0.1, feedback_inputs=True, dropout=0.0)
    return keras_negrec.build_model(
        encoder,
        vocabulary=vocabulary(),
        max_length=8,
        embedding_dim=16,
        learning_rate=0.01,
        **options,
    )


def test_it_does_what_a_built_in_one_does(tmp_path):
    sessions = Sessions.from_events(table(), vocabulary())
    assert sessions.columns["device"].dtype == np.int32
    model = build(negative_loss="keep", num_sampled_negatives=5)
    assert set(model.serving_model.input) == {"item_ids", "feedback", "device"}
    go_through(model, sessions, tmp_path)
    # The column matters: other devices, other scores.
    others = {**sessions.columns, "device": 3 - sessions.columns["device"]}
    other = Sessions(others, sessions.row_splits, sessions.keys)
    assert np.abs(model.score(sessions) - model.score(other)).max() > 1e-3


def test_it_never_sees_what_comes_later():
    model = build()
    sessions = Sessions.from_events(table(4), vocabulary()).between(0, 6)
    [(x, _, _)] = model.training_dataset(sessions, shuffle=False)
    x = {name: values.numpy() for name, values in x.items()}
    before = keras.ops.convert_to_numpy(model(x)["next_item"])
    changed = {name: values.copy() for name, values in x.items()}
    changed["device"][:, -1] = 3 - changed["device"][:, -1]
    changed["item_ids"][:, -1] = 1
    after = keras.ops.convert_to_numpy(model(changed)["next_item"])
    last = x["item_ids"].shape[1] - 1
    earlier = x["target_positions"] < last
    np.testing.assert_allclose(after[earlier], before[earlier], atol=1e-6)
    assert np.abs(after - before).max() > 1e-5


def test_a_log_without_the_column():
    model = build()
    with pytest.raises(ValueError, match=r"reads the event column `device`.* Received data with"):
        model.training_dataset(Sessions.from_lists([[1, 2, 3]]))


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="data are tested once")
def test_the_column_goes_through_prepared_folders(tmp_path):
    names = {name: name for name in ("session", "position", "item", "feedback")}
    options = {**names, "columns": {"device": "device"}}
    keras_negrec.data.prepare(
        table(), tmp_path / "plays", format_options=options, verbose=False, num_shards=2
    )
    prepared = keras_negrec.data.load_prepared(tmp_path / "plays")
    sessions = prepared.sessions()
    assert set(sessions.columns["device"]) == {1, 2}
    encoder = DecayingMean(dropout=0.0)
    model = keras_negrec.build_model(encoder, vocabulary=prepared.vocabulary, embedding_dim=8)
    model.fit(model.training_dataset(prepared), shuffle=False, verbose=0)
    assert keras_negrec.evaluate(model, prepared.examples("test"))["mrr"] > 0
