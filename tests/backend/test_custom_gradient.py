"""What is traced with custom gradients is forgotten with its graph, and not before."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import VOCABULARY, build, fit, random_sessions
from tensorflow.python.framework.func_graph import FuncGraph
from tensorflow.python.framework.ops import gradient_registry

from keras_negrec.backend.custom_gradient import custom_gradient

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="written for TensorFlow"
)


def what_stays():
    gc.collect()
    graphs = sum(type(each) is FuncGraph for each in gc.get_objects())
    return graphs, sum(name.startswith("CustomGradient") for name in gradient_registry.list())


@pytest.mark.parametrize(
    "options", [{"negative_loss": "keep", "fused_softmax": True}, {"num_sampled_negatives": 4}]
)
def test_nothing_stays_of_a_model_that_was_trained(options):
    sessions = random_sessions()

    def train():
        model = build("sasrec", vocabulary=VOCABULARY, dropout=0.1, **options)
        fit(model, sessions)
        model.score(sessions)
        return weakref.ref(model)

    train()
    before = what_stays()
    found = train()
    assert what_stays() == before
    assert found() is None


@custom_gradient
def thrice(x):
    return x * 1.0, lambda upstream: 3.0 * upstream


def test_a_gradient_is_there_as_long_as_what_was_traced():
    before = what_stays()
    traced = tf.function(lambda x: thrice(x) * 2.0)
    x = tf.constant([1.0, 2.0])
    traced(x)
    assert what_stays()[1] == before[1] + 1
    for function in (traced, lambda x: thrice(x) * 2.0):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        np.testing.assert_array_equal(tape.gradient(y, x), [6.0, 6.0])
    del traced, function, tape, y
    assert what_stays() == before
