"""A SavedModel that TF Serving runs as it is. The package's TensorFlow-only code is here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.data import Vocabulary
from keras_negrec.serving.vocabulary_of import vocabulary_of

_EXPORT_IN_TENSORFLOW = """
import sys
import keras
import keras_negrec
model = keras.saving.load_model(sys.argv[1])
print(keras_negrec.export(model, sys.argv[2], k=int(sys.argv[3])))
"""


def export(model, path: str | Path, *, vocabulary: Vocabulary | None = None, k: int = 20) -> Path:
    """Writes the next version of a servable model: raw histories in, recommendations out.

    The folder `path/<version>/` is a SavedModel with the vocabulary inside, which plain
    TensorFlow and TF Serving load. It appears whole or not at all. Its signature
    `serving_default` takes

    - `item_ids`: `(batch, n)`, the external ids of each listener's events, oldest first, strings
      or int64 as the vocabulary has them, any n; "" or -1 pads. Ids it does not know are
      passed over.
    - `feedback`: `(batch, n)` int32, -2 to 2. Anything else is refused as an invalid argument.
    - `session_ids`: `(batch, n)` int32, only for models built with `max_sessions`.

    and gives `item_ids` and `scores`, both `(batch, k)`, best first, items of the history
    excluded. Where fewer than k items are left, the rest is "" or -1 with score -inf.

    A model trained on JAX or PyTorch is saved and exported by a second process on TensorFlow.

    Args:
        model: a model of this package.
        path: folder of the model; versions are the folders 1, 2, ... in it.
        vocabulary: `Vocabulary`. Default: the model's own.
        k: int. How many items are recommended.

    Returns:
        Path of the new version.

    Raises:
        ValueError: no vocabulary; one that holds the padding value "" or -1 as an item.
        RuntimeError: the TensorFlow process failed.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> model = keras_negrec.build_model("sasrec", vocabulary=vocabulary)
    >>> version = keras_negrec.export(model, "saved_models/example", k=2)
    >>> version.name
    '1'
    """
    check_positive_int("k", k)
    vocabulary = vocabulary_of(model, vocabulary)
    if len(vocabulary) != model.num_items:
        raise ValueError(
            f"The vocabulary must hold the model's {model.num_items} items. Received: "
            f"{len(vocabulary)} items."
        )
    padding = "" if vocabulary.is_string else -1
    if padding in vocabulary.items:
        raise ValueError(
            f"{padding!r} stands for padding in requests and cannot be an item. Received it in "
            "the vocabulary."
        )
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    if keras.config.backend() != "tensorflow":
        return _export_in_tensorflow(model, path, vocabulary, k)

    servable = _servable(model, vocabulary, padding, min(k, len(vocabulary)))
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=path))
    try:
        tf.saved_model.save(
            servable, str(partial / "model"), signatures={"serving_default": servable.recommend}
        )
        versions = [int(entry.name) for entry in path.iterdir() if entry.name.isdigit()]
        version = path / str(max(versions, default=0) + 1)
        os.rename(partial / "model", version)
    finally:
        shutil.rmtree(partial)
    return version


def _servable(model, vocabulary: Vocabulary, padding: str | int, k: int) -> tf.Module:
    item_dtype = tf.string if vocabulary.is_string else tf.int64
    serving_model, table = model.serving_model, model.item_embedding.embeddings
    names = [name for name in ("feedback", "session_ids") if name in serving_model.input]
    request = {"item_ids": item_dtype, "feedback": tf.int32}
    if "session_ids" in names:
        request["session_ids"] = tf.int32

    servable = tf.Module(name="recommender")
    # What the function uses must hang on the module to be saved with it.
    servable.weights = [variable.value for variable in [*serving_model.variables, table]]
    servable.items = tf.constant(vocabulary.items.tolist(), item_dtype)
    servable.ids = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            servable.items, tf.range(1, len(vocabulary) + 1, dtype=tf.int64)
        ),
        default_value=0,
    )

    @tf.function(
        input_signature=[
            {name: tf.TensorSpec([None, None], dtype, name) for name, dtype in request.items()}
        ]
    )
    def recommend(request):
        item_ids = tf.cast(servable.ids.lookup(request["item_ids"]), tf.int32)
        checks = [
            tf.debugging.assert_equal(
                tf.shape(request["feedback"]),
                tf.shape(item_ids),
                "`feedback` must have the shape of `item_ids`.",
            ),
            tf.debugging.assert_equal(
                tf.clip_by_value(request["feedback"], -2, 2),
                request["feedback"],
                "`feedback` must hold values from -2 to 2.",
            ),
        ]
        with tf.control_dependencies(checks):  # all that follows goes through `known`
            known = item_ids > 0
        events = {"item_ids": item_ids, **{name: request[name] for name in names}}
        vectors = serving_model(_newest(events, known, model.max_length))
        scores = tf.matmul(
            tf.cast(vectors, tf.float32), tf.cast(table.value, tf.float32), transpose_b=True
        )
        seen = tf.where(known)  # (row, column) of each known event
        seen = tf.stack([seen[:, 0], tf.cast(item_ids[known], tf.int64) - 1], axis=1)
        scores = tf.tensor_scatter_nd_min(
            scores, seen, tf.fill([tf.shape(seen)[0]], np.float32(-np.inf))
        )
        best, columns = tf.math.top_k(scores, k)
        items = tf.gather(servable.items, columns)
        items = tf.where(tf.math.is_inf(best), tf.constant(padding, item_dtype), items)
        return {"item_ids": items, "scores": best}

    servable.recommend = recommend
    return servable


def _newest(events: dict, known: tf.Tensor, length: int) -> dict:
    """The newest `length` known events of each row, moved to the right, padded with 0."""
    later = tf.cumsum(tf.cast(known, tf.int32), axis=1, reverse=True, exclusive=True)
    kept = tf.where(known & (later < length))  # (row, column)
    column = tf.cast(length - 1 - tf.gather_nd(later, kept), tf.int64)
    target = tf.stack([kept[:, 0], column], axis=1)
    shape = tf.stack([tf.cast(tf.shape(known)[0], tf.int64), length])
    return {
        name: tf.scatter_nd(target, tf.gather_nd(values, kept), shape)
        for name, values in events.items()
    }


def _export_in_tensorflow(model, path: Path, vocabulary: Vocabulary, k: int) -> Path:
    """Exports from a second process whose Keras runs on TensorFlow."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model.keras"
        own_vocabulary = model.vocabulary
        model.vocabulary = vocabulary
        try:
            model.save(saved)
        finally:
            model.vocabulary = own_vocabulary
        result = subprocess.run(
            [sys.executable, "-c", _EXPORT_IN_TENSORFLOW, str(saved), str(path), str(k)],
            env={**os.environ, "KERAS_BACKEND": "tensorflow"},
            capture_output=True,
            text=True,
        )
    if result.returncode != 0:
        raise RuntimeError(f"The export in a TensorFlow process failed:\n{result.stderr}")
    return Path(result.stdout.strip().splitlines()[-1])
