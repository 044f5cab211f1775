import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

import keras_negrec
from keras_negrec.serving import write_warmup_requests

on_tensorflow = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="one backend is enough; this test is slow"
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A SavedModel without Keras, so that every backend runs these tests."""
    model = tf.Module()
    ones = tf.constant([[1]])

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.string, "item_ids"),
            tf.TensorSpec([None, None], tf.int32, "feedback"),
        ]
    )
    def serve(item_ids, feedback=ones):
        return {"scores": tf.strings.length(item_ids) * feedback}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.int64, "item_ids"),
            tf.TensorSpec([], tf.int32, "k"),
        ]
    )
    def embed(item_ids, k):
        return {"vectors": item_ids[:, :k]}

    model.functions = [serve, embed]
    path = tmp_path_factory.mktemp("served") / "tiny" / "3"
    tf.saved_model.save(model, str(path), {"serving_default": serve, "embed": embed})
    return path


@pytest.fixture
def version(saved, tmp_path):
    """A version folder of its own for each test: `radio/3`."""
    folder = tmp_path / "radio" / "3"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes((saved / "saved_model.pb").read_bytes())
    return folder


def requests_in(path):
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        yield log.predict_log.request


ITEMS = np.array([["", "tràck 1", "b"]])


def test_requests_come_back(version):
    path = write_warmup_requests(
        version,
        [
            ("serving_default", {"item_ids": ITEMS, "feedback": np.array([[0, 1, -2]])}),
            ("embed", {"item_ids": [[-1, 2**40]], "k": 1}),
            ("serving_default", {"item_ids": ITEMS.astype(object)}),
        ],
    )
    assert path == version / "assets.extra" / "tf_serving_warmup_requests"
    first, second, third = requests_in(path)
    assert first.model_spec.name == "radio"
    assert first.model_spec.signature_name == "serving_default"
    assert set(first.inputs) == {"item_ids", "feedback"}
    items = [[b"", "tràck 1".encode(), b"b"]]
    assert tf.make_ndarray(first.inputs["item_ids"]).tolist() == items
    feedback = tf.make_ndarray(first.inputs["feedback"])
    assert feedback.dtype == np.int32 and feedback.tolist() == [[0, 1, -2]]
    assert second.model_spec.signature_name == "embed"
    assert tf.make_ndarray(second.inputs["item_ids"]).tolist() == [[-1, 2**40]]
    assert tf.make_ndarray(second.inputs["k"]).shape == ()
    assert set(third.inputs) == {"item_ids"}
    assert tf.make_ndarray(third.inputs["item_ids"]).tolist() == items


def test_the_model_answers_them(saved, version):
    path = write_warmup_requests(
        version,
        [
            ("serving_default", {"item_ids": ITEMS, "feedback": [[0, 1, -2]]}),
            ("serving_default", {"item_ids": np.empty((1, 0), str), "feedback": np.empty((1, 0))}),
        ],
    )
    loaded = tf.saved_model.load(str(saved))
    answers = []
    for request in requests_in(path):
        inputs = {
            name: tf.constant(tf.make_ndarray(tensor), tf.as_dtype(tensor.dtype))
            for name, tensor in request.inputs.items()
        }
        answer = loaded.signatures[request.model_spec.signature_name](**inputs)
        answers.append(answer["scores"].numpy().tolist())
    assert answers == [[[0, 8, -2]], [[]]]  # à has two bytes


def test_the_name_of_the_model(version, monkeypatch):
    request = ("serving_default", {"item_ids": ITEMS})
    path = write_warmup_requests(version, [request], model_name="other")
    assert [r.model_spec.name for r in requests_in(path)] == ["other"]
    monkeypatch.chdir(version)
    path = write_warmup_requests(".", [request])
    assert [r.model_spec.name for r in requests_in(path)] == ["radio"]


def test_no_more_than_a_thousand(version):
    request = ("serving_default", {"item_ids": ITEMS})
    path = write_warmup_requests(version, [request] * 1000)
    assert sum(1 for _ in requests_in(path)) == 1000
    with pytest.raises(ValueError, match=r"must hold 1 to 1000 requests\. Received: 1001"):
        write_warmup_requests(version, [request] * 1001)
    with pytest.raises(ValueError, match=r"must hold 1 to 1000 requests\. Received: 0"):
        write_warmup_requests(version, [])


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("recommend", {}, r"Request 1 is .* it has embed, serving_default\. Received: 'recommend'"),
        (
            "serving_default",
            {},
            r"Request 1 .*item_ids \(may be left out: feedback\). Received: none",
        ),
        (
            "embed",
            {"item_ids": [[1]]},
            r"item_ids, k \(may be left out: none\). Received: item_ids$",
        ),
        ("embed", {"item_ids": [[1]], "k": 1, "x": 1}, "Received: item_ids, k, x"),
        ("serving_default", {"item_ids": ["a"]}, r"shape \(None, None\). Received: \(1,\)"),
        ("serving_default", {"item_ids": [[1]]}, r"of type string. Received: int64 \[\[1\]\]"),
        ("embed", {"item_ids": [["1"]], "k": 1}, "Input 'item_ids' of request 1 .* type int64"),
        ("embed", {"item_ids": [[1.0]], "k": 1}, "Input 'item_ids' of request 1 .* float64"),
        ("embed", {"item_ids": [[1]], "k": 2**31}, "Input 'k' of request 1 .* 2147483648"),
        ("embed", {"item_ids": [[1]], "k": -(2**31) - 1}, "Input 'k' of request 1 .* -2147483649"),
        ("embed", {"item_ids": [[True]], "k": 1}, "Input 'item_ids' of request 1 .* bool"),
    ],
)
def test_what_the_model_does_not_take(version, signature, inputs, message):
    good = ("serving_default", {"item_ids": ITEMS})
    with pytest.raises(ValueError, match=message):
        write_warmup_requests(version, [good, (signature, inputs)])
    assert not (version / "assets.extra").exists()


def test_no_model(tmp_path):
    with pytest.raises(ValueError, match=r"no saved_model.pb in it. Received: '.*no-model'"):
        write_warmup_requests(tmp_path / "no-model", [("serving_default", {"item_ids": ITEMS})])
    assert list(tmp_path.iterdir()) == []


def test_a_failing_write_leaves_the_file_before(version, monkeypatch):
    request = ("serving_default", {"item_ids": ITEMS})
    path = write_warmup_requests(version, [request])
    before = path.read_bytes()

    class FullDisk(tf.io.TFRecordWriter):
        def write(self, record):
            super().write(record)
            raise OSError("No space left on device")

    monkeypatch.setattr(tf.io, "TFRecordWriter", FullDisk)
    with pytest.raises(OSError, match="No space left"):
        write_warmup_requests(version, [request] * 2)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    monkeypatch.undo()
    write_warmup_requests(version, [request] * 2)
    assert sum(1 for _ in requests_in(path)) == 2


@on_tensorflow
def test_the_package_does_not_import_the_messages_of_the_server():
    code = "import sys, keras_negrec; print(*(m for m in sys.modules if 'serving.apis' in m))"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}; print('grpc' in sys.modules)"],
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "\nFalse\n", result.stderr[-2000:]


@on_tensorflow
def test_exported_model(tmp_path):
    vocabulary = keras_negrec.data.Vocabulary([5, 7, 9])
    model = keras_negrec.build_model("sasrec", vocabulary=vocabulary, embedding_dim=8)
    version = keras_negrec.export(model, tmp_path / "radio", k=2)
    inputs = {"item_ids": np.array([[5, -1]]), "feedback": np.array([[1, 0]])}
    [request] = requests_in(write_warmup_requests(version, [("serving_default", inputs)]))
    assert request.model_spec.name == "radio"
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    answer = serve(**{name: tf.make_ndarray(t) for name, t in request.inputs.items()})
    assert sorted(answer["item_ids"].numpy()[0].tolist()) == [7, 9]
