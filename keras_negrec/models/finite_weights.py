"""Finds weights that are no numbers any more."""

from __future__ import annotations

import keras
from keras import ops


def check_finite(model: keras.Model) -> None:
    """A ValueError that names the weights that hold NaN or infinity."""
    if found := not_finite(model):
        raise ValueError(f"Weights of the model are not finite: {', '.join(found)}")


def not_finite(model: keras.Model) -> list[str]:
    """The weights that hold NaN or infinity, each with how many of its values do."""
    found = []
    for weight in model.weights:
        if "float" not in keras.backend.standardize_dtype(weight.dtype):
            continue
        values = ops.convert_to_tensor(weight)
        if not bool(ops.all(ops.isfinite(values))):
            wrong = ops.logical_not(ops.isfinite(values))
            number = int(ops.sum(ops.cast(wrong, "int32")))
            found.append(f"`{weight.path}` ({number:,} of its {ops.size(values):,} values)")
    return found
