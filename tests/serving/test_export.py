import json
import os
import subprocess
import sys
import venv

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.models import Ensemble

K = 5
MAX_LENGTH = 6
NUM_ITEMS = 12

THOROUGH = bool(os.environ.get("KERAS_NEGREC_THOROUGH"))

on_tensorflow = pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="the export itself runs on TensorFlow; other backends reach it through a process",
)

# Loads each SavedModel and answers its requests with nothing but TensorFlow, in a plain session as
# TF Serving does and through the loaded object. Each answer: a dict of lists for each of the two.
PLAIN_TENSORFLOW = """
import json, sys
import tensorflow as tf

def as_json(outputs):
    lists = {name: value.tolist() for name, value in outputs.items()}
    if "item_ids" in lists:
        lists["item_ids"] = [
            [i.decode() if isinstance(i, bytes) else i for i in row] for row in lists["item_ids"]
        ]
    return lists

answers = []
for path, requests in json.loads(sys.stdin.read()):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], path)
        in_session = []
        for name, request in requests:
            signature = loaded.signature_def[name]
            feed = {signature.inputs[key].name: value for key, value in request.items()}
            fetch = {key: info.name for key, info in signature.outputs.items()}
            in_session.append(as_json(session.run(fetch, feed)))
    signatures = tf.saved_model.load(path).signatures
    for (name, request), answer in zip(requests, in_session):
        signature = signatures[name]
        dtypes = signature.structured_input_signature[1]
        if set(dtypes) == set(request):  # Python's call knows no defaults.
            outputs = signature(
                **{key: tf.constant(value, dtypes[key].dtype) for key, value in request.items()}
            )
            called = as_json({key: value.numpy() for key, value in outputs.items()})
            assert called == answer, (called, answer)
        answers.append(answer)
assert not {"keras_negrec", "keras_hub"} & set(sys.modules)
print(json.dumps(answers))
"""


def answer_in_plain_tensorflow(paths_and_requests, python=sys.executable):
    result = subprocess.run(
        [python, "-c", PLAIN_TENSORFLOW],
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
    if "keep" in model.feedback_terms:
        bias = np.random.default_rng(1).normal(size=NUM_ITEMS).astype("float32")
        model.get_layer("keep_logit").item_bias.assign(bias)
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
    ]
    random = np.random.default_rng(0)
    return histories, [random.integers(-2, 3, len(history)).tolist() for history in histories]


def check_answers(model, answer, histories, feedback, k=K):
    """The answer is `recommend`'s, as wide as the row with the fewest items left."""
    expected = keras_negrec.recommend(model, histories, k, feedback=feedback)
    width = min(len(row) for row in expected)
    assert width > 0
    for row, items, scores in zip(expected, answer["item_ids"], answer["scores"], strict=True):
        assert items == [r.item for r in row][:width]
        np.testing.assert_allclose(scores, [r.score for r in row][:width], atol=1e-5)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Models, what was exported of them, and the answers of plain TensorFlow."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("exports")
    models = {
        "sasrec strings": build("sasrec", STRINGS, feedback_inputs=True),
        "sasrec integers": build("sasrec", INTEGERS, negative_loss="keep", keep_weight=2.0),
        "bert4rec strings": build("bert4rec", STRINGS, negative_loss="keep"),
        "bert4rec integers": build("bert4rec", INTEGERS, feedback_inputs=True),
        "gru4rec strings": build(
            "gru4rec",
            STRINGS,
            feedback_inputs=True,
            num_sampled_negatives=4,
            skips_as_negatives=True,
            negative_loss=["contrastive", "not_to_recommend"],
        ),
        "caser integers": build("caser", INTEGERS, objective="gbce", event_dropout=0.5),
    }
    models["ensemble strings"] = Ensemble(
        [models["sasrec strings"], models["bert4rec strings"], models["gru4rec strings"]]
    )
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
            {"item_ids": request_of(histories, feedback, padding)["item_ids"]},
        ]
        asked.append((paths[name], [("serving_default", request) for request in requests]))
    answers = answer_in_plain_tensorflow(asked)
    return models, paths, {name: answers[4 * i : 4 * i + 4] for i, name in enumerate(models)}


