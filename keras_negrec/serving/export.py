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
from keras_negrec.serving.in_tensorflow import in_tensorflow, needs_process
from keras_negrec.serving.item_table import table_recall
from keras_negrec.serving.model_card import model_card
from keras_negrec.serving.servable import Servable
from keras_negrec.serving.vocabulary_of import exported_vocabulary
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
    """Writes the next version of a servable model: raw histories in, recommendations out.

    The folder `path/<version>/` is a SavedModel with the vocabulary inside, which plain
    TensorFlow and TF Serving load, without Keras and without this package. It appears whole or
    not at all, and an earlier version is never touched. A batch of histories is given by

    - `item_ids`: `(batch, n)`, the external ids of each listener's events, oldest first, strings
      or int64 as the vocabulary has them, any n, of which the newest `max_length` count; "" or
      -1 pads. Ids it does not know are passed over.
    - `feedback`: `(batch, n)` int32, -2 to 2; left out, or `[[1]]`, all events were kept.
    - each further event column that the model's encoder sees: `(batch, n)`, int32 or float32, such
      as `session_ids`, the index of each event's session in the history, for models built with
      `max_sessions`; left out, or `[[0]]`, they are 0.

    A history without a known item, empty or of unknown ids alone, is answered as `recommend` does.

    TF Serving fills in what is left out over gRPC; its REST API and the signatures of
    `tf.saved_model.load` want all inputs, an empty list of ids being `[[""]]` or `[[-1]]`.

    | signature | further inputs | outputs |
    |---|---|---|
    | `serving_default` | | `item_ids`, `scores` `(batch, k)`, best first |
    | `recommend` | `k`, `allowed_item_ids`, `blocked_item_ids` | the same |
    | `score` | `candidate_ids` `(batch, m)` | `scores` `(batch, m)`, -inf for unknown ids |
    | `embed` | | `vectors` `(batch, embedding_dim)` |

    `k` is one int32; the ids are `(batch, m)`, or `(1, m)` for all rows.

    What comes back is never padding, an unknown id, or an item of the history, kept or skipped.
    Where a row has fewer than k items left, the answer has as many columns as the row with the
    fewest; where a row has none left, the request is refused. Requests that make no sense, such
    as feedback outside of -2 to 2, are refused with `InvalidArgument` and a message. A row of
    `allowed_item_ids` that holds only padding restricts nothing.

    The product of `vectors` and the rows of `assets.extra/item_embeddings.npy`, whose external
    ids are the list `assets.extra/item_ids.json`, is the score, for an index of nearest
    neighbors outside of the model. `assets.extra/tf_serving_warmup_requests` lets TF Serving
    answer its first request as fast as later ones. `model_card.md` says what the model is.

    A model trained on JAX, on PyTorch or on a GPU is saved and exported by a second process, on
    TensorFlow and the CPU. It imports the modules of classes that are registered with Keras.

    Args:
        model: a model of this package.
        path: folder of the model; versions are the folders 1, 2, ... in it.
        vocabulary: `Vocabulary`. Default: the model's own.
        k: int. How many items are recommended where the request does not say.
        item_dtype: `"float32"`, `"float16"` or `"int8"`: how the item vectors are stored. The
            smaller ones take a half and a quarter of the space; the model card says how many of
            the k best items stay the same.
        metrics, data: for the model card, what `evaluate` returned and what the model was
            trained on.
        trained_on: for the model card, Keras's backend. Default: the present one.

    Returns:
        Path of the new version.

    Raises:
        TypeError: a model that is not trained with Keras, such as `Popularity`.
        ValueError: no vocabulary; one that holds the padding value "" or -1 as an item, or
            another number of items than the model; an unknown `item_dtype`.
        RuntimeError: the TensorFlow process failed.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> model = keras_negrec.build_model("sasrec", vocabulary=vocabulary)
    >>> version = keras_negrec.export(model, "saved_models/example", k=2)
    >>> version.name
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
        vocabulary.save(extra / "item_ids.json")
        write_warmup_requests(
            folder, _warmup_requests(vocabulary, model.max_length), model_name=path.name
        )
        recall = None if item_dtype == "float32" else table_recall(model, servable.table, k)
        card = model_card(model, servable, name=path.name, version=version, recall=recall, **about)
        (folder / "model_card.md").write_text(card, "utf-8")
    return path / str(version)


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
        folder = Path(tempfile.mkdtemp(prefix=".partial-", dir=path))
        try:
            versions = [int(entry.name) for entry in path.iterdir() if entry.name.isdigit()]
            version = max(versions, default=0) + 1
            yield folder, version
            for entry in [folder, *folder.rglob("*")]:
                sync(entry)
            folder.chmod(0o755)
            os.rename(folder, path / str(version))
            sync(path)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def _warmup_requests(vocabulary: Vocabulary, length: int) -> list[tuple[str, dict]]:
    """A request with a whole history to each signature."""
    some = vocabulary.items[np.newaxis, : min(length, len(vocabulary) - 1)]
    history = {"item_ids": some, "feedback": np.ones(some.shape, "int32")}
    return [
        ("serving_default", history),
        ("recommend", history),
        ("score", {**history, "candidate_ids": vocabulary.items[np.newaxis, :1]}),
        ("embed", history),
    ]
