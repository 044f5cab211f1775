"""What plain TensorFlow, which knows nothing of Keras, answers with exported models."""

import json
import os
import subprocess
import sys
import venv

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_model import INTEGERS, MAX_LENGTH, STRINGS, K, build, on_tensorflow

import keras_negrec
from keras_negrec.data import Vocabulary
from keras_negrec.models import Ensemble
from keras_negrec.serving.in_tensorflow import in_tensorflow

# Loads each SavedModel and answers its requests with nothing but TensorFlow, in a plain session as
# TF Serving does, and the first one's through the loaded object too. Each answer: a dict of lists.
PLAIN_TENSORFLOW = """
import json, sys
import tensorflow as tf

def as_json(outputs):
    lists = {name: value.tolist() for name, value in outputs.items()}
    lists["item_ids"] = [
        [i.decode() if isinstance(i, bytes) else i for i in row] for row in lists["item_ids"]
    ]
    return lists

answers = []
for number, (path, requests) in enumerate(json.loads(sys.stdin.read())):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], path)
        signature = loaded.signature_def["serving_default"]
        fetch = {key: info.name for key, info in signature.outputs.items()}
        in_session = [
            as_json(session.run(fetch, {signature.inputs[k].name: v for k, v in request.items()}))
            for request in requests
        ]
    answers += in_session
    if number:
        continue
    signature = tf.saved_model.load(path).signatures["serving_default"]
    dtypes = signature.structured_input_signature[1]
    for request, answer in zip(requests, in_session):
        if set(dtypes) == set(request):  # Python's call knows no defaults.
            outputs = signature(
                **{key: tf.constant(value, dtypes[key].dtype) for key, value in request.items()}
            )
            called = as_json({key: value.numpy() for key, value in outputs.items()})
            assert called == answer, (called, answer)
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


def padding_of(vocabulary):
    return "" if vocabulary.is_string else -1


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
    """Histories with feedback: usual ones, one longer than the model sees, and ones without a
    known item."""
    known, unknown = vocabulary.items.tolist(), "?" if vocabulary.is_string else 7
    histories = [
        [known[3], known[0]],
        [known[i % 7] for i in range(3 * MAX_LENGTH)],
        [known[1], unknown, known[4], known[1]],
        [unknown],
        [],
        [known[5]],
    ]
    random = np.random.default_rng(0)
    return histories, [random.integers(-2, 3, len(history)).tolist() for history in histories]


def check_answers(model, answer, histories, feedback):
    """The answer is `recommend`'s, as wide as the row with the fewest items left."""
    expected = keras_negrec.recommend(model, histories, K, feedback=feedback)
    width = min(len(row) for row in expected)
    assert width > 0
    for row, items, scores in zip(expected, answer["item_ids"], answer["scores"], strict=True):
        assert items == [r.item for r in row][:width]
        np.testing.assert_allclose(scores, [r.score for r in row][:width], atol=1e-4)


CASES = {
    "sasrec strings": {"feedback_inputs": True, "negative_loss": True},
    "sasrec integers": {"negative_loss": "keep", "keep_weight": 2.0},
    "bert4rec strings": {"negative_loss": "keep", "feedback_inputs": True},
    "gru4rec strings": {
        "feedback_inputs": True,
        "num_sampled_negatives": 4,
        "skips_as_negatives": True,
        "negative_loss": ["contrastive", "not_to_recommend"],
    },
    "caser integers": {"objective": "gbce", "event_dropout": 0.5},
}
PARTS = ("sasrec strings", "bert4rec strings", "gru4rec strings")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Models, what was exported of them, and the answers of plain TensorFlow."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("exports")
    vocabularies = {"strings": STRINGS, "integers": INTEGERS}
    models = {
        name: build(name.split()[0], vocabularies[name.split()[1]], **options)
        for name, options in CASES.items()
    }
    models["ensemble strings"] = Ensemble([models[name] for name in PARTS])
    paths = {
        name: keras_negrec.export(model, folder / name.replace(" ", "_"), k=K)
        for name, model in models.items()
    }
    asked = []
    for name, model in models.items():
        histories, feedback = cases(model.vocabulary)
        padding = padding_of(model.vocabulary)
        requests = [
            request_of(histories, feedback, padding),
            request_of(histories, feedback, padding, holes=(0, 16, 20)),
            request_of(histories[:1], feedback[:1], padding),
            {"item_ids": request_of(histories, feedback, padding)["item_ids"]},
        ]
        asked.append((paths[name], requests))
    answers = answer_in_plain_tensorflow(asked)
    return models, paths, {name: answers[4 * i : 4 * i + 4] for i, name in enumerate(models)}


@on_tensorflow
def test_plain_tensorflow_answers_as_recommend(exported):
    models, _, answers = exported
    for name, (padded, with_holes, one_row, no_feedback) in answers.items():
        histories, feedback = cases(models[name].vocabulary)
        check_answers(models[name], padded, histories, feedback)
        check_answers(models[name], with_holes, histories, feedback)
        check_answers(models[name], one_row, histories[:1], feedback[:1])
        kept = [[1] * len(history) for history in histories]
        check_answers(models[name], no_feedback, histories, kept)


