import functools

import keras
import numpy as np
import pytest
from small_models import ENCODERS, batch_of, build, fit, numpy, with_random_weights
from toy_sessions import NUM_ITEMS, toy_sessions

from keras_negrec.data import ClozeTargets, Sessions, leave_one_out

CAUSAL = ["sasrec", "gru4rec", "caser", "hstu"]
every_encoder = pytest.mark.parametrize("name", ENCODERS)
every_causal = pytest.mark.parametrize("name", CAUSAL)
OPTIONS = {
    "sasrec": {"num_layers": 2, "max_sessions": 3},
    "bert4rec": {"num_layers": 2},
    "gru4rec": {"num_layers": 2, "max_sessions": 3},
    "caser": {"window": 3},
    "hstu": {"num_layers": 2, "time_periods": ["day", 50]},
}


@functools.cache
def made(name):
    """A model with large weights. Tests leave it as it is."""
    keras.utils.set_random_seed(0)
    return sharpened(
        build(name, **OPTIONS[name], feedback_inputs=True), 2 if name == "gru4rec" else 10
    )


def sharpened(model, factor=10):
    """Larger weights, so that an influence that exists shows."""
    for weight in model.trainable_weights:
        if len(weight.shape) > 1:
            weight.assign(numpy(weight) * factor)
    return model


def sessions(rows, feedback=None, session_ids=None):
    """Sessions whose events are ever further apart."""
    times = [[7, 9, 400, 410, 9000][: len(row)] for row in rows]
    return Sessions.from_lists(rows, feedback, session_ids, timestamps=times)


def predict(model, inputs, positions=None):
    length = inputs["item_ids"].shape[1]
    positions = np.arange(length)[None] if positions is None else positions
    return numpy(model({**inputs, "target_positions": positions.astype("int32")})["next_item"])


def inputs_of(model):
    inputs = {
        "item_ids": np.array([[0, 1, 2, 3, 4, 5]], "int32"),
        "feedback": np.array([[0, 1, -1, 1, 2, 1]], "int32"),
        "session_ids": np.array([[0, 0, 0, 1, 1, 1]], "int32"),
        "timestamps": np.array([[0, 7, 9, 400, 410, 9000]], "int32"),
        "request_timestamps": np.array([[0, 9, 400, 410, 9000, 9000]], "int32"),
    }
    return {key: values for key, values in inputs.items() if key in model.input}


@pytest.mark.parametrize("changed", [2, 3, 5])
@every_causal
def test_causal_models_never_see_a_later_event(name, changed):
    model = made(name)
    before, inputs = predict(model, inputs_of(model)), inputs_of(model)
    inputs["item_ids"][0, changed] = 9
    inputs["feedback"][0, changed] = -2
    after = predict(model, inputs)
    # Column 0 is padding, which predicts nothing.
    np.testing.assert_allclose(after[0, 1:changed], before[0, 1:changed], atol=1e-6)
    seen = slice(changed, changed + 3 if name == "caser" else None)  # Caser's window is 3
    assert (np.abs(after - before)[0, seen].max(axis=-1) > 1e-5).all()
    if name == "caser":
        np.testing.assert_allclose(after[0, changed + 3 :], before[0, changed + 3 :], atol=1e-6)


@pytest.mark.parametrize("changed", [2, 3, 5])
def test_times_are_seen_from_the_request_on(changed):
    model = made("hstu")
    before, inputs = predict(model, inputs_of(model)), inputs_of(model)
    inputs["timestamps"][0, changed:] += 17_000
    inputs["request_timestamps"][0, :-1] = 5  # of which the last one alone is read
    moved = np.abs(predict(model, inputs) - before)[0].max(axis=-1)
    assert (moved[1 : changed - 1] == 0).all() and (moved[changed - 1 :] > 1e-4).all()
    last = inputs_of(model)
    last["request_timestamps"][0, -1] = 50_000
    moved = np.abs(predict(model, last) - before)[0].max(axis=-1)
    assert (moved[1:-1] == 0).all() and moved[-1] > 1e-4


