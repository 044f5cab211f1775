import shutil

import keras
import numpy as np
import pytest
from keras import ops
from toy_sessions import toy_sessions

import keras_negrec
from keras_negrec import build_model
from keras_negrec.data import ClozeTargets, Sessions

NUM_ITEMS = 12
ANY = {"num_items": NUM_ITEMS, "max_length": 8, "embedding_dim": 8, "dropout": 0.0}
SMALL = {**ANY, "num_layers": 2, "intermediate_dim": 8}


@pytest.fixture(scope="module")
def sasrec():
    keras.utils.set_random_seed(0)
    return sharpened(build_model("sasrec", **SMALL, feedback_inputs=True, max_sessions=3))


@pytest.fixture(scope="module")
def bert4rec():
    keras.utils.set_random_seed(0)
    return sharpened(build_model("bert4rec", **SMALL, feedback_inputs=True))


@pytest.fixture(scope="module")
def gru4rec():
    keras.utils.set_random_seed(0)
    return sharpened(
        build_model("gru4rec", **ANY, num_layers=2, feedback_inputs=True, max_sessions=3), 2
    )


@pytest.fixture(scope="module")
def caser():
    keras.utils.set_random_seed(0)
    return sharpened(build_model("caser", **ANY, window=3, feedback_inputs=True))


CAUSAL = ["sasrec", "gru4rec", "caser"]


def sharpened(model, factor=10):
    """Larger weights, so that an influence that exists shows."""
    for weight in model.trainable_weights:
        if len(weight.shape) > 1:
            weight.assign(ops.convert_to_numpy(weight) * factor)
    return model


def predict(model, inputs, positions=None):
    items = inputs["item_ids"]
    if positions is None:
        positions = np.tile(np.arange(items.shape[1]), (len(items), 1))
    output = model({**inputs, "target_positions": np.asarray(positions, "int32")})
    return ops.convert_to_numpy(output["next_item"])


def causal_inputs():
    return {
        "item_ids": np.array([[0, 1, 2, 3, 4, 5]], "int32"),
        "feedback": np.array([[0, 1, -1, 1, 2, 1]], "int32"),
        "session_ids": np.array([[0, 0, 0, 1, 1, 1]], "int32"),
    }


def inputs_of(model):
    return {key: values for key, values in causal_inputs().items() if key in model.input}


@pytest.mark.parametrize("changed", [2, 3, 5])
@pytest.mark.parametrize("name", CAUSAL)
def test_causal_models_never_see_a_later_event(name, changed, request):
    model = request.getfixturevalue(name)
    before = predict(model, inputs_of(model))
    inputs = inputs_of(model)
    inputs["item_ids"][0, changed] = 11
    inputs["feedback"][0, changed] = -2
    after = predict(model, inputs)
    # Column 0 is padding, which predicts nothing.
    np.testing.assert_allclose(after[0, 1:changed], before[0, 1:changed], atol=1e-6)
    seen = slice(changed, changed + 3 if name == "caser" else None)  # Caser's window is 3
    assert (np.abs(after - before)[0, seen].max(axis=-1) > 1e-5).all()
    if name == "caser":
        np.testing.assert_allclose(after[0, changed + 3 :], before[0, changed + 3 :], atol=1e-6)


def test_bert4rec_sees_both_sides_but_not_what_is_masked(bert4rec):
    mask, position = bert4rec.mask_id, np.array([[3]])

    def prediction(items, feedback):
        rows = {"item_ids": np.array([items]), "feedback": np.array([feedback])}
        targets = ClozeTargets(mask, last_probability=0.0, mask_probability=0.0)
        x, y, _ = targets.transform(rows, [0, 0])
        assert x["target_positions"].numpy().tolist() == [[3]]  # the only kept event
        inputs = {"item_ids": x["item_ids"].numpy(), "feedback": x["feedback"].numpy()}
        return predict(bert4rec, inputs, position), int(y["next_item"][0, 0]) + 1

    items, feedback = [1, 2, 3, 4, 5, 6], [-1, -1, -1, 1, -1, -1]
    before, target = prediction(items, feedback)
    assert target == 4
    # The masked event's item and feedback are hidden.
    same, target = prediction([1, 2, 3, 9, 5, 6], [-1, -1, -1, 2, -1, -1])
    assert target == 9
    np.testing.assert_array_equal(same, before)
    for column in (2, 4):  # its neighbours on both sides are seen
        changed = list(items)
        changed[column] = 9
        assert np.abs(prediction(changed, feedback)[0] - before).max() > 1e-4
        other = list(feedback)
        other[column] = -2
        assert np.abs(prediction(items, other)[0] - before).max() > 1e-4


