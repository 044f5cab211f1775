import functools

import numpy as np
import pytest

import keras_negrec
from keras_negrec.data import Sessions

SESSIONS = Sessions.from_lists([[1, 2, 3], [2, 3, 1], [3, 1]])


@pytest.mark.parametrize("shuffle", [True, False])
def test_session_batches(shuffle):
    dataset = SESSIONS.batches(batch_size=2, max_length=3, shuffle=shuffle)
    assert dataset.options().autotune.enabled is False


@pytest.mark.parametrize(
    "build",
    [
        functools.partial(keras_negrec.build_model, "sasrec"),
        functools.partial(keras_negrec.build_model, "bert4rec"),
        keras_negrec.models.MatrixFactorization,
    ],
)
def test_what_models_are_fitted_on(build):
    model = build(num_items=3, max_length=4)
    assert model.training_dataset(SESSIONS).options().autotune.enabled is False


def test_what_models_predict_on(monkeypatch):
    model = keras_negrec.build_model("sasrec", num_items=3, max_length=4)
    expected = model.history_vectors(SESSIONS)
    predicted_on = []
    predict = model.serving_model.predict

    def noting_predict(x, **options):
        predicted_on.append(x)
        return predict(x, **options)

    monkeypatch.setattr(model.serving_model, "predict", noting_predict)
    vectors = model.history_vectors(SESSIONS, batch_size=2)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert len(predicted_on) == 1
    assert predicted_on[0].options().autotune.enabled is False