def test_training_sees_the_time_of_the_next_event_and_evaluation_that_of_the_target():
    rows = toy_sessions(20)
    model = build("hstu")
    x, _, _ = batch_of(model, rows)
    known = x["timestamps"][:, :-1] > 0  # others are padding
    asked, following = x["request_timestamps"][:, :-1], x["timestamps"][:, 1:]
    np.testing.assert_array_equal(asked[known], following[known])
    times = rows.columns["timestamps"].reshape(20, 12)
    assert set(times[:, 11]) <= set(x["request_timestamps"][:, -1])
    examples = leave_one_out(rows).test
    ends, lengths = examples.histories.row_splits[1:] - 1, examples.histories.lengths
    asked = examples.histories.columns["request_timestamps"][ends]
    np.testing.assert_array_equal(asked, times[np.arange(20), lengths])
    held_out = examples.sessions()
    ends = held_out.row_splits[1:] - 1
    np.testing.assert_array_equal(held_out.columns["timestamps"][ends], asked)


def test_bert4rec_asks_at_the_time_of_the_request():
    model = build("bert4rec", time_periods=["day"])
    events = {"item_ids": [[0, 5, 7]], "timestamps": [[0, 10, 20]]}
    events["request_timestamps"] = [[0, 20, 90]]
    asked = model.encoder.next_event({name: np.array(rows) for name, rows in events.items()})
    assert numpy(asked["timestamps"]).tolist() == [[10, 20, 90]]
    rows = Sessions.from_lists([[5, 7]] * 2, timestamps=[[10, 20]] * 2)
    rows.columns["request_timestamps"][3] = 60_000  # another part of the day
    first, second = with_random_weights(model).score(rows)
    assert np.abs(first - second).max() > 1e-3


def test_bert4rec_sees_both_sides_but_not_what_is_masked():
    model = made("bert4rec")

    def prediction(items, feedback):
        rows = {"item_ids": np.array([items]), "feedback": np.array([feedback])}
        targets = ClozeTargets(model.mask_id, last_probability=0.0, mask_probability=0.0)
        x, y, _ = targets.transform(rows, [0, 0])
        assert x["target_positions"].numpy().tolist() == [[3]]  # the only kept event
        inputs = {"item_ids": x["item_ids"].numpy(), "feedback": x["feedback"].numpy()}
        return predict(model, inputs, np.array([[3]])), int(y["next_item"][0, 0]) + 1

    items, feedback = [1, 2, 3, 4, 5, 6], [-1, -1, -1, 1, -1, -1]
    before, target = prediction(items, feedback)
    assert target == 4
    # The masked event's item and feedback are hidden.
    same, target = prediction([1, 2, 3, 9, 5, 6], [-1, -1, -1, 2, -1, -1])
    assert target == 9
    np.testing.assert_array_equal(same, before)
    for column in (2, 4):  # its neighbours on both sides are seen
        changed, other = list(items), list(feedback)
        changed[column], other[column] = 9, -2
        assert np.abs(prediction(changed, feedback)[0] - before).max() > 1e-4
        assert np.abs(prediction(items, other)[0] - before).max() > 1e-4


@every_encoder
def test_padding_never_matters(name):
    model = made(name)
    inputs = inputs_of(model)
    padded = {key: np.pad(values, [(0, 0), (2, 0)]) for key, values in inputs.items()}
    expected = predict(model, {key: values[:, 1:] for key, values in inputs.items()})
    np.testing.assert_allclose(predict(model, padded)[:, 3:], expected, atol=1e-4)


@every_encoder
def test_scores_depend_on_every_event_and_its_feedback_and_on_order(name):
    rows = [[1, 2, 3], [9, 2, 3], [1, 9, 3], [1, 2, 9], [3, 2, 1], [1, 2, 3]]
    feedback = [[1, 1, 1]] * 5 + [[1, 1, -1]]
    scores = made(name).score(sessions(rows, feedback, [[0] * 3] * 6))
    assert scores.shape == (6, NUM_ITEMS)
    assert (np.abs(scores[1:] - scores[0]).max(axis=1) > 1e-4).all()


@every_encoder
def test_scores_are_what_the_training_graph_predicts(name):
    model = made(name)
    if name == "bert4rec":
        items, feedback = [[0, 1, 2, 3, model.mask_id]], [[0, 1, -1, 2, 0]]
        inputs = {"item_ids": np.array(items, "int32"), "feedback": np.array(feedback, "int32")}
        rows = sessions([[1, 2, 3]], [[1, -1, 2]])
    else:
        inputs = inputs_of(model)
        rows = sessions([[1, 2, 3, 4, 5]], [[1, -1, 1, 2, 1]], [[0, 0, 1, 1, 1]])
    expected = predict(model, inputs)[0, -1]
    np.testing.assert_allclose(model.score(rows)[0], expected, atol=1e-4)