@on_tensorflow
@pytest.mark.parametrize(
    "request_number", range(4), ids=["padded", "with holes", "one row", "no feedback"]
)
@pytest.mark.parametrize(
    "name",
    [
        *("sasrec strings", "sasrec integers", "bert4rec strings", "bert4rec integers"),
        *("gru4rec strings", "caser integers", "ensemble strings"),
    ],
)
def test_plain_tensorflow_answers_as_recommend(exported, name, request_number):
    models, _, answers = exported
    histories, feedback = cases(models[name].vocabulary)
    rows = 1 if request_number == 2 else len(histories)
    if request_number == 3:
        feedback = [[1] * len(history) for history in histories]
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
        recommend(item_ids=tf.constant([["tràck 1", "tràck 2"]]), feedback=tf.constant([[1], [1]]))


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


def test_only_models_of_keras_are_exported(tmp_path):
    sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]])
    model = keras_negrec.models.Popularity(sessions, num_items=3)
    with pytest.raises(TypeError, match=r"`export` takes a model .* type Popularity"):
        keras_negrec.export(model, tmp_path / "model", vocabulary=Vocabulary([1, 2, 3]))
    assert not (tmp_path / "model").exists()


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


@on_tensorflow
@pytest.mark.skipif(
    not THOROUGH, reason="installs TensorFlow anew: only with KERAS_NEGREC_THOROUGH=1"
)
def test_in_an_environment_with_tensorflow_alone(exported, tmp_path):
    models, paths, _ = exported
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv" / "bin"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    install = [programs / "pip", "install", "-q", f"tensorflow=={tf.__version__}"]
    subprocess.run(install, check=True, env=environment)
    packages = subprocess.run(
        [programs / "pip", "list"], check=True, env=environment, capture_output=True, text=True
    ).stdout
    assert "keras-negrec" not in packages and "keras-hub" not in packages

    requests = {}
    for name, model in models.items():
        histories, feedback = cases(model.vocabulary)
        padding = "" if model.vocabulary.is_string else -1
        requests[name] = request_of(histories, feedback, padding)
    asked = [(paths[name], [("serving_default", requests[name])]) for name in models]
    answers = answer_in_plain_tensorflow(asked, python=str(programs / "python"))
    for (name, model), answer in zip(models.items(), answers, strict=True):
        histories, feedback = cases(model.vocabulary)
        check_answers(model, answer, histories, feedback)
        out = tmp_path / name.replace(" ", "_")
        inputs = (f"{key}={value!r}" for key, value in requests[name].items())
        command = [programs / "saved_model_cli", "run", "--dir", paths[name], "--tag_set", "serve"]
        command += ["--signature_def", "serving_default", "--outdir", out]
        command += ["--input_exprs", ";".join(inputs)]
        subprocess.run(command, check=True, env=environment, capture_output=True)
        by_command = {
            key: np.load(out / f"{key}.npy", allow_pickle=True) for key in ("item_ids", "scores")
        }
        items = [
            [i.decode() if isinstance(i, bytes) else i for i in r] for r in by_command["item_ids"]
        ]
        assert items == answer["item_ids"]
        np.testing.assert_allclose(by_command["scores"], answer["scores"], atol=1e-5)


@pytest.mark.skipif(
    keras.config.backend() == "tensorflow", reason="TensorFlow exports in its own process"
)
@pytest.mark.parametrize(
    ("name", "vocabulary"),
    [
        ("bert4rec", STRINGS),
        *([("sasrec", INTEGERS), ("gru4rec", STRINGS), ("caser", INTEGERS)] if THOROUGH else []),
    ],
)
def test_export_through_a_process(tmp_path, name, vocabulary):
    model = build(name, vocabulary, feedback_inputs=True)
    version = keras_negrec.export(model, tmp_path, k=K, metrics={"hr@10": np.float32(0.5)})
    assert version == tmp_path / "1"
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    assert f"| training backend | {keras.config.backend()} |" in (
        version / "model_card.md"
    ).read_text("utf-8")
    histories, feedback = cases(vocabulary)
    request = request_of(histories, feedback, "" if vocabulary.is_string else -1)
    [answer] = answer_in_plain_tensorflow([(version, [("serving_default", request)])])
    check_answers(model, answer, histories, feedback)
