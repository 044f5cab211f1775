import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary

K = 5
MAX_LENGTH = 6
NUM_ITEMS = 12

on_tensorflow = pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="the export itself runs on TensorFlow; other backends reach it through a process",
)

# Loads each SavedModel and answers its requests with nothing but TensorFlow.
PLAIN_TENSORFLOW = """
import json, sys
import tensorflow as tf

answers = []
for path, requests in json.loads(sys.stdin.read()):
    signature = tf.saved_model.load(path).signatures["serving_default"]
    dtypes = signature.structured_input_signature[1]
    for request in requests:
        answer = signature(
            **{name: tf.constant(rows, dtypes[name].dtype) for name, rows in request.items()}
        )
        items = answer["item_ids"].numpy().tolist()
        items = [[i.decode() if isinstance(i, bytes) else i for i in row] for row in items]
        answers.append([items, answer["scores"].numpy().tolist()])
assert not {"keras_negrec", "keras_hub"} & set(sys.modules)
print(json.dumps(answers))
"""


def answer_in_plain_tensorflow(paths_and_requests):
    result = subprocess.run(
        [sys.executable, "-c", PLAIN_TENSORFLOW],
        input=json.dumps([[str(path), requests] for path, requests in paths_and_requests]),
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.strip().splitlines()[-1])


def build(name, vocabulary, **options):
    model = keras_negrec.build_model(
        name,
        vocabulary=vocabulary,
        max_length=MAX_LENGTH,
        embedding_dim=8,
        **{"negative_loss": True, **({} if name == "caser" else {"num_layers": 1}), **options},
    )
    table = np.random.default_rng(0).normal(size=(NUM_ITEMS, 8)).astype("float32")
    model.item_embedding.embeddings.assign(table)  # far apart, so that the order is clear
    return model


STRINGS = Vocabulary([f"tràck {i}" for i in range(NUM_ITEMS)])
INTEGERS = Vocabulary([10 * i - 30 for i in range(NUM_ITEMS)])


def request_of(histories, feedback, padding, holes=()):
    """A request of one width; `holes` are columns of padding between the events."""
    width = max(len(history) for history in histories)
    items = [[padding] * (width - len(row)) + list(row) for row in histories]
    values = [[0] * (width - len(row)) + list(row) for row in feedback]
    for column in holes:
        for row, filler in ((items, padding), (values, 0)):
            for events in row:
                events.insert(column, filler)
    return {"item_ids": items, "feedback": values}


def cases(vocabulary):
    """Histories with feedback: usual ones, one longer than the model sees, unknown ids only."""
    known, unknown = vocabulary.items.tolist(), "?" if vocabulary.is_string else 7
    histories = [
        [known[3], known[0]],
        [known[i % 7] for i in range(3 * MAX_LENGTH)],
        [known[1], unknown, known[4], known[1]],
        [unknown],
        [known[5]],
        known[:-2],  # fewer than K items are left
    ]
    random = np.random.default_rng(0)
    return histories, [random.integers(-2, 3, len(history)).tolist() for history in histories]


def check_answers(model, answer, histories, feedback):
    padding = "" if model.vocabulary.is_string else -1
    expected = keras_negrec.recommend(model, histories, K, feedback=feedback)
    for row, items, scores in zip(expected, *answer, strict=True):
        assert items == [r.item for r in row] + [padding] * (K - len(row))
        np.testing.assert_allclose(scores[: len(row)], [r.score for r in row], atol=1e-5)
        assert np.isneginf(scores[len(row) :]).all()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Models, what was exported of them, and the answers of plain TensorFlow."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("exports")
    models = {
        "sasrec strings": build("sasrec", STRINGS, feedback_inputs=True),
        "sasrec integers": build("sasrec", INTEGERS),
        "bert4rec strings": build("bert4rec", STRINGS),
        "bert4rec integers": build("bert4rec", INTEGERS, feedback_inputs=True),
        "gru4rec strings": build(
            "gru4rec",
            STRINGS,
            feedback_inputs=True,
            num_negatives=4,
            skip_negatives=True,
            negative_loss=["contrastive", "not_to_recommend"],
        ),
        "caser integers": build("caser", INTEGERS, objective="gbce", event_dropout=0.5),
    }
    paths = {
        name: keras_negrec.export(model, folder / name.replace(" ", "_"), k=K)
        for name, model in models.items()
    }
    asked = []
    for name, model in models.items():
        histories, feedback = cases(model.vocabulary)
        padding = "" if model.vocabulary.is_string else -1
        requests = [
            request_of(histories, feedback, padding),
            request_of(histories, feedback, padding, holes=(0, 16, 20)),
            request_of(histories[:1], feedback[:1], padding),
        ]
        asked.append((paths[name], requests))
    answers = answer_in_plain_tensorflow(asked)
    return models, paths, {name: answers[3 * i : 3 * i + 3] for i, name in enumerate(models)}


