import shutil

import numpy as np
import pytest
import tensorflow as tf
from small_model import ITEMS
from tensorflow_serving.apis import prediction_log_pb2

from keras_negrec.serving import write_warmup_requests


@pytest.fixture
def folder(version, tmp_path):
    """A version folder of its own for each test: `radio/3`."""
    (tmp_path / "radio" / "3").mkdir(parents=True)
    shutil.copy(version / "saved_model.pb", tmp_path / "radio" / "3")
    return tmp_path / "radio" / "3"


def requests_in(path):
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        yield log.predict_log.request


HISTORY = np.array([["", ITEMS[1], "b"]])
REQUEST = ("serving_default", {"item_ids": HISTORY})


def test_requests_come_back(folder, monkeypatch):
    monkeypatch.chdir(folder)
    path = write_warmup_requests(
        ".",
        [
            ("embed", {"item_ids": HISTORY, "feedback": np.array([[0, 1, -2]])}),
            ("recommend", {"item_ids": HISTORY.astype(object), "k": 3}),
        ],
    )
    assert path.resolve() == folder / "assets.extra" / "tf_serving_warmup_requests"
    first, second = requests_in(path)
    assert first.model_spec.name == "radio"
    assert first.model_spec.signature_name == "embed"
    for request in (first, second):
        items = tf.make_ndarray(request.inputs["item_ids"]).tolist()
        assert items == [[item.encode() for item in HISTORY[0]]]
    feedback = tf.make_ndarray(first.inputs["feedback"])
    assert feedback.dtype == np.int32 and feedback.tolist() == [[0, 1, -2]]
    assert set(second.inputs) == {"item_ids", "k"}
    assert tf.make_ndarray(second.inputs["k"]).shape == ()


def test_an_export_has_one_for_each_signature_and_answers_it(call, version):
    asked = []
    for request in requests_in(version / "assets.extra" / "tf_serving_warmup_requests"):
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        answer = call(request.model_spec.signature_name, **inputs)
        assert all(value.shape[0] == 1 for value in answer.values())
        assert request.model_spec.name == version.parent.name
        asked.append(request.model_spec.signature_name)
    assert sorted(asked) == ["embed", "recommend", "score", "serving_default"]


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("rank", {}, r"Request 1 is .* it has embed, recommend, score, serv.* Received: 'rank'"),
        ("embed", {}, r"Request 1 .*item_ids \(may be left out: feedback\). Received: none"),
        ("embed", {"item_ids": [["a"]], "x": 1}, "Received: item_ids, x"),
        ("embed", {"item_ids": ["a"]}, r"shape \(None, None\). Received: \(1,\)"),
        ("embed", {"item_ids": [[1]]}, r"of type string. Received: int64 \[\[1\]\]"),
        ("recommend", {"item_ids": [["a"]], "k": 2**31}, "Input 'k' of request 1 .* 2147483648"),
        ("recommend", {"item_ids": [["a"]], "k": 1.0}, "Input 'k' of request 1 .* float64"),
        ("recommend", {"item_ids": [["a"]], "k": True}, "Input 'k' of request 1 .* bool"),
    ],
)
def test_what_the_model_does_not_take(folder, signature, inputs, message):
    with pytest.raises(ValueError, match=message):
        write_warmup_requests(folder, [REQUEST, (signature, inputs)])
    assert not (folder / "assets.extra").exists()


def test_no_model_and_no_more_than_a_thousand(folder, tmp_path):
    with pytest.raises(ValueError, match=r"no saved_model.pb in it. Received: '.*no-model'"):
        write_warmup_requests(tmp_path / "no-model", [REQUEST])
    for number in (0, 1001):
        with pytest.raises(ValueError, match=rf"must hold 1 to 1000 requests\. Rec.*: {number}"):
            write_warmup_requests(folder, [REQUEST] * number)