@every_encoder
def test_histories_of_all_lengths_have_the_vectors_of_the_longest_padding(name):
    random = np.random.default_rng(0)
    lengths = [1, 2, 6, 7, 8, 9, 15, 16, 17, 19, 20, 33] * 2
    rows = [random.integers(1, 11, length).tolist() for length in lengths]
    histories = Sessions.from_lists(
        rows,
        [random.choice([-1, 1], n).tolist() for n in lengths],
        timestamps=[np.cumsum(random.integers(1, 400, n)).tolist() for n in lengths],
    )
    model = with_random_weights(build(name, max_length=20, feedback_inputs=True), scale=0.3)
    inputs = {key: histories.padded(20)[key] for key in model.serving_model.input}
    expected = model.serving_model.predict(inputs, verbose=0)
    vectors = model.history_vectors(histories, batch_size=5)
    np.testing.assert_allclose(vectors, expected, atol=2e-5)


def test_bert4rec_asks_for_one_event_more():
    model = build("bert4rec", max_sessions=3)
    events = {"item_ids": [[0, 5, 7]], "feedback": [[0, 1, -1]], "session_ids": [[0, 0, 3]]}
    asked = model.encoder.next_event({name: np.array(rows) for name, rows in events.items()})
    expected = {"item_ids": [[5, 7, model.mask_id]], "feedback": [[1, -1, 0]]}
    expected["session_ids"] = [[0, 3, 3]]
    assert {name: numpy(rows).tolist() for name, rows in asked.items()} == expected


def test_what_a_model_cannot_read():
    model = made("sasrec")
    sessions = Sessions.from_lists([[1, NUM_ITEMS + 1]], session_ids=[[0, 0]])
    for read in (model.score, model.training_dataset):
        with pytest.raises(ValueError, match=r"must lie in 1..10. Received: 11"):
            read(sessions)
        with pytest.raises(ValueError, match="encoder reads the event column `session_ids`"):
            read(Sessions.from_lists([[1, 2]]))
    inputs = {key: np.pad(values, [(0, 0), (3, 0)]) for key, values in inputs_of(model).items()}
    with pytest.raises(ValueError, match="at most max_length=8 events"):
        predict(model, inputs)


def test_training_dataset_asks_for_every_event_of_a_long_row():
    # Windows overlap by one, so that each event but the first is some window's target.
    model, items = made("sasrec"), np.arange(30) % NUM_ITEMS + 1
    sessions = Sessions.from_lists([items.tolist()], session_ids=[[0] * 30])
    x, _, weight = batch_of(model, sessions)
    assert weight["next_item"].sum() == 29
    assert x["item_ids"].shape[1] <= model.max_length
    assert set(x) == set(model.input)


@every_encoder
def test_event_dropout_hides_events_from_the_encoder_in_training_alone(name):
    keras.utils.set_random_seed(0)
    model = sharpened(build(name, feedback_inputs=True, event_dropout=0.999), 3)
    inputs = {**inputs_of(model), "target_positions": np.array([[5]], "int32")}
    again = {key: values.copy() for key, values in inputs.items()}
    again["item_ids"][0, 2:5] = [7, 8, 9]  # all but the oldest, which is never hidden
    again["feedback"][0, 2:] *= -1

    def difference(training):
        first, second = (numpy(model(x, training=training)["next_item"]) for x in (inputs, again))
        return np.abs(first - second).max()

    assert difference(training=True) < 1e-6
    assert difference(training=False) > 1e-4


def test_without_positions_and_feedback_sasrec_sees_a_set_before_the_last_event():
    keras.utils.set_random_seed(0)
    rows = Sessions.from_lists([[1, 2, 3, 4], [3, 1, 2, 4]])
    for with_positions in (True, False):
        model = sharpened(build("sasrec", use_position_embedding=with_positions))
        first, second = model.score(rows)
        difference = np.abs(first - second).max()
        assert difference > 1e-3 if with_positions else difference < 1e-4


def test_gradients_are_finite_without_positions_however_deep():
    # A hidden event with nothing before it would be a zero vector, and the gradient of layer
    # normalization there is a thousandfold, layer after layer.
    keras.utils.set_random_seed(0)
    options = {"num_layers": 7, "num_heads": 1, "event_dropout": 0.5, "intermediate_dim": None}
    model = build("sasrec", **options, use_position_embedding=False)
    model.compile(keras.optimizers.SGD(0.01))
    fit(model, toy_sessions(64))
    for weight in model.trainable_weights:
        values = numpy(weight)
        assert np.isfinite(values).all(), weight.path
        assert np.abs(values).max() < 10, weight.path
