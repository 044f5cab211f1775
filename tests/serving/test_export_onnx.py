import importlib
import json

import keras
import numpy as np
import pytest
from keras import ops
from small_model import (
    INTEGERS,
    ITEMS,
    MAX_LENGTH,
    NUM_ITEMS,
    SHAPES,
    STRINGS,
    build,
    on_tensorflow,
    spread_out,
)

import keras_negrec
from keras_negrec import models as kinds
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.serving import export_onnx

pytest.importorskip("tf2onnx", reason="the export to ONNX needs the extra `onnx`")
onnxruntime = pytest.importorskip("onnxruntime", reason="the tests run what was exported")


def with_features():
    features = np.random.default_rng(0).normal(size=(NUM_ITEMS, 3))
    model = build("caser", feedback_inputs=True, event_dropout=0.5, item_features=features)
    model.item_embedding.adapt(np.arange(NUM_ITEMS) % 2)  # the others have no own vector
    return model


def histories(num_rows, longest=MAX_LENGTH):
    """Rows of all lengths from the longest down to an empty one, with two sessions each."""
    random = np.random.default_rng(num_rows)
    shape = num_rows, longest + 1
    items = random.integers(1, NUM_ITEMS + 1, shape).tolist()
    feedback = random.integers(-2, 3, shape).tolist()
    session_ids = [[i * 2 // shape[1] for i in range(shape[1])]] * num_rows
    lengths = np.maximum(longest - np.arange(num_rows), 0)
    times = np.cumsum(random.integers(0, 9**5, shape), axis=1).tolist()
    rows = Sessions.from_lists(items, feedback, session_ids, timestamps=times)
    return rows.between(0 * lengths, lengths)


def request_of(session, rows, length):
    batch = rows.padded(length)
    return {value.name: batch[value.name] for value in session.get_inputs()}


INPUTS = {
    "sasrec": ["item_ids", "feedback", "session_ids"],
    "bert4rec": ["item_ids", "feedback"],
    "gru4rec": ["item_ids"],
    "hstu": ["item_ids", "timestamps", "request_timestamps"],
    "caser": ["item_ids", "feedback"],
    "matrix_factorization": ["item_ids", "feedback"],
    "ensemble": ["item_ids", "feedback"],
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Models, and onnxruntime's sessions of what was exported of them."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("onnx") / "new"
    sampled = {"num_sampled_negatives": 4, "skips_as_negatives": True}
    models = {
        "sasrec": build(
            "sasrec", feedback_inputs=True, max_sessions=3, negative_loss="contrastive"
        ),
        "bert4rec": build("bert4rec", feedback_inputs=True, negative_loss="keep"),
        "gru4rec": build("gru4rec", INTEGERS, dtype="mixed_bfloat16", **sampled),
        "hstu": build("hstu", separate_channels=True, intermediate_dim=5, time_periods=["day"]),
        "caser": with_features(),
        "matrix_factorization": spread_out(kinds.MatrixFactorization(vocabulary=STRINGS, **SHAPES)),
    }
    models["ensemble"] = kinds.Ensemble([models["bert4rec"], models["caser"]])
    paths = {name: export_onnx(model, folder / f"{name}.onnx") for name, model in models.items()}
    assert models["gru4rec"].item_embedding.compute_dtype == "bfloat16"  # as it was
    models["gru4rec"] = build("gru4rec", INTEGERS, **sampled)  # of the same weights, in float32
    return models, {name: onnxruntime.InferenceSession(path) for name, path in paths.items()}


@on_tensorflow
@pytest.mark.parametrize("name", INPUTS)
def test_scores_and_their_order_are_those_of_the_model(exported, name):
    model, session = (each[name] for each in exported)
    assert [value.name for value in session.get_inputs()] == INPUTS[name]
    table = ops.convert_to_numpy(model.item_vectors())
    # Of the seven rows, one is padding alone; requests may have any length.
    for num_rows, length in [(1, MAX_LENGTH), (7, MAX_LENGTH), (3, 0), (3, 1), (3, 4), (3, 9)]:
        rows = histories(num_rows, length)
        expected = model.score(rows)
        scores, vectors = session.run(["scores", "vectors"], request_of(session, rows, length))
        assert scores.dtype == vectors.dtype == "float32"
        np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(np.argsort(-scores), np.argsort(-expected))
        np.testing.assert_allclose(vectors @ table.T, expected, rtol=0, atol=1e-5)


@on_tensorflow
def test_external_ids_in_and_out(exported):
    model, session = (each["caser"] for each in exported)
    metadata = session.get_modelmeta().custom_metadata_map
    items = json.loads(metadata["vocabulary"])
    assert items == STRINGS.items.tolist()
    assert metadata["max_length"] == "6"
    history = [ITEMS[3], ITEMS[0], ITEMS[7]]
    ids = np.array([[items.index(item) + 1 for item in history]], "int32")
    [scores] = session.run(["scores"], {"item_ids": ids, "feedback": np.ones_like(ids)})
    scores[0, ids[0] - 1] = -np.inf
    [expected] = keras_negrec.recommend(model, [history], k=5)
    assert [items[j] for j in np.argsort(-scores[0])[:5]] == [r.item for r in expected]
    metadata = exported[1]["gru4rec"].get_modelmeta().custom_metadata_map
    assert json.loads(metadata["vocabulary"]) == INTEGERS.items.tolist()


@on_tensorflow
def test_what_tf2onnx_does_not_know_is_an_error_that_names_the_model(tmp_path):
    class Incomplete(kinds.SessionRecommender):
        @property
        def serving_model(self):
            import tensorflow as tf

            inputs = keras.Input((None,), dtype="int32", name="item_ids")
            x = self.item_embedding(inputs)[:, -1]
            return keras.Model({"item_ids": inputs}, keras.layers.Lambda(tf.math.bessel_i0e)(x))

    model = Incomplete(kinds.SASRec(), vocabulary=STRINGS, max_length=4, embedding_dim=8)
    with pytest.raises(RuntimeError, match=r"type Incomplete cannot be exported .*BesselI0e"):
        export_onnx(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_named_and_nothing_is_written(tmp_path):
    model = build("caser")
    model.trainable_weights[-1].assign(ops.full(model.trainable_weights[-1].shape, np.nan))
    with pytest.raises(ValueError, match=r"`export_onnx` writes no model .*Received: `"):
        export_onnx(model, tmp_path / "folder" / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_bad_arguments(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    model = build("caser")
    with pytest.raises(TypeError, match=r"trained with Keras. Received one of type Popularity"):
        export_onnx(kinds.Popularity(histories(1), NUM_ITEMS), path, vocabulary=STRINGS)
    with pytest.raises(ValueError, match=r"hold the model's 30 items. Received: 2 items"):
        export_onnx(model, path, vocabulary=Vocabulary([1, 2]))
    module = importlib.import_module("keras_negrec.serving.export_onnx")
    with monkeypatch.context() as patch:
        patch.setattr(module, "_MAX_BYTES", 5000)
        with pytest.raises(ValueError, match=r"at most 5,000 bytes. Received a model that needs"):
            export_onnx(model, path)
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ImportError, match=r"needs tf2onnx: pip install 'keras-negrec\[onnx\]'"):
            export_onnx(model, path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("precious")
    with pytest.raises(FileExistsError, match=r"does not overwrite .* path=.*model.onnx"):
        export_onnx(model, path)
    assert path.read_text() == "precious"


@pytest.mark.skipif(
    keras.config.backend() == "tensorflow", reason="TensorFlow exports in its own process"
)
def test_export_through_a_process(tmp_path):
    model = build("bert4rec", feedback_inputs=True)
    model.vocabulary = None
    path = export_onnx(model, tmp_path / "model.onnx", vocabulary=STRINGS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]
    assert model.vocabulary is None
    session = onnxruntime.InferenceSession(path)
    rows = histories(7)
    [scores] = session.run(["scores"], request_of(session, rows, MAX_LENGTH))
    np.testing.assert_allclose(scores, model.score(rows), rtol=0, atol=1e-5)
    found = json.loads(session.get_modelmeta().custom_metadata_map["vocabulary"])
    assert found == STRINGS.items.tolist()
