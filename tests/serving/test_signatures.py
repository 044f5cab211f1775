"""What the signatures of an exported model answer, and what they refuse."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_model import INTEGERS, ITEMS, NUM_ITEMS, Client, K, build, with_counts

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.data.event_columns import EVENT_COLUMNS, EventColumn
from keras_negrec.serving.model_card import table_recall
from keras_negrec.serving.servable import ItemTable, Servable


def names(answer):
    return [[item.decode() for item in row] for row in np.asarray(answer["item_ids"])]


def expected_order(model, history, feedback=None):
    """External ids of the whole catalogue but the history, best first."""
    feedback = None if feedback is None else [feedback]
    [ranked] = keras_negrec.recommend(model, [history], NUM_ITEMS, feedback=feedback)
    return [item for item, _ in ranked]


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


def test_session_ids_are_an_input_where_the_model_has_them(integers, integers_version):
    call = Client(integers_version)
    assert set(call.signatures["embed"].inputs) == {"item_ids", "feedback", "session_ids"}
    history = INTEGERS.items[1:4].tolist()
    one, two = (call("embed", item_ids=[history], session_ids=ids) for ids in ([[0]], [[0, 1, 1]]))
    assert not np.allclose(one["vectors"], two["vectors"])
    np.testing.assert_array_equal(one["vectors"], call("embed", item_ids=[history])["vectors"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="never fall along a history"):
        call("embed", item_ids=[history], session_ids=[[1, 0, 0]])
    answer = call("recommend", item_ids=[history], session_ids=[[0, 1, 1]], k=3)
    [expected] = keras_negrec.recommend(integers, [history], 3, session_ids=[[0, 1, 1]])
    assert answer["item_ids"].tolist() == [[r.item for r in expected]]


def test_a_model_that_recommends_what_was_heard_before(tmp_path):
    model = build("sasrec", exclude_seen=False)
    history = expected_order(model, ITEMS[3:4])[:2]
    best = expected_order(model, history)
    assert set(best[:K]) & set(history), "the test is about items of the history"
    path = tmp_path / "model.keras"
    model.save(path)
    version = keras_negrec.export(keras.saving.load_model(path), tmp_path / "out", k=K)
    answer = Client(version)("recommend", item_ids=[history], k=K)
    assert names(answer) == [best[:K]]
    without = keras_negrec.recommend(model, [history], K, exclude_seen=True)[0]
    assert not {one.item for one in without} & set(history)


@pytest.mark.parametrize("name", ["hstu", "sasrec"])
def test_times_of_events_and_of_the_request(name, tmp_path):
    model = build(name, time_periods=["day", 7_000], feedback_inputs=True)
    version = keras_negrec.export(model, tmp_path, k=K)
    call, history = Client(version), [ITEMS[3], ITEMS[5], "no such track", ITEMS[7]]
    times = {"timestamps": [[10**9, 10**9 + 40, 10**9 + 50, 10**9 + 4_000]]}
    now, later = ({"request_timestamps": [[10**9 + n]]} for n in (5_000, 90_000))
    vectors = []
    for given in ({}, times, {**times, **now}, {**times, **later}):
        answer = call("recommend", item_ids=[history], k=4, **given)
        [expected] = keras_negrec.recommend(model, [history], 4, **given)
        assert names(answer) == [[r.item for r in expected]]
        np.testing.assert_allclose(answer["scores"][0], [r.score for r in expected], atol=1e-4)
        vectors.append(call("embed", item_ids=[history], **given)["vectors"])
    for i, vector in enumerate(vectors):
        for other in vectors[:i]:
            assert np.abs(vector - other).max() > 1e-4
    # One value for each of several histories, and the time of the newest event where it is 0.
    many = call(
        "embed",
        item_ids=[history] * 2,
        timestamps=times["timestamps"] * 2,
        request_timestamps=[[10**9 + 5_000], [0]],
    )["vectors"]
    np.testing.assert_allclose(many, np.concatenate([vectors[2], vectors[1]]), atol=1e-5)
    numpy_times = {"timestamps": [np.array(times["timestamps"][0], "datetime64[s]")]}
    for same in (numpy_times, {"timestamps": [[1000 * t for t in times["timestamps"][0]]]}):
        [found] = keras_negrec.recommend(model, [history], 4, **same)
        assert found == keras_negrec.recommend(model, [history], 4, **times)[0]
    assert "Times are seconds since 1970" in (version / "model_card.md").read_text("utf-8")


def test_registered_columns_are_inputs_and_a_smaller_table(version, tmp_path, monkeypatch):
    """Of a model whose encoder sees one more column of events, of floats."""
    monkeypatch.setitem(EVENT_COLUMNS, "hours", EventColumn("hours", "hours", "float32", "float32"))
    model = build("sasrec")
    inner = model.serving_model
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in inner.input}
    hours = keras.Input((None,), dtype="float32", name="hours")
    vectors = inner(inputs)
    shifted = keras.ops.roll(vectors, 1, axis=-1) * keras.ops.max(hours, 1, keepdims=True)
    model.serving_model = keras.Model({**inputs, "hours": hours}, vectors + shifted)
    smaller = keras_negrec.export(model, tmp_path, k=K, item_dtype="float16")
    call = Client(smaller)
    default = call.signatures["embed"].defaults["hours"]
    assert default.dtype == tf.float32.as_datatype_enum
    histories = [[ITEMS[3], "no such track", ITEMS[5]], [ITEMS[7]] * 3]
    hours = [[0.5, 9.0, 1.5], [0.0, 2.0, 0.25]]
    for given in ({"hours": hours}, {}):
        answer = call("recommend", item_ids=histories, k=4, **given)
        expected = keras_negrec.recommend(model, histories, 4, **given)
        assert names(answer) == [[r.item for r in row] for row in expected]
    vectors = [call("embed", item_ids=histories, **g)["vectors"] for g in ({"hours": hours}, {})]
    assert not np.allclose(*vectors)
    card = (smaller / "model_card.md").read_text("utf-8")
    assert "`hours` float32 (any, any) (has a default)" in card and "`hours` [[0]]" in card
    assert "Item vectors are stored as float16. Of the 5 best items after histories" in card
    table = np.load(smaller / "assets.extra" / "item_embeddings.npy")
    exact = model.item_embedding.embeddings.numpy()
    np.testing.assert_array_equal(table, exact.astype("float16"))
    stored, full = (
        sum(file.stat().st_size for file in (one / "variables").iterdir())
        for one in (smaller, version)
    )
    assert stored < full


def test_vectors_of_a_table_of_int8(model):
    servable = Servable(model, model.vocabulary, K, "int8")
    table = servable.table.rows(range(NUM_ITEMS)).numpy()
    exact = model.item_embedding.embeddings.numpy()
    steps = np.abs(exact).max(axis=1, keepdims=True) / 127
    assert (np.abs(table - exact) <= steps / 2 + 1e-6).all()
    assert len(np.unique(table[0] / steps[0])) > 1
    assert servable.table.stored.dtype == tf.int8
    vectors = servable.functions["embed"](tf.constant([["tràck 3", "tràck 9"]]))["vectors"]
    expected = model.score(Sessions.from_lists([[4, 10]]))
    np.testing.assert_allclose(vectors @ table.T, expected, atol=0.15)
    scores = servable.table.scores(vectors, 0, NUM_ITEMS)
    np.testing.assert_allclose(scores, vectors @ table.T, atol=1e-5)


def test_k_of_the_request_and_blocked_items(model, call):
    history = ["tràck 3", "tràck 9"]
    ranked = expected_order(model, history)
    for k in (1, 7, NUM_ITEMS - 2, NUM_ITEMS, 10**6):
        assert names(call("recommend", item_ids=[history], k=k)) == [ranked[:k]]
    blocked = [*ranked[:3], "no such track", ""]
    answer = call("recommend", item_ids=[history], blocked_item_ids=[blocked])
    assert names(answer) == [ranked[3 : 3 + K]]


def test_allowed_items_of_each_row(model, call):
    histories = [["tràck 3", "tràck 9"], ["tràck 5", ""]]
    allowed = [["tràck 1", "tràck 9", "no such track"], ["", "", ""]]
    answer = call("recommend", item_ids=histories, allowed_item_ids=allowed, k=1)
    free = expected_order(model, ["tràck 5"])[:1]
    assert names(answer) == [["tràck 1"], free], "the second row is not restricted"
    answer = call("recommend", item_ids=histories, allowed_item_ids=allowed[:1])
    second = [item for item in expected_order(model, ["tràck 5"]) if item in allowed[0]]
    assert names(answer) == [["tràck 1"], second[:1]], "one list stands for all rows"


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"feedback": [[1, 3]]}, "`feedback` must hold values from -2 to 2"),
        ({"feedback": [[1, -(2**31)]]}, "`feedback` must hold values from -2 to 2"),
        ({"feedback": [[1, 1, 1]]}, "`feedback` must have the shape of `item_ids`"),
        ({"k": 0}, "`k` must be positive"),
        ({"k": -3}, "`k` must be positive"),
        ({"allowed_item_ids": [["a"]] * 2}, "`allowed_item_ids` must have one row"),
        ({"allowed_item_ids": [["no such track"]]}, "No item is left to recommend"),
        ({"allowed_item_ids": [[ITEMS[1]]]}, "No item is left to recommend"),
        (
            {"allowed_item_ids": [["tràck 4"]], "blocked_item_ids": [["tràck 4"]]},
            "No item is left to recommend",
        ),
        ({"item_ids": [ITEMS]}, "No item is left to recommend"),
        ({"item_ids": [ITEMS], "feedback": [[-1] * NUM_ITEMS]}, "No item is left to recommend"),
    ],
)
def test_requests_that_make_no_sense_are_refused(call, inputs, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call("recommend", **{"item_ids": [ITEMS[1:3]], **inputs})


def test_scores_and_vectors(model, call, version):
    histories, feedback = [["tràck 3", "tràck 9"], ["", "tràck 1"]], [[1, -2], [0, 1]]
    candidates = [["tràck 0", "no such track", "tràck 3"], ["tràck 29", "tràck 2", ""]]
    answer = call("score", item_ids=histories, feedback=feedback, candidate_ids=candidates)
    of_all = model.score(Sessions.from_lists([[4, 10], [2]], [[1, -2], [1]]))
    expected = [[of_all[0, 0], -np.inf, of_all[0, 3]], [of_all[1, 29], of_all[1, 2], -np.inf]]
    np.testing.assert_allclose(answer["scores"], expected, atol=1e-5)
    vectors = call("embed", item_ids=histories, feedback=feedback)["vectors"]
    table = np.load(version / "assets.extra" / "item_embeddings.npy")
    ids = Vocabulary.load(version / "assets.extra" / "item_ids.json")
    assert ids == model.vocabulary and table.dtype == np.float32
    np.testing.assert_allclose(vectors @ table.T, of_all, atol=1e-5)


def test_scores_of_a_hybrid(model, tmp_path, monkeypatch):
    """In several chunks, with histories without an event that counts."""
    monkeypatch.setattr("keras_negrec.serving.servable.CHUNK_ROWS", 7)
    hybrid = with_counts(model)
    call = Client(keras_negrec.export(hybrid, tmp_path, k=K))
    histories = [ITEMS[3:8], ["", *ITEMS[8:11], "?"], ["", "", "", *ITEMS[20:22]], [""] * 5]
    feedback = [[1, -2, 1, 2, 0], [-1, 1, -1, 1, 1], [1, 1, 1, 0, 0], [1] * 5]
    ids = [[4, 5, 6, 7, 8], [9, 10, 11], [21, 22]]
    known = Sessions.from_lists(ids, [feedback[0], [1, -1, 1], [0, 0]])
    expected = hybrid.score(known)
    parts = [each.score(known).std(axis=1) for each in hybrid.models]
    assert (parts[0] > 0).tolist() == [True, True, False], "the test is about these"
    answer = call("score", item_ids=histories, feedback=feedback, candidate_ids=[ITEMS] * 4)
    np.testing.assert_allclose(answer["scores"][:3], expected, atol=2e-5)
    answer = call("recommend", item_ids=histories, feedback=feedback, k=NUM_ITEMS - 5)
    for row, (found, scores) in enumerate(zip(names(answer)[:3], answer["scores"], strict=False)):
        order = expected_order(hybrid, [ITEMS[i - 1] for i in ids[row]], known.take([row]).feedback)
        assert found == order[: len(found)]
        columns = [ITEMS.index(item) for item in found]
        np.testing.assert_allclose(scores, expected[row, columns], atol=2e-5)
    vectors = call("embed", item_ids=histories[:1], feedback=feedback[:1])["vectors"]
    np.testing.assert_allclose(vectors, model.history_vectors(known)[:1], atol=1e-5)
    card = (tmp_path / "1" / "model_card.md").read_text()
    assert (
        "the model 1.2, ItemCooccurrence 0.7" in card
        and "| ItemCooccurrence: decay | 0.8 |" in card
    )


def test_rows_with_few_items_left_narrow_the_answer(call):
    for left in (3, 1):
        answer = call("serving_default", item_ids=[ITEMS[left:]])
        assert {*names(answer)[0]} == {*ITEMS[:left]}
    mixed = [ITEMS[2:], ["tràck 0"] + [""] * (NUM_ITEMS - 3)]
    answer = call("serving_default", item_ids=mixed)
    assert answer["item_ids"].shape == (2, 2) and {*names(answer)[0]} == {*ITEMS[:2]}


def test_requests_of_any_size(model, call):
    none = call("serving_default", item_ids=np.zeros((0, 4), object))
    assert none["item_ids"].shape == none["scores"].shape == (0, K)
    empty = call("serving_default", item_ids=np.zeros((1, 0), object))
    assert names(empty) == [expected_order(model, [])[:K]] and np.isfinite(empty["scores"]).all()
    history, feedback = (
        [values[i % 20] for i in range(10_000)] for values in (ITEMS, [1, -1] * 10)
    )
    answer = call("serving_default", item_ids=[history], feedback=[feedback])
    assert names(answer) == [expected_order(model, history, feedback)[:K]]
    histories = np.array([[ITEMS[i % 7], ITEMS[7 + i % 11]] for i in range(4096)], object)
    answer = call("serving_default", item_ids=histories)
    assert answer["item_ids"].shape == (4096, K)
    for row in (0, 1234, 4095):
        assert names(answer)[row] == expected_order(model, histories[row].tolist())[:K]


def test_equal_scores_keep_the_order_of_the_vocabulary_across_chunks(model, monkeypatch):
    """The best of many chunks are what one sort of all scores gives, ties included."""
    monkeypatch.setattr("keras_negrec.serving.servable.CHUNK_ROWS", 7)
    tied = model.clone()
    # Of one component each, so that equal scores are equal in whatever order they are summed.
    vectors = np.arange(1, 11)[:, np.newaxis] * np.eye(10, 8) / 8
    tied.item_embedding.embeddings.assign(np.repeat(vectors, 3, axis=0))
    recommend = Servable(tied, tied.vocabulary, K).functions["recommend"]
    histories = [["tràck 3", "tràck 9"], ["tràck 29", "tràck 17"]]
    for k in (1, 4, 7, 12, NUM_ITEMS):
        answer = recommend(tf.constant(histories), k=tf.constant(k))
        expected = [expected_order(tied, history)[:k] for history in histories]
        assert names(answer) == expected
    allowed = recommend(tf.constant(histories), allowed_item_ids=tf.constant([ITEMS[12:20]]))
    for history, row in zip(histories, names(allowed), strict=True):
        assert set(row) <= set(ITEMS[12:20]) - set(history)


def test_recall_of_a_smaller_table_is_that_of_its_scores(model):
    exact = model.item_embedding.embeddings.numpy()
    assert table_recall(model, ItemTable(exact), 5) == 1.0
    swapped = exact[::-1].copy()
    vectors = np.stack([model.score(Sessions.from_lists([[i + 1]]))[0] for i in range(NUM_ITEMS)])
    best, best_of_swapped = (np.argsort(-v)[:, :5] for v in (vectors, vectors[:, ::-1]))
    shares = [len({*a} & {*b}) / 5 for a, b in zip(best, best_of_swapped, strict=True)]
    recall = table_recall(model, ItemTable(swapped), 5)
    assert recall == pytest.approx(np.mean(shares)) and recall < 1


def test_model_card(version):
    card = (version / "model_card.md").read_text("utf-8")
    for part in ("# radio, version 8", "| encoder | SASRec(", "| hr@10 | 0.12346 |", "Two days."):
        assert part in card
    assert "| `embed` | `item_ids` string (any, any), `feedback` int32 (any, any) (has a" in card
    assert f"| tensorflow | {tf.__version__} |" in card
    example = [line.strip() for line in card.splitlines() if line.startswith("    serve")]
    scope = {"tf": tf}
    exec(example[0].replace("radio/8", str(version)), scope)
    assert eval(example[1], scope)["scores"].shape == (1, K)
