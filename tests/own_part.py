"""What any part of a user's own must go through: training, saving, exporting, growing, ranking."""

import itertools

import keras
import numpy as np
import pytest

import keras_negrec

TRACKS = [f"track {i}" for i in range(12)]


def vocabulary():
    return keras_negrec.data.Vocabulary(TRACKS)


def go_through(model, sessions, tmp_path):
    """Trains a model and asserts that it does all that a built-in one does.

    Returns:
        The history of the training, as a dict.
    """
    history = model.fit(
        model.training_dataset(sessions, batch_size=16), epochs=6, shuffle=False, verbose=0
    ).history
    assert history["loss"][-1] < history["loss"][0], history

    model.save(tmp_path / "own.keras")
    loaded = keras.saving.load_model(tmp_path / "own.keras")
    scores = model.score(sessions)
    assert loaded.get_config() == model.get_config()
    np.testing.assert_allclose(loaded.score(sessions), scores, atol=1e-6)

    split = keras_negrec.data.leave_one_out(sessions)
    metrics = keras_negrec.evaluate(model, split.test, k=(3,))
    assert 0 < metrics["mrr"] <= 1

    grown = keras_negrec.grow_vocabulary(model, ["one more"])
    np.testing.assert_allclose(grown.score(sessions)[:, :-1], scores, atol=1e-5)
    grown.fit(grown.training_dataset(sessions, batch_size=16), shuffle=False, verbose=0)
    if keras.config.backend() == "tensorflow":
        check_export(model, sessions, tmp_path)
    return history


def check_export(model, sessions, tmp_path):
    """The export answers as `recommend` does."""
    import tensorflow as tf

    histories = sessions.take([0, 1, 2])
    items = [TRACKS[i - 1] for i in histories.item_ids]
    ends = histories.row_splits
    lists = [items[a:b] for a, b in itertools.pairwise(ends)]
    further = {
        name: [values[a:b].tolist() for a, b in itertools.pairwise(ends)]
        for name, values in histories.columns.items()
        if name in model.serving_model.input and name != "item_ids"
    }
    expected = keras_negrec.recommend(model, lists, k=3, **further)
    served = tf.saved_model.load(str(keras_negrec.export(model, tmp_path / "own")))
    length = max(map(len, lists))
    padded = [[""] * (length - len(row)) + row for row in lists]
    inputs = {"item_ids": tf.constant(padded), "feedback": tf.ones((3, length), "int32")}
    for name, rows in further.items():
        rows = [[0] * (length - len(row)) + row for row in rows]
        inputs[name] = tf.constant(rows, model.serving_model.input[name].dtype)
    found = served.signatures["serving_default"](**inputs)
    for row, best in enumerate(expected):
        assert [item.decode() for item in found["item_ids"][row, :3].numpy()] == [
            one.item for one in best
        ]
        scores = [one.score for one in best]
        assert found["scores"][row, :3].numpy().tolist() == pytest.approx(scores, abs=1e-4)
