"""What has left the catalogue is in no answer of an export, whatever is asked."""

import numpy as np
import pytest
import tensorflow as tf
from small_model import ITEMS, STRINGS, build

import keras_negrec

GONE = [ITEMS[n] for n in (1, 4, 17)]


@pytest.fixture(scope="module")
def model():
    model = build("sasrec", feedback_inputs=True)
    model.vocabulary = STRINGS.retire(GONE)
    return model


def test_ten_thousand_requests(model, tmp_path):
    version = keras_negrec.export(model, tmp_path / "radio")
    served = tf.saved_model.load(str(version)).signatures
    random, none = np.random.default_rng(0), tf.constant([[""]])
    for _ in range(10):
        history = tf.constant(random.choice(ITEMS, (1000, 5)).tolist())
        feedback = tf.constant(random.integers(-2, 3, (1000, 5)), tf.int32)
        plain = served["serving_default"](item_ids=history, feedback=feedback)["item_ids"]
        options = {"k": tf.constant(20), "blocked_item_ids": none}
        options["allowed_item_ids"] = tf.constant([[*GONE, *ITEMS[:15]]])
        asked = served["recommend"](item_ids=history, feedback=feedback, **options)["item_ids"]
        for answer in (plain, asked):
            assert not np.isin(np.char.decode(answer.numpy().astype(bytes)), GONE).any()
    # As an event of the history it counts, and it may be scored.
    seen = tf.constant([[GONE[0], ITEMS[2]]])
    with_it = served["embed"](item_ids=seen, feedback=tf.constant([[1, 1]]))["vectors"]
    without = served["embed"](item_ids=seen[:, 1:], feedback=tf.constant([[1]]))["vectors"]
    assert not np.allclose(with_it, without)


def test_onnx(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = keras_negrec.serving.export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(path))
    inputs = {"item_ids": np.array([[3, 4]], "int32"), "feedback": np.array([[1, 1]], "int32")}
    [scores] = session.run(["scores"], inputs)
    assert (
        np.flatnonzero(np.isinf(scores[0])).tolist() == (model.vocabulary.retired_ids - 1).tolist()
    )
