"""What plain TensorFlow, which knows nothing of Keras, answers with exported models."""

import json
import random
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_model import INTEGERS, ITEMS, MAX_LENGTH, Client, K, build, on_tensorflow, with_counts

import keras_negrec
from keras_negrec.data import Vocabulary
from keras_negrec.models import Ensemble, Popularity, WeightedHybrid
from keras_negrec.serving.in_tensorflow import in_tensorflow

# Loads each SavedModel and answers its requests with nothing but TensorFlow, in a plain session as
# TF Serving does. Each answer: a dict of lists.
PLAIN_TENSORFLOW = """
import json, sys
import tensorflow as tf

def lists(values):
    return [[v.decode() if isinstance(v, bytes) else v for v in row] for row in values.tolist()]

answers = []
for path, requests in json.loads(sys.stdin.read()):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], path)
        signature = loaded.signature_def["serving_default"]
        fetch = {key: info.name for key, info in signature.outputs.items()}
        answers.append([])
        for request in requests:
            feed = {signature.inputs[key].name: value for key, value in request.items()}
            found = session.run(fetch, feed)
            answers[-1].append({name: lists(values) for name, values in found.items()})
assert not {"keras_negrec", "keras_hub"} & set(sys.modules)
print(json.dumps(answers))
"""


def check_in_plain_tensorflow(models_and_paths):
    """Answers are `recommend`'s, as wide as the row with the fewest items left."""
    asked = [(str(path), [r for r, _, _ in cases(model)]) for model, path in models_and_paths]
    command = [sys.executable, "-c", PLAIN_TENSORFLOW]
    result = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    answers = json.loads(result.stdout.strip().splitlines()[-1])
    for (model, _), of_model in zip(models_and_paths, answers, strict=True):
        for (_, histories, feedback), answer in zip(cases(model), of_model, strict=True):
            expected = keras_negrec.recommend(model, histories, K, feedback=feedback)
            width = min(len(row) for row in expected)
            assert width > 0
            assert answer["item_ids"] == [[r.item for r in row[:width]] for row in expected]
            scores = [[r.score for r in row[:width]] for row in expected]
            np.testing.assert_allclose(answer["scores"], scores, atol=1e-4)


def cases(model):
    """(request, histories, feedback): usual histories, one longer than the model sees, and ones
    without a known item; all of one width, with padding between the events, one, no feedback."""
    known, unknown = model.vocabulary.items.tolist(), "?" if model.vocabulary.is_string else 7
    padding = "" if model.vocabulary.is_string else -1
    histories = [
        [known[3], known[0]],
        [known[i % 7] for i in range(3 * MAX_LENGTH)],
        [known[1], unknown, known[4], known[1]],
        [unknown],
        [],
        [known[5]],
    ]
    draw = np.random.default_rng(0)
    feedback = [draw.integers(-2, 3, len(history)).tolist() for history in histories]
    width = max(map(len, histories))
    items = [[padding] * (width - len(row)) + row for row in histories]
    values = [[0] * (width - len(row)) + row for row in feedback]
    with_holes = {
        "item_ids": np.insert(np.array(items, object), [0, 16, 18], padding, axis=1).tolist(),
        "feedback": np.insert(values, [0, 16, 18], 0, axis=1).tolist(),
    }
    return [
        ({"item_ids": items, "feedback": values}, histories, feedback),
        (with_holes, histories, feedback),
        ({"item_ids": histories[:1], "feedback": feedback[:1]}, histories[:1], feedback[:1]),
        ({"item_ids": items}, histories, None),
    ]


@pytest.fixture(scope="module")
def exported(model, version, integers, integers_version, tmp_path_factory):
    """Of each kind of model, and of what it is trained with."""
    keras.utils.set_random_seed(0)
    cloze = build("bert4rec", INTEGERS, negative_loss="keep", feedback_inputs=True)
    recurrent = build(
        "gru4rec",
        feedback_inputs=True,
        num_sampled_negatives=4,
        skips_as_negatives=True,
        negative_loss=["contrastive", "not_to_recommend"],
    )
    parts = [recurrent, build("caser", objective="gbce", event_dropout=0.5), model]
    models = [cloze, Ensemble(parts), with_counts(cloze), with_counts(Ensemble(parts))]
    folder = tmp_path_factory.mktemp("exports")
    paths = [keras_negrec.export(each, folder / str(i), k=K) for i, each in enumerate(models)]
    return [(model, version), (integers, integers_version), *zip(models, paths, strict=True)]


@on_tensorflow
def test_plain_tensorflow_answers_as_recommend(exported):
    check_in_plain_tensorflow(exported)


