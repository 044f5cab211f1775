"""The states of all generators that Keras, NumPy, Python and PyTorch draw from by default."""

from __future__ import annotations

import random
from typing import Any

import keras
import numpy as np

from keras_negrec.backend.keras_private import global_seed_generator

if keras.config.backend() == "torch":
    import torch


def get_random_state() -> dict[str, Any]:
    """The states, made of numbers, lists and arrays."""
    state = {
        "keras": np.array(keras.ops.convert_to_numpy(global_seed_generator().state)),
        "numpy": list(np.random.get_state()),  # noqa: NPY002 (Keras shuffles arrays by it)
        "python": list(random.getstate()),
    }
    if keras.config.backend() == "torch":
        devices = [torch.get_rng_state()]
        if torch.cuda.is_available():
            devices += torch.cuda.get_rng_state_all()
        state["torch"] = [each.cpu().numpy() for each in devices]
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Goes on from what `get_random_state` gave."""
    global_seed_generator().state.assign(state["keras"])
    np.random.set_state(tuple(state["numpy"]))  # noqa: NPY002
    version, numbers, following = state["python"]
    random.setstate((version, tuple(numbers), following))
    if keras.config.backend() == "torch":
        first, *others = (torch.from_numpy(each.copy()) for each in state["torch"])
        torch.set_rng_state(first)
        if others:
            torch.cuda.set_rng_state_all(others)
