"""Requests of several clients in one, where that changes no answer.

Histories are padded on the left, which the exported signatures pass over, and each client gets
its own rows back. Rounding may differ in the last digit, as it may between batch sizes anywhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from keras_negrec.serving.embedded.signature import Signature

MAX_ROWS = 64
MAX_CELLS = 2**17  # rows times the longest history, list of ids, or answer
_LISTS = ("allowed_item_ids", "blocked_item_ids", "candidate_ids")


class Batching:
    """How requests to a signature of an exported model are joined and answers are split.

    Args:
        signature: any. Those that `export` does not write are not batched.
        num_items: int or None. Size of the catalogue, None where it is not known.
        default_k: int or None. How many items are recommended where the signature has no `k`.
    """

    def __init__(self, signature: Signature, num_items: int | None, default_k: int | None):
        self._signature, self._num_items = signature, num_items or 0
        self._default_k = np.array(default_k or 0)
        inputs, outputs = signature.inputs, set(signature.outputs)
        self._scalars = [name for name, info in inputs.items() if info.shape == ()]
        self._lists = [name for name in _LISTS if name in inputs]
        self._columns = [
            name for name in inputs if name not in ("item_ids", *self._lists, *self._scalars)
        ]
        self._recommends = outputs == {"item_ids", "scores"}
        self._possible = (
            num_items is not None
            and "item_ids" in inputs
            and (not self._recommends or default_k is not None or "k" in inputs)
            and (self._recommends or outputs in ({"vectors"}, {"scores"}))
            and all(inputs[n].shape == (None, None) for n in inputs if n not in self._scalars)
            and all(inputs[name].dtype.kind in "if" for name in self._columns)
        )

    def key(self, inputs: dict[str, np.ndarray]) -> Hashable | None:
        """Requests of the same key may be joined; None for one that must be run alone."""
        ids = inputs.get("item_ids")
        if not self._possible or ids is None or len(ids) == 0:
            return None
        if any(inputs[name].shape not in (ids.shape, (1, 1)) for name in self._columns):
            return None
        if any(len(inputs[name]) not in (len(ids), 1) for name in self._lists):
            return None
        return (self._signature.name, *(inputs[name].item() for name in self._scalars))

    def size(self, inputs: dict[str, np.ndarray]) -> tuple[int, int]:
        """Rows of a request that has a key, and the most that there is in one."""
        widths = [inputs[name].shape[1] for name in ("item_ids", *self._lists)]
        return len(inputs["item_ids"]), max(*widths, self._width(inputs))

    def join(self, requests: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """One request with the rows of all."""
        joined = {name: requests[0][name] for name in self._scalars}
        for name in ("item_ids", *self._columns, *self._lists):
            parts = []
            for request in requests:
                rows, length = request["item_ids"].shape
                if name in self._lists:
                    length = request[name].shape[1]
                parts.append(np.broadcast_to(request[name], (rows, length)))
            width = max(part.shape[1] for part in parts)
            joined[name] = np.concatenate(
                [_padded(part, width, self._filler(name)) for part in parts]
            )
        return joined

    def split(
        self, outputs: dict[str, np.ndarray], requests: Sequence[dict[str, np.ndarray]]
    ) -> list[dict[str, np.ndarray]] | None:
        """The answer to each request, or None where one of them narrows those of the others."""
        if self._recommends and outputs["item_ids"].shape[1] != self._width(requests[0]):
            return None
        answers, start = [], 0
        for request in requests:
            stop = start + len(request["item_ids"])
            answer = {name: values[start:stop] for name, values in outputs.items()}
            if "candidate_ids" in request:
                scores = answer["scores"]
                answer["scores"] = scores[:, scores.shape[1] - request["candidate_ids"].shape[1] :]
            answers.append(answer)
            start = stop
        return answers

    def _width(self, inputs: dict[str, np.ndarray]) -> int:
        """How many items are recommended where none of them is left out."""
        if not self._recommends:
            return 0
        return min(int(inputs.get("k", self._default_k)), self._num_items)

    def _filler(self, name: str):
        if name in self._columns:
            return 0
        return b"" if self._signature.inputs[name].dtype == object else -1


def _padded(rows: np.ndarray, width: int, filler) -> np.ndarray:
    """The rows, filled up on the left."""
    missing = width - rows.shape[1]
    if not missing:
        return rows
    return np.concatenate([np.full((len(rows), missing), filler, rows.dtype), rows], axis=1)
