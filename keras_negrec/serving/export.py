"""A SavedModel that TF Serving runs as it is."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_negrec.argument_checks import check_choice, check_positive_int
from keras_negrec.atomic_write import sync
from keras_negrec.data import Vocabulary
from keras_negrec.serving.in_tensorflow import exported_vocabulary, in_tensorflow, needs_process
from keras_negrec.serving.model_card import model_card
from keras_negrec.serving.servable import Servable
from keras_negrec.serving.write_warmup_requests import write_warmup_requests


def export(
    model,
    path: str | Path,
    *,
    vocabulary: Vocabulary | None = None,
    k: int = 20,
    item_dtype: str = "float32",
    metrics: dict[str, float] | None = None,
    data: str | None = None,
    trained_on: str | None = None,
) -> Path:
    """Writes the next version of a servable model, and returns its path.

    The folder `path/<version>/` is a SavedModel from raw histories to recommendations, which plain
    TensorFlow and TF Serving load, without Keras and without this package. It appears whole or
    not at all, and an earlier version is never touched. A batch of histories is given by

    - `item_ids`: `(batch, n)`, the external ids of each listener's events, oldest first, strings
      or int64, any n, of which the newest `max_length` count; "" or -1 pads. Unknown ids are
      passed over.
    - `feedback`: `(batch, n)` int32, -2 to 2; left out, or `[[1]]`, all events were kept.
    - each further event column that the model's encoder sees: `(batch, n)`, int32 or float32, such
      as `session_ids`, the index of each event's session in the history; left out, or `[[0]]`,
      they are 0.

    TF Serving fills in what is left out over gRPC; its REST API and the signatures of
    `tf.saved_model.load` want all inputs, an empty list of ids being `[[""]]` or `[[-1]]`.

    | signature | further inputs | outputs |
    |---|---|---|
    | `serving_default` | | `item_ids`, `scores` `(batch, k)`, best first |
    | `recommend` | `k`, `allowed_item_ids`, `blocked_item_ids` | the same |
    | `score` | `candidate_ids` `(batch, m)` | `scores` `(batch, m)`, -inf for unknown ids |
    | `embed` | | `vectors` `(batch, embedding_dim)` |

    For each feedback term that ranks, `recommend`, `score` and `embed` take its weight too, such as
    `keep_weight`: float32 `(batch,)`, or `(1,)` for all rows; left out, it is that of the model
    when it was exported.

    `k` is one int32; the ids are `(batch, m)`, or `(1, m)` for all rows. A row of
    `allowed_item_ids` that holds only padding restricts nothing.

    What comes back is never padding, an unknown id, an item of the history, kept or skipped, or one
    that the vocabulary has retired.
    A history without a known item is answered as `recommend` does. Where a row has fewer than k
    items left, the answer has as many columns as the row with the fewest. Where a row has none
    left, or a request makes no sense, it is refused with `InvalidArgument` and a message.

    Beside it are `model_card.md`, which says what the model is, and in `assets.extra`
    `item_embeddings.npy`, whose products with `vectors` are the scores, `item_ids.json`, the
    external ids of its rows, and `tf_serving_warmup_requests`.

    A model trained on JAX, on PyTorch or on a GPU is exported by a second process, on TensorFlow
    and the CPU, which imports the modules of classes that are registered with Keras.

    Args:
        model: a model of this package that is trained with Keras, or a `WeightedHybrid` of one
            and an `ItemCooccurrence`: its scores are those of both, its `embed` and item
            embeddings those of the trained model.
        path: folder of the model; versions are the folders 1, 2, ... in it.
        vocabulary: `Vocabulary`. Default: the model's own.
        k: int. How many items are recommended where the request does not say.
        item_dtype: of the stored item vectors, `"float32"`, or `"float16"` or `"int8"` with a
            half or a quarter of the size. The card says how many of the k best items stay.
        metrics, data, trained_on: for the model card, what `evaluate` returned, what the model
            was trained on, and Keras's backend, by default the present one.

    Raises:
        TypeError: a model that is not trained with Keras, such as `Popularity`, and is no such
            hybrid.
        ValueError: no vocabulary, or one that is not the model's or has "" or -1 as an item;
            weights that are not finite.
        RuntimeError: the TensorFlow process failed.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> model = keras_negrec.build_model("sasrec", vocabulary=vocabulary)
    >>> keras_negrec.export(model, "saved_models/example", k=2).name
    '1'
    """
    check_positive_int("k", k)
    check_choice("item_dtype", item_dtype, ("float32", "float16", "int8"))
    vocabulary = exported_vocabulary("export", model, vocabulary)
    padding = "" if vocabulary.is_string else -1
    if padding in vocabulary.items:
        raise ValueError(
            f"{padding!r} stands for padding in requests and cannot be an item. Received it in "
            "the vocabulary."
        )
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    about = {"metrics": metrics, "data": data, "trained_on": trained_on or keras.config.backend()}
    if needs_process():
        options = {"k": k, "item_dtype": item_dtype, **about}
        return in_tensorflow("export", model, path, vocabulary, **options)

    servable = Servable(model, vocabulary, k, item_dtype)
    with _partial_version(path) as (folder, version):
        tf.saved_model.save(servable, str(folder), signatures=servable.functions)
        extra = folder / "assets.extra"
        extra.mkdir()
        np.save(extra / "item_embeddings.npy", servable.table.rows(tf.range(len(vocabulary))))
        Vocabulary(vocabulary.items).save(extra / "item_ids.json")  # a plain list
        items = vocabulary.items[np.newaxis]
        some = items[:, : min(servable.max_length, len(vocabulary) - 1)]
        history = {"item_ids": some, "feedback": np.ones(some.shape, "int32")}
        further = {"score": {"candidate_ids": items[:, :1]}}
        requests = [(name, history | further.get(name, {})) for name in servable.functions]
        write_warmup_requests(folder, requests)
        card = model_card(model, vocabulary, servable, version, **about)
        (folder / "model_card.md").write_text(card, "utf-8")
    return version


@contextmanager
def _partial_version(path: Path):
    """A folder to write into, which becomes the next version when nothing was raised.

    One export at a time writes into `path`, so that what an export that was killed left behind
    is known for what it is and removed.
    """
    import fcntl  # Not on Windows, where the rest of the package works.

    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in path.glob(".partial-*"):
            shutil.rmtree(leftover)
        versions = [int(entry.name) for entry in path.iterdir() if entry.name.isdigit()]
        version = path / str(max(versions, default=0) + 1)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=path) as partial:
            folder = Path(partial)
            yield folder, version
            for entry in [folder, *folder.rglob("*")]:
                sync(entry)
            folder.chmod(0o755)
            os.rename(folder, version)
        sync(path)
    finally:
        os.close(lock)