@on_tensorflow
@pytest.mark.parametrize("request_number", range(3), ids=["padded", "with holes", "one row"])
@pytest.mark.parametrize(
    "name",
    [
        *("sasrec strings", "sasrec integers", "bert4rec strings", "bert4rec integers"),
        *("gru4rec strings", "caser integers"),
    ],
)
def test_plain_tensorflow_answers_as_recommend(exported, name, request_number):
    models, _, answers = exported
    histories, feedback = cases(models[name].vocabulary)
    rows = 1 if request_number == 2 else len(histories)
    check_answers(models[name], answers[name][request_number], histories[:rows], feedback[:rows])


@on_tensorflow
@pytest.mark.parametrize("value", [3, -3, -(2**31)])
def test_feedback_out_of_range_is_refused(exported, value):
    _, paths, _ = exported
    recommend = tf.saved_model.load(str(paths["sasrec strings"])).signatures["serving_default"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="values from -2 to 2"):
        recommend(
            item_ids=tf.constant([["tràck 1", "tràck 2"]]), feedback=tf.constant([[1, value]])
        )
    with pytest.raises(tf.errors.InvalidArgumentError, match="shape of `item_ids`"):
        recommend(item_ids=tf.constant([["tràck 1", "tràck 2"]]), feedback=tf.constant([[1]]))


@on_tensorflow
def test_sessions_are_told_apart(tmp_path):
    model = build("sasrec", INTEGERS, max_sessions=3)
    known = INTEGERS.items.tolist()
    version = keras_negrec.export(model, tmp_path, k=K)
    answer = tf.saved_model.load(str(version)).signatures["serving_default"](
        item_ids=tf.constant([[known[2], known[5], known[3]]], tf.int64),
        feedback=tf.constant([[1, 1, 1]]),
        session_ids=tf.constant([[0, 1, 1]]),
    )
    sessions = Sessions.from_lists([[3, 6, 4]], session_ids=[[0, 1, 1]])
    scores = model.score(sessions)[0]
    scores[[2, 5, 3]] = -np.inf
    best = np.argsort(-scores, kind="stable")[:K]
    assert answer["item_ids"].numpy()[0].tolist() == INTEGERS.decode(best + 1).tolist()
    np.testing.assert_allclose(answer["scores"].numpy()[0], scores[best], atol=1e-5)


@on_tensorflow
def test_versions_count_up(tmp_path):
    model = build("sasrec", INTEGERS)
    (tmp_path / "7").mkdir()
    (tmp_path / "notes").mkdir()
    assert keras_negrec.export(model, tmp_path / "new", k=2).name == "1"
    assert keras_negrec.export(model, str(tmp_path / "new"), k=2).name == "2"
    assert keras_negrec.export(model, tmp_path).name == "8"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7", "8", "new", "notes"]


@on_tensorflow
def test_a_failing_save_leaves_nothing(tmp_path, monkeypatch):
    def fail(servable, path, **kwargs):
        tf.io.gfile.makedirs(path)
        tf.io.write_file(f"{path}/saved_model.pb", "half")
        raise OSError("No space left on device")

    model = build("sasrec", INTEGERS)
    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        keras_negrec.export(model, tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def test_vocabulary_is_needed(tmp_path):
    model = keras_negrec.build_model("sasrec", num_items=3, embedding_dim=8, num_layers=1)
    with pytest.raises(ValueError, match="The model has no vocabulary"):
        keras_negrec.export(model, tmp_path)
    with pytest.raises(ValueError, match=r"must hold the model's 3 items. Received: 12 items"):
        keras_negrec.export(model, tmp_path, vocabulary=INTEGERS)
    for items in (["a", "", "b"], [5, -1, 3]):
        with pytest.raises(ValueError, match="stands for padding in requests"):
            keras_negrec.export(model, tmp_path, vocabulary=Vocabulary(items))
    with pytest.raises(ValueError, match="`k` must be a positive integer"):
        keras_negrec.export(model, tmp_path, vocabulary=Vocabulary([1, 2, 3]), k=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    keras.config.backend() == "tensorflow", reason="TensorFlow exports in its own process"
)
def test_export_through_a_process(tmp_path):
    model = build("bert4rec", STRINGS, feedback_inputs=True)
    version = keras_negrec.export(model, tmp_path, k=K)
    assert version == tmp_path / "1"
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    histories, feedback = cases(STRINGS)
    [answer] = answer_in_plain_tensorflow([(version, [request_of(histories, feedback, "")])])
    check_answers(model, answer, histories, feedback)