@on_tensorflow
def test_a_failing_export_leaves_nothing_and_the_model_as_it_was(model, tmp_path, monkeypatch):
    def save(servable, path, **kwargs):
        tf.io.gfile.makedirs(path)
        tf.io.write_file(f"{path}/saved_model.pb", "half")
        raise OSError("No space left on device")

    before = dict(vars(model.item_embedding)), model.vocabulary, model.get_config()
    weights = model.get_weights()
    monkeypatch.setattr(tf.saved_model, "save", save)
    with pytest.raises(OSError, match="No space left"):
        keras_negrec.export(model, tmp_path, vocabulary=INTEGERS, item_dtype="int8")
    assert list(tmp_path.iterdir()) == [], "it appears whole or not at all"
    assert (dict(vars(model.item_embedding)), model.vocabulary, model.get_config()) == before
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@on_tensorflow
def test_versions_count_up(version, integers_version):
    assert (version.name, integers_version.name) == ("8", "1")
    # What an export left that was killed is gone.
    assert sorted(path.name for path in version.parent.iterdir()) == ["7", "8", "notes"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_named_and_nothing_is_written(tmp_path, value):
    model = build("sasrec")
    for each in (model, Ensemble([build("gru4rec")] * 2)):
        table = each.item_columns[-1][0].embeddings
        values = np.array(keras.ops.convert_to_numpy(table))
        values[4] = value
        table.assign(values)
        message = (
            r"`export` writes no model .*Received: `item_embedding/.*` \(8 of its 240 values\)$"
        )
        with pytest.raises(ValueError, match=message):
            keras_negrec.export(each, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_bad_arguments(tmp_path):
    model = keras_negrec.build_model("sasrec", num_items=3, embedding_dim=8, num_layers=1)
    three = Vocabulary([1, 2, 3])
    for options, message in (
        ({}, "The model has no vocabulary"),
        ({"vocabulary": INTEGERS}, "must hold the model's 3 items. Received: 30 items"),
        ({"vocabulary": Vocabulary(["a", "", "b"])}, "stands for padding in requests"),
        ({"vocabulary": Vocabulary([5, -1, 3])}, "stands for padding in requests"),
        ({"vocabulary": three, "k": 0}, "`k` must be a positive integer"),
        ({"vocabulary": three, "item_dtype": "int4"}, "`item_dtype` must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            keras_negrec.export(model, tmp_path / "model", **options)
    popularity = Popularity(keras_negrec.data.Sessions.from_lists([[1, 2, 3]]), num_items=3)
    with pytest.raises(TypeError, match=r"`export` takes a model .* type Popularity"):
        keras_negrec.export(popularity, tmp_path / "model", vocabulary=three)
    hybrid = WeightedHybrid([popularity, model], [1, 1])
    with pytest.raises(TypeError, match="Received one of: Popularity, SessionRecommender"):
        keras_negrec.export(hybrid, tmp_path / "model", vocabulary=three)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    keras.config.backend() == "tensorflow", reason="TensorFlow exports in its own process"
)
def test_export_through_a_process(tmp_path):
    model = Ensemble([build(name, feedback_inputs=True) for name in ("bert4rec", "gru4rec")])
    model = with_counts(model)
    version = keras_negrec.export(model, tmp_path, k=K, metrics={"hr@10": np.float32(0.5)})
    assert version == tmp_path / "1"
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    card = (version / "model_card.md").read_text("utf-8")
    assert f"| training backend | {keras.config.backend()} |" in card
    check_in_plain_tensorflow([(model, version)])


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
    version = in_tensorflow("export", model, tmp_path / "new", Vocabulary([5, 7]), k=1)
    signature = tf.saved_model.load(str(version)).signatures["serving_default"]
    assert signature.structured_input_signature[1]["item_ids"].dtype == tf.int64
    assert model.vocabulary.items.tolist() == ["a", "b"]


EXPORT_FOR_EVER = """
import sys
import keras
import keras_negrec.models
model = keras.saving.load_model(sys.argv[1])
print("ready", flush=True)
while True:
    print(keras_negrec.export(model, sys.argv[2], k=3).name, flush=True)
"""


@on_tensorflow
@pytest.mark.thorough
def test_exports_that_are_killed_or_meet_leave_whole_versions(model, tmp_path):
    folder, saved, started = tmp_path / "exports", tmp_path / "model.keras", time.monotonic()
    keras_negrec.export(model, folder, k=3)
    one_export = time.monotonic() - started
    model.save(saved)
    command = [sys.executable, "-c", EXPORT_FOR_EVER, str(saved), str(folder)]
    for kill in range(20):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            if kill % 5 == 0:
                keras_negrec.export(model, folder, k=3)
            time.sleep(random.Random(kill).uniform(0, 2) * one_export)
            process.kill()
    keras_negrec.export(model, folder, k=3)
    assert list(folder.glob(".partial-*")) == [], "what a killed export left is cleaned up"
    versions = [folder / str(number + 1) for number in range(len(list(folder.iterdir())))]
    assert len(versions) >= 6 and all(version.is_dir() for version in versions)
    [expected] = keras_negrec.recommend(model, [ITEMS[1:3]], k=3)
    contents = set()
    for version in versions:
        contents.add(frozenset(str(file.relative_to(version)) for file in version.rglob("*")))
        answer = Client(version)("serving_default", item_ids=[ITEMS[1:3]])
        assert [i.decode() for i in answer["item_ids"][0]] == [r.item for r in expected]
        np.testing.assert_allclose(answer["scores"][0], [r.score for r in expected], atol=1e-4)
    assert len(contents) == 1
