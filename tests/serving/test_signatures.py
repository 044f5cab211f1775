"""What the signatures of an exported model answer, and what they refuse."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_model import ITEMS, NUM_ITEMS, Client, K, build, on_tensorflow

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary, register_event_column
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.serving.model_card import table_recall
from keras_negrec.serving.servable import ItemTable

pytestmark = on_tensorflow


def names(answer):
    return [[item.decode() for item in row] for row in answer["item_ids"]]


def expected_order(model, history, feedback=None, exclude=()):
    """External ids of the whole catalogue but the history and `exclude`, best first."""
    ranked = keras_negrec.recommend(
        model, [history], NUM_ITEMS, feedback=None if feedback is None else [feedback]
    )[0]
    return [item for item, _ in ranked if item not in exclude]


def test_signatures_and_defaults(call):
    assert set(call.signatures) - {"__saved_model_init_op"} == {
        *("serving_default", "recommend", "score", "embed")
    }
    assert {name: set(call.signatures[name].inputs) for name in ("serving_default", "score")} == {
        "serving_default": {"item_ids", "feedback"},
        "score": {"item_ids", "feedback", "candidate_ids"},
    }
    assert set(call.signatures["recommend"].defaults) == {
        *("feedback", "k", "allowed_item_ids", "blocked_item_ids")
    }


def test_session_ids_are_an_input_where_the_model_has_them(tmp_path):
    model = build("sasrec", max_sessions=3)
    call = Client(keras_negrec.export(model, tmp_path))
    assert set(call.signatures["embed"].inputs) == {"item_ids", "feedback", "session_ids"}
    history = ITEMS[1:4]
    one, two = (call("embed", item_ids=[history], session_ids=ids) for ids in ([[0]], [[0, 1, 1]]))
    assert not np.allclose(one["vectors"], two["vectors"])
    np.testing.assert_array_equal(one["vectors"], call("embed", item_ids=[history])["vectors"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="never fall along a history"):
        call("embed", item_ids=[history], session_ids=[[1, 0, 0]])
    answer = call("recommend", item_ids=[history], session_ids=[[0, 1, 1]], k=3)
    [expected] = keras_negrec.recommend(model, [history], 3, session_ids=[[0, 1, 1]])
    assert names(answer) == [[r.item for r in expected]]


@pytest.fixture
def with_hours(model):
    """A model whose encoder sees one more column of events, of floats."""
    register_event_column("hours", dtype="float32")
    model = build("sasrec")
    serving_model = model.serving_model
    names = [*serving_model.input, "hours"]
    inputs = {
        name: keras.Input((None,), dtype=EVENT_COLUMNS[name].input_dtype, name=name)
        for name in names
    }
    vectors = serving_model({name: inputs[name] for name in serving_model.input})
    shifted = keras.ops.roll(vectors, 1, axis=-1) * keras.ops.max(inputs["hours"], 1, keepdims=True)
    model.serving_model = keras.Model(inputs, vectors + shifted)
    yield model
    del EVENT_COLUMNS["hours"]


def test_registered_columns_are_inputs(with_hours, tmp_path):
    version = keras_negrec.export(with_hours, tmp_path, k=K, item_dtype="float16")
    call = Client(version)
    default = call.signatures["embed"].defaults["hours"]
    assert default.dtype == tf.float32.as_datatype_enum
    histories = [[ITEMS[3], "no such track", ITEMS[5]], [ITEMS[7]] * 3]
    hours = [[0.5, 9.0, 1.5], [0.0, 2.0, 0.25]]
    for given in ({"hours": hours}, {}):
        answer = call("recommend", item_ids=histories, k=4, **given)
        expected = keras_negrec.recommend(with_hours, histories, 4, **given)
        assert names(answer) == [[r.item for r in row] for row in expected]
    vectors = [call("embed", item_ids=histories, **g)["vectors"] for g in ({"hours": hours}, {})]
    assert not np.allclose(*vectors)
    card = (version / "model_card.md").read_text("utf-8")
    assert "`hours` float32 (any, any) (has a default)" in card and "`hours` [[0]]" in card


@pytest.mark.parametrize("k", [1, 7, NUM_ITEMS - 2, NUM_ITEMS, 10**6])
def test_k_of_the_request(model, call, k):
    history = ["tràck 3", "tràck 9"]
    answer = call("recommend", item_ids=[history], k=k)
    assert names(answer) == [expected_order(model, history)[:k]]


def test_blocked_items_are_left_out(model, call):
    history = ["tràck 3", "tràck 9"]
    blocked = [*expected_order(model, history)[:3], "no such track", ""]
    answer = call("recommend", item_ids=[history], blocked_item_ids=[blocked])
    assert names(answer) == [expected_order(model, history, exclude=blocked)[:K]]


def test_allowed_items_of_each_row(model, call):
    histories = [["tràck 3", "tràck 9"], ["tràck 5", ""]]
    allowed = [["tràck 1", "tràck 9", "no such track"], ["", "", ""]]
    answer = call("recommend", item_ids=histories, allowed_item_ids=allowed, k=1)
    free = expected_order(model, ["tràck 5"])[:1]
    assert names(answer) == [["tràck 1"], free], "the second row is not restricted"
    answer = call("recommend", item_ids=histories, allowed_item_ids=allowed[:1])
    second = [item for item in expected_order(model, ["tràck 5"]) if item in allowed[0]]
    assert names(answer) == [["tràck 1"], second[:1]], "one list stands for all rows"


def test_nothing_allowed_is_left(call):
    for lists in (
        {"allowed_item_ids": [["no such track"]]},
        {"allowed_item_ids": [["tràck 3"]]},
        {"allowed_item_ids": [["tràck 4"]], "blocked_item_ids": [["tràck 4"]]},
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match="No item is left to recommend"):
            call("recommend", item_ids=[["tràck 3"]], **lists)


def test_score_of_candidates(model, call):
    histories, feedback = [["tràck 3", "tràck 9"], ["", "tràck 1"]], [[1, -2], [0, 1]]
    candidates = [["tràck 0", "no such track", "tràck 3"], ["tràck 29", "tràck 2", ""]]
    scores = call("score", item_ids=histories, feedback=feedback, candidate_ids=candidates)[
        "scores"
    ]
    of_all = model.score(Sessions.from_lists([[4, 10], [2]], [[1, -2], [1]]))
    expected = [[of_all[0, 0], -np.inf, of_all[0, 3]], [of_all[1, 29], of_all[1, 2], -np.inf]]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_vectors_times_the_written_table_are_the_scores(model, call, version):
    vectors = call("embed", item_ids=[["tràck 3", "tràck 9"]], feedback=[[2, -1]])["vectors"]
    table = np.load(version / "assets.extra" / "item_embeddings.npy")
    ids = Vocabulary.load(version / "assets.extra" / "item_ids.json")
    assert ids == model.vocabulary and table.dtype == np.float32
    expected = model.score(Sessions.from_lists([[4, 10]], [[2, -1]]))
    np.testing.assert_allclose(vectors @ table.T, expected, atol=1e-5)


@pytest.mark.parametrize("padded", [0, 3])
def test_a_history_without_a_known_item_is_answered_as_recommend_does(model, call, padded):
    expected = expected_order(model, [])[:K]
    assert expected == expected_order(model, ["no such track"])[:K]
    empty = call("serving_default", item_ids=np.full((1, padded), "", object))
    unknown = call("serving_default", item_ids=[["no such track", "nor this"]])
    assert names(empty) == names(unknown) == [expected]
    assert np.isfinite(empty["scores"]).all()


def test_a_history_of_10000_events(model, call):
    history = [ITEMS[i % 20] for i in range(10_000)]
    feedback = [1 if i % 3 else -1 for i in range(10_000)]
    answer = call("serving_default", item_ids=[history], feedback=[feedback])
    assert names(answer) == [expected_order(model, history, feedback)[:K]]


def test_rows_with_few_items_left_narrow_the_answer(call):
    for left in (3, 1):
        answer = call("serving_default", item_ids=[ITEMS[left:]])
        assert {*names(answer)[0]} == {*ITEMS[:left]}
    mixed = [ITEMS[2:], ["tràck 0"] + [""] * (NUM_ITEMS - 3)]
    answer = call("serving_default", item_ids=mixed)
    assert answer["item_ids"].shape == (2, 2) and {*names(answer)[0]} == {*ITEMS[:2]}


@pytest.mark.parametrize("feedback", [-1, 1])
def test_a_row_without_anything_left_is_refused(call, feedback):
    with pytest.raises(tf.errors.InvalidArgumentError, match="No item is left to recommend"):
        call("serving_default", item_ids=[ITEMS], feedback=[[feedback] * NUM_ITEMS])


def test_batches_of_0_and_of_4096(model, call):
    none = call("serving_default", item_ids=np.zeros((0, 4), object))
    assert none["item_ids"].shape == none["scores"].shape == (0, K)
    histories = np.array([[ITEMS[i % 7], ITEMS[7 + i % 11]] for i in range(4096)], object)
    answer = call("serving_default", item_ids=histories)
    assert answer["item_ids"].shape == (4096, K)
    for row in (0, 1234, 4095):
        assert names(answer)[row] == expected_order(model, histories[row].tolist())[:K]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"feedback": [[1, 3]]}, "`feedback` must hold values from -2 to 2"),
        ({"feedback": [[1, -(2**31)]]}, "`feedback` must hold values from -2 to 2"),
        ({"feedback": [[1, 1, 1]]}, "`feedback` must have the shape of `item_ids`"),
        ({"k": 0}, "`k` must be positive"),
        ({"k": -3}, "`k` must be positive"),
    ],
)
def test_requests_that_make_no_sense_are_refused(call, inputs, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call("recommend", item_ids=[["tràck 1", "tràck 2"]], **inputs)


def test_equal_scores_keep_the_order_of_the_vocabulary_across_chunks(model, tmp_path, monkeypatch):
    """The best of many chunks are what one sort of all scores gives, ties included."""
    monkeypatch.setattr("keras_negrec.serving.servable.CHUNK_ROWS", 7)
    table = model.item_embedding.embeddings.numpy()
    try:
        # Of one component each, so that equal scores are equal in whatever order they are summed.
        vectors = np.arange(1, 11)[:, np.newaxis] * np.eye(10, table.shape[1]) / 8
        model.item_embedding.embeddings.assign(np.repeat(vectors, 3, axis=0))
        call = Client(keras_negrec.export(model, tmp_path))
        histories = [["tràck 3", "tràck 9"], ["tràck 29", "tràck 17"]]
        for k in (1, 4, 7, 12, NUM_ITEMS):
            answer = call("recommend", item_ids=histories, k=k)
            expected = [expected_order(model, history)[:k] for history in histories]
            assert names(answer) == expected
        allowed = call("recommend", item_ids=histories, allowed_item_ids=[ITEMS[12:20]])
        expected = [set(ITEMS[12:20]) - set(history) for history in histories]
        assert [set(row) <= e for row, e in zip(names(allowed), expected, strict=True)] == [
            True
        ] * 2
    finally:
        model.item_embedding.embeddings.assign(table)


@pytest.mark.parametrize(("item_dtype", "tolerance"), [("float16", 2e-2), ("int8", 0.15)])
def test_smaller_item_tables(model, version, tmp_path, item_dtype, tolerance):
    smaller = keras_negrec.export(model, tmp_path, k=K, item_dtype=item_dtype)
    vectors = Client(smaller)("embed", item_ids=[["tràck 3", "tràck 9"]])["vectors"]
    table = np.load(smaller / "assets.extra" / "item_embeddings.npy")
    exact = model.item_embedding.embeddings.numpy()
    if item_dtype == "float16":
        np.testing.assert_array_equal(table, exact.astype("float16"))
    else:
        steps = np.abs(exact).max(axis=1, keepdims=True) / 127
        assert (np.abs(table - exact) <= steps / 2 + 1e-6).all()
        assert len(np.unique(table[0] / steps[0])) > 1
    expected = model.score(Sessions.from_lists([[4, 10]]))
    np.testing.assert_allclose(vectors @ table.T, expected, atol=tolerance)
    card = (smaller / "model_card.md").read_text("utf-8")
    assert f"Item vectors are stored as {item_dtype}. Of the 5 best items" in card
    stored, full = (
        sum(file.stat().st_size for file in (one / "variables").iterdir())
        for one in (smaller, version)
    )
    assert stored < full


def test_recall_of_a_smaller_table_is_that_of_its_scores(model):
    exact = model.item_embedding.embeddings.numpy()
    assert table_recall(model, ItemTable(exact), 5) == 1.0
    swapped = exact[::-1].copy()
    vectors = np.stack([model.score(Sessions.from_lists([[i + 1]]))[0] for i in range(NUM_ITEMS)])
    shares = []
    for scores in vectors:
        best = set(np.argsort(-scores)[:5])
        best_of_swapped = set(np.argsort(-scores[::-1])[:5])
        shares.append(len(best & best_of_swapped) / 5)
    recall = table_recall(model, ItemTable(swapped), 5)
    assert recall == pytest.approx(np.mean(shares)) and recall < 1


def test_model_card(model, tmp_path):
    metrics = {"hr@10": 0.123456, "coverage@10": 0.5}
    version = keras_negrec.export(model, tmp_path / "mine", metrics=metrics, data="Two days.")
    card = (version / "model_card.md").read_text("utf-8")
    for part in ("# mine, version 1", "| encoder | SASRec(", "| hr@10 | 0.12346 |", "Two days."):
        assert part in card
    assert "| `embed` | `item_ids` string (any, any), `feedback` int32 (any, any) (has a" in card
    assert f"| tensorflow | {tf.__version__} |" in card
    example = [line.strip() for line in card.splitlines() if line.startswith("    serve")]
    scope = {"tf": tf}
    exec(example[0].replace("mine/1", str(version)), scope)
    assert eval(example[1], scope)["scores"].shape == (1, 20)