@pytest.mark.parametrize("name", [*CAUSAL, "bert4rec"])
def test_padding_never_matters(name, request):
    model = request.getfixturevalue(name)
    inputs = inputs_of(model)
    padded = {key: np.pad(values, [(0, 0), (2, 0)]) for key, values in inputs.items()}
    expected = predict(model, {key: values[:, 1:] for key, values in inputs.items()})
    np.testing.assert_allclose(predict(model, padded)[:, 3:], expected, atol=1e-4)


@pytest.mark.parametrize("name", [*CAUSAL, "bert4rec"])
def test_scores_depend_on_every_event_and_most_of_all_on_order(name, request):
    model = request.getfixturevalue(name)

    def score(items, feedback=None):
        rows = [items]
        return model.score(Sessions.from_lists(rows, feedback and [feedback], [[0] * len(items)]))[
            0
        ]

    before = score([1, 2, 3])
    assert before.shape == (NUM_ITEMS,)
    for column in range(3):
        items = [1, 2, 3]
        items[column] = 9
        assert np.abs(score(items) - before).max() > 1e-4  # the newest one included
    assert np.abs(score([3, 2, 1]) - before).max() > 1e-4
    assert np.abs(score([1, 2, 3], [1, 1, -1]) - before).max() > 1e-4


@pytest.mark.parametrize("name", CAUSAL)
def test_causal_models_score_what_their_training_graph_predicts(name, request):
    model = request.getfixturevalue(name)
    rows = Sessions.from_lists([[1, 2, 3, 4, 5]], [[1, -1, 1, 2, 1]], [[0, 0, 1, 1, 1]])
    expected = predict(model, inputs_of(model))[0, -1]
    np.testing.assert_allclose(model.score(rows)[0], expected, atol=1e-4)


def test_bert4rec_scores_what_its_training_graph_predicts(bert4rec):
    inputs = {
        "item_ids": np.array([[0, 1, 2, 3, bert4rec.mask_id]], "int32"),
        "feedback": np.array([[0, 1, -1, 2, 0]], "int32"),
    }
    rows = Sessions.from_lists([[1, 2, 3]], [[1, -1, 2]])
    expected = predict(bert4rec, inputs)[0, -1]
    np.testing.assert_allclose(bert4rec.score(rows)[0], expected, atol=1e-4)


def test_bert4rec_asks_for_one_event_more(bert4rec):
    events = {"item_ids": [[0, 5, 7]], "feedback": [[0, 1, -1]], "session_ids": [[0, 0, 3]]}
    asked = bert4rec.encoder.next_event({name: np.array(rows) for name, rows in events.items()})
    found = {name: ops.convert_to_numpy(rows).tolist() for name, rows in asked.items()}
    expected = {"item_ids": [[5, 7, bert4rec.mask_id]], "feedback": [[1, -1, 0]]}
    assert found == {**expected, "session_ids": [[0, 3, 3]]}


def test_score_takes_the_newest_events_in_batches_of_any_size(sasrec):
    sessions = toy_sessions(7, with_sessions=True)
    scores = sasrec.score(sessions)
    np.testing.assert_allclose(sasrec.score(sessions, batch_size=3), scores, atol=1e-4)
    newest = sessions.between(sessions.lengths - sasrec.max_length, sessions.lengths)
    np.testing.assert_allclose(sasrec.score(newest), scores, atol=1e-6)


def test_ids_above_num_items(sasrec, bert4rec):
    sessions = Sessions.from_lists([[1, NUM_ITEMS + 1]], session_ids=[[0, 0]])
    for model in (sasrec, bert4rec):
        with pytest.raises(ValueError, match=r"must lie in 1..12. Received: 13"):
            model.score(sessions)
        with pytest.raises(ValueError, match=r"must lie in 1..12. Received: 13"):
            model.training_dataset(sessions)


def test_session_ids_are_needed_with_max_sessions(sasrec):
    with pytest.raises(ValueError, match="encoder reads the event column `session_ids`"):
        sasrec.score(Sessions.from_lists([[1, 2]]))


def test_sequence_longer_than_max_length(sasrec):
    inputs = {key: np.pad(values, [(0, 0), (3, 0)]) for key, values in causal_inputs().items()}
    with pytest.raises(ValueError, match="at most max_length=8 events"):
        predict(sasrec, inputs)