def state(model):
    embedding = model.item_embedding
    return dict(vars(embedding)), model.vocabulary, model.get_config(), model.get_weights()


@on_tensorflow
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_stays_as_it_was(model, tmp_path, monkeypatch, fails):
    def fail(servable, path, **kwargs):
        tf.io.gfile.makedirs(path)
        tf.io.write_file(f"{path}/saved_model.pb", "half")
        raise OSError("No space left on device")

    before, weights = state(model)[:-1], model.get_weights()
    if fails:
        monkeypatch.setattr(tf.saved_model, "save", fail)
        with pytest.raises(OSError, match="No space left"):
            keras_negrec.export(model, tmp_path, vocabulary=INTEGERS)
        assert list(tmp_path.iterdir()) == [], "it appears whole or not at all"
    else:
        keras_negrec.export(model, tmp_path, vocabulary=INTEGERS, item_dtype="int8")
    assert state(model)[:-1] == before
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@on_tensorflow
def test_versions_count_up(model, tmp_path):
    for name in ("7", "notes", ".partial-abc/variables"):
        (tmp_path / name).mkdir(parents=True)
    assert keras_negrec.export(model, tmp_path / "new", k=2).name == "1"
    assert keras_negrec.export(model, str(tmp_path)).name == "8"
    # What an export left that was killed is gone.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7", "8", "new", "notes"]


def test_only_models_of_keras_are_exported(tmp_path):
    sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3]])
    model = keras_negrec.models.Popularity(sessions, num_items=3)
    with pytest.raises(TypeError, match=r"`export` takes a model .* type Popularity"):
        keras_negrec.export(model, tmp_path / "model", vocabulary=Vocabulary([1, 2, 3]))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "The model has no vocabulary"),
        ({"vocabulary": INTEGERS}, "must hold the model's 3 items. Received: 30 items"),
        ({"vocabulary": Vocabulary(["a", "", "b"])}, "stands for padding in requests"),
        ({"vocabulary": Vocabulary([5, -1, 3])}, "stands for padding in requests"),
        ({"vocabulary": Vocabulary([1, 2, 3]), "k": 0}, "`k` must be a positive integer"),
    ],
)
def test_bad_arguments(tmp_path, options, message):
    model = keras_negrec.build_model("sasrec", num_items=3, embedding_dim=8, num_layers=1)
    with pytest.raises(ValueError, match=message):
        keras_negrec.export(model, tmp_path / "model", **options)
    assert list(tmp_path.iterdir()) == []


@on_tensorflow
@pytest.mark.thorough  # installs TensorFlow anew
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
    asked = []
    for name, model in models.items():
        padding = padding_of(model.vocabulary)
        asked.append((paths[name], [request_of(*cases(model.vocabulary), padding)]))
    answers = answer_in_plain_tensorflow(asked, python=str(programs / "python"))
    for model, answer in zip(models.values(), answers, strict=True):
        check_answers(model, answer, *cases(model.vocabulary))


@pytest.mark.skipif(
    keras.config.backend() == "tensorflow", reason="TensorFlow exports in its own process"
)
@pytest.mark.parametrize(
    ("name", "vocabulary"),
    [
        ("bert4rec", STRINGS),
        pytest.param("sasrec", INTEGERS, marks=pytest.mark.thorough),
        pytest.param("gru4rec", STRINGS, marks=pytest.mark.thorough),
        pytest.param("caser", INTEGERS, marks=pytest.mark.thorough),
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
    request = request_of(histories, feedback, padding_of(vocabulary))
    [answer] = answer_in_plain_tensorflow([(version, [request])])
    check_answers(model, answer, histories, feedback)


OWN_MODEL = """
import keras
from keras_negrec.models import SASRec

@keras.saving.register_keras_serializable(package="mine")
class MyEncoder(SASRec):
    pass
"""


@on_tensorflow  # any would do, and one is enough
def test_the_process_imports_what_this_one_would(tmp_path, monkeypatch):
    """Of files in the current folder, only those whose name nothing else has."""
    (tmp_path / "json.py").write_text("raise ImportError('this is not the standard library')")
    (tmp_path / "keras.py").write_text("raise ImportError('this is not Keras')")
    (tmp_path / "my_model.py").write_text(OWN_MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    from my_model import MyEncoder

    encoder = MyEncoder(num_layers=1)
    model = keras_negrec.build_model(encoder, vocabulary=Vocabulary(["a", "b"]), embedding_dim=8)
    version = in_tensorflow("export", model, tmp_path / "new", INTEGERS_OF_TWO, k=1)
    signature = tf.saved_model.load(str(version)).signatures["serving_default"]
    assert signature.structured_input_signature[1]["item_ids"].dtype == tf.int64
    assert model.vocabulary.items.tolist() == ["a", "b"]


INTEGERS_OF_TWO = Vocabulary([5, 7])
