"""What is known of items when a model is built or grown, in the scale that models take."""

from __future__ import annotations

import numpy as np


def described(item_features, item_vectors) -> np.ndarray | None:
    """The columns of both, side by side; None where neither is given."""
    features = None if item_features is None else np.atleast_1d(item_features)
    if item_vectors is None:
        return features
    vectors = scaled(item_vectors)
    if features is None:
        return vectors
    if features.shape[:1] != vectors.shape[:1] or features.ndim != 2:
        raise ValueError(
            "`item_features` and `item_vectors` must have a row for each item. Received: shapes "
            f"{features.shape} and {vectors.shape}"
        )
    return np.concatenate([features, vectors], axis=1)


def scaled(item_vectors) -> np.ndarray:
    """The vectors with a mean square of 1 in each row, float32 `(num_items, n)`; 0 stays 0."""
    vectors = np.asarray(item_vectors, "float32")
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        state = "" if np.isfinite(vectors).all() else ", with values that are not finite"
        raise ValueError(
            "`item_vectors` must be finite, of shape (num_items, n). Received: shape "
            f"{vectors.shape}{state}"
        )
    lengths = np.sqrt(np.mean(vectors**2, axis=1, keepdims=True))
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