def test_training_dataset_asks_for_every_event_of_a_long_row(sasrec):
    # Windows overlap by one, so that each event but the first is some window's target.
    items = np.arange(30) % NUM_ITEMS + 1
    sessions = Sessions.from_lists([items.tolist()], session_ids=[[0] * 30])
    dataset = sasrec.training_dataset(sessions, shuffle=False)
    num_targets = sum(float(weight["next_item"].numpy().sum()) for _, _, weight in dataset)
    assert num_targets == 29
    for x, _, _ in dataset:
        assert x["item_ids"].shape[1] <= sasrec.max_length
        assert set(x) == set(sasrec.input)


def test_training_dataset_repeats_with_the_seed(bert4rec):
    sessions = toy_sessions(16)

    def masked(seed):
        dataset = bert4rec.training_dataset(sessions, batch_size=4, seed=seed)
        return [x["item_ids"].numpy().tolist() for x, _, _ in dataset]

    assert masked(1) == masked(1)
    assert masked(1) != masked(2)


def test_plot_model(tmp_path):
    pytest.importorskip("pydot", reason="plots need pydot")
    if shutil.which("dot") is None:
        pytest.skip("plots need graphviz")
    path = tmp_path / "model.png"
    keras.utils.plot_model(
        build_model("sasrec", **SMALL, negative_loss=True), path, show_shapes=True
    )
    assert path.stat().st_size > 0


@pytest.mark.parametrize("name", [*CAUSAL, "bert4rec"])
def test_event_dropout_hides_events_from_the_encoder_in_training_alone(name):
    keras.utils.set_random_seed(0)
    model = sharpened(build_model(name, **ANY, feedback_inputs=True, event_dropout=0.999), 3)
    inputs = {**inputs_of(model), "target_positions": np.array([[5]], "int32")}
    again = {key: values.copy() for key, values in inputs.items()}
    again["item_ids"][0, 2:5] = [7, 8, 9]  # all but the oldest, which is never hidden
    again["feedback"][0, 2:] *= -1

    def difference(training):
        first, second = (
            ops.convert_to_numpy(model(x, training=training)["next_item"]) for x in (inputs, again)
        )
        return np.abs(first - second).max()

    assert difference(training=True) < 1e-6
    assert difference(training=False) > 1e-4


def test_without_positions_and_feedback_sasrec_sees_a_set_before_the_last_event():
    keras.utils.set_random_seed(0)
    with_positions = sharpened(build_model("sasrec", **ANY, num_layers=1))
    without = sharpened(build_model("sasrec", **ANY, num_layers=1, use_position_embedding=False))
    rows = Sessions.from_lists([[1, 2, 3, 4], [3, 1, 2, 4]])
    first, second = without.score(rows)
    np.testing.assert_allclose(first, second, atol=1e-4)
    first, second = with_positions.score(rows)
    assert np.abs(first - second).max() > 1e-3
    with pytest.raises(ValueError, match="`max_sessions` needs positions"):
        build_model("sasrec", **ANY, use_position_embedding=False, max_sessions=2)


def test_gradients_are_finite_without_positions_however_deep():
    # A hidden event with nothing before it would be a zero vector, and the gradient of layer
    # normalization there is a thousandfold, layer after layer.
    keras.utils.set_random_seed(0)
    options = {"num_layers": 7, "num_heads": 1, "event_dropout": 0.5}
    model = build_model("sasrec", **ANY, **options, use_position_embedding=False)
    model.compile(
        keras.optimizers.SGD(0.01),
        keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight"
        ),
    )
    model.fit(model.training_dataset(toy_sessions(64), batch_size=16), verbose=0, shuffle=False)
    for weight in model.trainable_weights:
        values = ops.convert_to_numpy(weight)
        assert np.isfinite(values).all(), weight.path
        assert np.abs(values).max() < 10, weight.path


@pytest.mark.parametrize("name", ["sasrec", "bert4rec", "gru4rec", "caser"])
def test_histories_of_all_lengths_have_the_vectors_of_the_longest_padding(name):
    random = np.random.default_rng(0)
    lengths = [1, 2, 6, 7, 8, 9, 15, 16, 17, 19, 20, 33] * 2
    rows = [random.integers(1, 31, length).tolist() for length in lengths]
    feedback = [random.choice([-1, 1], length).tolist() for length in lengths]
    histories = Sessions.from_lists(rows, feedback)
    model = keras_negrec.build_model(
        name, num_items=30, max_length=20, embedding_dim=8, feedback_inputs=True
    )
    for weight in model.trainable_weights:
        noise = 0.3 * random.normal(size=weight.shape)
        weight.assign(keras.ops.convert_to_numpy(weight) + noise)
    inputs = {key: histories.padded(20)[key] for key in model.serving_model.input}
    expected = model.serving_model.predict(inputs, verbose=0)
    vectors = model.history_vectors(histories, batch_size=5)
    np.testing.assert_allclose(vectors, expected, atol=2e-5)
