"""Small models whose scores lie far apart, and what asks their exports."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary
from keras_negrec.models import ItemCooccurrence, WeightedHybrid

on_tensorflow = pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="the export runs on TensorFlow, whatever backend trained the model",
)

NUM_ITEMS, MAX_LENGTH, DIM, K = 30, 6, 8, 5
ITEMS = [f"tràck {i}" for i in range(NUM_ITEMS)]
STRINGS = Vocabulary(ITEMS)
INTEGERS = Vocabulary([10 * i - 30 for i in range(NUM_ITEMS)])
SHAPES = {"max_length": MAX_LENGTH, "embedding_dim": DIM}


def build(name, vocabulary=STRINGS, **options):
    if name in ("sasrec", "bert4rec"):
        options = {"num_layers": 1, "intermediate_dim": DIM, **options}
    return spread_out(keras_negrec.build_model(name, vocabulary=vocabulary, **SHAPES, **options))


def spread_out(model):
    """Makes weights so large that the order of the scores is clear and every event matters."""
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:
        if len(weight.shape) > 1 or weight.name == "item_bias":
            weight.assign(random.normal(scale=0.5, size=weight.shape).astype("float32"))
    return model


def with_counts(model):
    """A hybrid of the model and of counts of sessions drawn at random."""
    random = np.random.default_rng(1)
    lists = random.integers(1, NUM_ITEMS + 1, (12, 5)).tolist()  # some items are never kept
    counted = ItemCooccurrence(Sessions.from_lists(lists), NUM_ITEMS, skip_weight=-0.3, decay=0.8)
    return WeightedHybrid([counted, model], [0.7, 1.2])


class Client:
    """Calls a signature as TF Serving does: inputs by name, defaults for those left out."""

    def __init__(self, version):
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self.session, ["serve"], str(version))
        self.signatures = loaded.signature_def

    def __call__(self, signature, **inputs):
        definition = self.signatures[signature]
        feed = {definition.inputs[name].name: value for name, value in inputs.items()}
        fetch = {name: info.name for name, info in definition.outputs.items()}
        return self.session.run(fetch, feed)
