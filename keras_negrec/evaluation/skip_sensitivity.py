"""How much a skip changes what a model recommends."""

from __future__ import annotations

import keras
import numpy as np

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.data import Examples, Sessions
from keras_negrec.evaluation.ranking_metrics import Metrics
from keras_negrec.evaluation.scorer import Scorer, score_chunks


def skip_sensitivity(
    model: Scorer,
    examples: Examples,
    *,
    num_neighbors: int = 10,
    item_vectors: np.ndarray | None = None,
    batch_size: int = 1024,
) -> Metrics:
    """Asks whether a model listens: what if the last item had been skipped instead of kept?

    Each history whose newest event was kept is scored twice, as it is and with that event
    skipped (feedback -1), everything else equal.

    - `item_fall`: how far the score of that item falls.
    - `neighbor_fall`: how far the scores of its nearest neighbors fall, on average.
    - `num_examples`: how many histories these means rest on.

    Falls are relative to the mean fall of all remaining items, so that a shift of all scores
    counts as nothing, and in standard deviations of the history's scores over the catalogue, so
    that models can be compared. A model that does not listen, as any without feedback inputs,
    gives exactly 0; one that recommends an item more for having been skipped, less.

    Args:
        model, batch_size: as in `evaluate`; the model must have `score`.
        examples: `Examples`. Their histories count, their targets do not.
        num_neighbors: int. How many neighbors an item has, by cosine of their vectors.
        item_vectors: float array of shape `(num_items, dim)`, row `j` for item `j + 1`. Default:
            the model's own; to compare models, give all of them the same vectors.

    Returns:
        `Metrics`. The falls are NaN where no history ends with a kept event; where all scores of
        a history are equal, they are not divided.

    Raises:
        ValueError: no `item_vectors` for a model without `item_embedding`, or of another shape;
            more `num_neighbors` than leave an item to compare with; scores that are not finite.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3, 4]] * 8)
    >>> split = keras_negrec.data.leave_one_out(sessions)
    >>> model = keras_negrec.build_model("sasrec", num_items=50, embedding_dim=8)
    >>> keras_negrec.evaluation.skip_sensitivity(model, split.test)
    metric                  better
    item_fall        0.0000
    neighbor_fall    0.0000
    num_examples          8
    """
    check_positive_int("num_neighbors", num_neighbors)
    num_others = model.num_items - 1 - num_neighbors
    if num_others < 1:
        raise ValueError(
            f"`num_neighbors` must be below {model.num_items - 1}, to leave other items of the "
            f"{model.num_items} to compare with. Received: num_neighbors={num_neighbors}"
        )
    if item_vectors is None:
        if not hasattr(model, "item_embedding"):
            raise ValueError(
                "`item_vectors` must be given for a model without `item_embedding`. Received: "
                f"item_vectors=None, model={model!r}"
            )
        item_vectors = keras.ops.convert_to_numpy(model.item_embedding.table())
    item_vectors = np.asarray(item_vectors, "float32")
    if item_vectors.ndim != 2 or len(item_vectors) != model.num_items:
        raise ValueError(
            f"`item_vectors` must have one row for each of the {model.num_items} items. Received "
            f"shape: {item_vectors.shape}"
        )
    directions = keras.utils.normalize(item_vectors)

    histories = examples.histories.take(np.flatnonzero(examples.histories.lengths))
    histories = histories.take(np.flatnonzero(histories.feedback[histories.row_splits[1:] - 1] > 0))
    newest = histories.row_splits[1:] - 1
    feedback = histories.feedback.copy()
    feedback[newest] = -1
    columns = {**histories.columns, "feedback": feedback}
    skipped_histories = Sessions(columns, histories.row_splits, histories.keys)

    falls: dict[str, list] = {"item_fall": [], "neighbor_fall": []}
    for (rows, kept), (_, skipped) in zip(
        score_chunks(model, histories, batch_size),
        score_chunks(model, skipped_histories, batch_size),
        strict=True,
    ):
        if not (np.isfinite(kept).all() and np.isfinite(skipped).all()):
            raise ValueError("Scores must be finite. Received infinite scores.")
        fall = kept - skipped  # (rows, num_items)
        each, items = np.arange(len(fall)), histories.item_ids[newest[rows]] - 1
        cosines = directions[items] @ directions.T
        cosines[each, items] = -np.inf
        neighbors = np.argpartition(cosines, -num_neighbors, axis=1)[:, -num_neighbors:]
        of_item = fall[each, items].astype("float64")
        of_neighbors = np.take_along_axis(fall, neighbors, axis=1).sum(axis=1, dtype="float64")
        of_others = (fall.sum(axis=1, dtype="float64") - of_item - of_neighbors) / num_others
        unit = kept.std(axis=1, dtype="float64")
        unit[unit == 0] = 1
        falls["item_fall"].extend((of_item - of_others) / unit)
        falls["neighbor_fall"].extend((of_neighbors / num_neighbors - of_others) / unit)
    return Metrics(
        {name: float(np.mean(values)) if values else np.nan for name, values in falls.items()},
        num_examples=float(len(histories)),
    )
