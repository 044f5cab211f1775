"""Small models and their batches, as most tests of models want them."""

import keras
import numpy as np
from keras import ops
from thorough import THOROUGH
from toy_sessions import NUM_ITEMS

import keras_negrec
from keras_negrec.data import Sessions, Vocabulary

FEW_ENCODERS = ["bert4rec", "gru4rec", "hstu"]
# JAX compiles each of them for longer than all else takes.
_FEW = keras.config.backend() == "jax" and not THOROUGH
ENCODERS = FEW_ENCODERS if _FEW else ["sasrec", "bert4rec", "gru4rec", "caser", "hstu"]
VOCABULARY = Vocabulary([f"track {i}" for i in range(NUM_ITEMS)])
numpy = ops.convert_to_numpy


def build(name="sasrec", **options):
    small = {"max_length": 8, "embedding_dim": 8, "learning_rate": 0.01}
    if isinstance(name, str):
        small["dropout"] = 0.0
    if name in ("sasrec", "bert4rec"):
        small |= {"num_layers": 1, "intermediate_dim": 8}
    if name == "hstu":
        small["num_layers"] = 1
    if options.get("vocabulary") is None:
        small["num_items"] = NUM_ITEMS
    return keras_negrec.build_model(name, **{**small, **options})


def with_random_weights(model, scale=0.5, seed=0):
    """Weights far from their start, so that an influence that exists shows."""
    random = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(numpy(weight) + random.normal(scale=scale, size=weight.shape))
    return model


def fit(model, sessions, epochs=1, batch_size=16):
    """Trains; the history as a dict."""
    dataset = model.training_dataset(sessions, batch_size=batch_size)
    return model.fit(dataset, epochs=epochs, shuffle=False, verbose=0).history


def batch_of(model, sessions, batch_size=99):
    """Inputs, labels and weights of the first batch, as dicts of arrays for every backend."""
    dataset = model.training_dataset(sessions, batch_size=batch_size, shuffle=False)
    element = next(iter(dataset))
    return tuple({name: values.numpy() for name, values in part.items()} for part in element)


def layer_outputs(model, x, **layers):
    """The model's outputs and those of some of its layers, as arrays by name."""
    outputs = {name: model.get_layer(layer).output for name, layer in layers.items()}
    found = keras.Model(model.input, {**model.output, **outputs})(x)
    return {name: keras.tree.map_structure(numpy, values) for name, values in found.items()}


def random_sessions(with_sessions=False):
    """Rows of several lengths and all kinds of feedback, some all skipped, some all kept."""
    random = np.random.default_rng(1)
    lengths = [6, 8, 5, 1, 7, 3, 8, 4]
    kept_share = [0.5, 0.5, 0.0, 0.0, 1.0, 0.5, 0.7, 0.4]
    items = [random.integers(1, NUM_ITEMS + 1, n).tolist() for n in lengths]
    feedback = [
        np.where(random.random(n) < share, random.integers(1, 3, n), random.integers(-2, 1, n))
        for n, share in zip(lengths, kept_share, strict=True)
    ]
    session_ids = [(np.arange(n) // 4).tolist() for n in lengths] if with_sessions else None
    times = [np.cumsum(random.integers(1, 9**5, n)).tolist() for n in lengths]
    feedback = [values.tolist() for values in feedback]
    return Sessions.from_lists(items, feedback, session_ids, timestamps=times)


def rows_of(sessions):
    """Items, feedback and session ids of each row, as lists."""
    for row in range(len(sessions)):
        one = sessions.take([row])
        items = one.item_ids.tolist()
        ids = [0] * len(items) if one.session_ids is None else one.session_ids.tolist()
        yield items, one.feedback.tolist(), ids
