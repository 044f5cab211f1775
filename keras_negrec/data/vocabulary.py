"""The two-way table between external item ids and the ids used inside models."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from keras_negrec.argument_checks import check_choice
from keras_negrec.atomic_write import atomic_write


class Vocabulary:
    """Maps external item ids (strings or integers) to `1..num_items` and back.

    Inside models `0` is padding, `1` is the first item of the vocabulary. Build it with
    `Vocabulary.from_items`, which puts the most frequent items first: log-uniform negative
    sampling relies on that order.

    Args:
        items: sequence of distinct strings, or of distinct integers. `items[0]` gets id 1.
        retired: items that have left the catalogue. They keep their ids, so that histories may hold
            them, and are never recommended.

    Attributes:
        retired: the retired items, in the order of their ids.
        retired_ids: their internal ids, int32.

    Raises:
        ValueError: no items, a repeated item, or an item that is missing.
        TypeError: items that are neither all strings nor all integers.
        KeyError: a retired item that is not among the items.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> vocabulary.encode(["verse", "intro"])
    array([2, 1], dtype=int32)
    >>> list(vocabulary.decode([3]))
    ['outro']
    """

    def __init__(self, items: Iterable, *, retired: Iterable = ()):
        self._index = pd.Index(_as_array(items))
        if len(self._index) == 0:
            raise ValueError("A vocabulary needs at least one item. Received: none.")
        if not self._index.is_unique:
            repeated = self._index[self._index.duplicated()][0]
            raise ValueError(f"`items` must be distinct. Received {repeated!r} more than once.")
        retired = list(_no_text("retired", retired))
        self.retired_ids = np.unique(self.encode(retired))
        self.retired = self.decode(self.retired_ids)

    def retire(self, items: Iterable) -> Vocabulary:
        """The same items and ids, with these retired too.

        Example:

        >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
        >>> vocabulary = vocabulary.retire(["verse"])
        >>> len(vocabulary), vocabulary.retired.tolist()
        (3, ['verse'])
        """
        return Vocabulary(self.items, retired=[*self.retired, *_no_text("retired", items)])

    def grow(self, new_items: Iterable) -> Vocabulary:
        """The same items and ids, and after them the new ones; one that is known is an error."""
        return Vocabulary([*self.items, *new_items], retired=self.retired)

    @classmethod
    def from_items(cls, items: Iterable) -> Vocabulary:
        """The vocabulary of all events' items, the most frequent first, and of equals by their id.

        Give the events that train: others would have a say in what log-uniform sampling draws.
        Where held-out items must be known too, see `by_frequency`.
        """
        counts = pd.Series(_as_array(items)).value_counts(sort=False)
        distinct = counts.index.to_numpy()
        return cls(distinct[frequency_order(distinct, counts.to_numpy())])

    def by_frequency(self, counts: np.ndarray) -> Vocabulary:
        """The same items, the most frequent first; equally frequent ones in the order of their ids.

        `counts`, of shape `(num_items,)`, is how often each occurs in what trains. Sessions are
        then made, and split, again: ids are others, and rows and cuts the same.

        Example:

        >>> vocabulary = keras_negrec.data.Vocabulary(["a", "b", "c"])
        >>> train = keras_negrec.data.Sessions.from_lists([[2, 1, 2]])
        >>> list(vocabulary.by_frequency(train.item_counts(len(vocabulary))).items)
        ['b', 'a', 'c']
        """
        if (shape := np.shape(counts)) != (len(self),):
            raise ValueError(f"`counts` must have shape ({len(self)},). Received shape: {shape}")
        order = frequency_order(self.items, np.asarray(counts))
        return Vocabulary(self.items[order], retired=self.retired)

    @property
    def items(self) -> np.ndarray:
        """The external ids in the order of their internal ids: int64, or object of `str`."""
        return self._index.to_numpy()

    @property
    def is_string(self) -> bool:
        """Whether external ids are strings (otherwise they are integers)."""
        return self.items.dtype == object

    def encode(self, items: Iterable, *, unknown: str = "raise") -> np.ndarray:
        """Internal ids of external items: int32, one for each item.

        Items that are not in the vocabulary are a KeyError, or with `unknown="zero"` get the id 0.
        Items of another type than the vocabulary's are a TypeError.
        """
        check_choice("unknown", unknown, ("raise", "zero"))
        values = _as_array(items)
        if len(values) and (values.dtype == object) != self.is_string:
            expected = "strings" if self.is_string else "integers"
            first = values[:1].tolist()[0]
            raise TypeError(
                f"The vocabulary holds {expected}. Received an item of type "
                f"{type(first).__name__}: {first!r}"
            )
        ids = self._index.get_indexer(values) + 1
        if unknown == "raise" and (ids == 0).any():
            first = values[ids == 0].tolist()[0]
            number = int((ids == 0).sum())
            what = "1 item is" if number == 1 else f"{number} items are"
            raise KeyError(f"{what} not in the vocabulary, first: {first!r}")
        return ids.astype("int32")

    def decode(self, ids) -> np.ndarray:
        """External ids of internal ids `1..num_items`, in their shape; others are a ValueError."""
        ids = np.asarray(ids, dtype=None if np.size(ids) else int)
        if ids.size and (ids.min() < 1 or ids.max() > len(self)):
            raise ValueError(
                f"Ids must lie in 1..{len(self)}. Received ids from {ids.min()} to {ids.max()}."
            )
        return self.items[ids - 1]

    def save(self, path: str | Path) -> None:
        """Writes a JSON list of the items, or an object of `items` and `retired`, whole or not."""
        items, retired = self.items.tolist(), self.retired.tolist()
        content = {"items": items, "retired": retired} if retired else items
        with atomic_write(Path(path)) as partial:
            partial.write_text(json.dumps(content, ensure_ascii=False), "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Reads what `save` wrote; another file is a ValueError that names it."""
        try:
            content = json.loads(Path(path).read_text("utf-8"))
            return cls(**content) if isinstance(content, dict) else cls(content)
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} must hold a JSON list of items. Received: {error}") from error

    def __len__(self) -> int:
        return len(self._index)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self._index.equals(other._index)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        kind = "strings" if self.is_string else "integers"
        return f"<Vocabulary of {len(self)} items ({kind})>"


def frequency_order(items: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Where the most frequent items are, first of all; of equals the smaller id comes first."""
    by_item = np.argsort(items, kind="stable")
    return by_item[np.argsort(-counts[by_item], kind="stable")]


def _no_text(name: str, items: Iterable) -> Iterable:
    """The same items, which must not be one text: its letters would be taken for them."""
    if isinstance(items, (str, bytes)):
        raise TypeError(f"`{name}` must be a list of items. Received: {items!r}")
    return items


def _as_array(items: Iterable) -> np.ndarray:
    """An int64 array, or an object array of `str`; anything else is refused."""
    if isinstance(items, (str, bytes)):
        raise TypeError(f"Expected a sequence of items. Received one {type(items).__name__}.")
    values = items.to_numpy() if hasattr(items, "to_numpy") else items
    values = values if isinstance(values, np.ndarray) else np.asarray(list(values), dtype=object)
    if values.dtype.kind == "U":
        return values.astype(object)
    if values.dtype == object:
        kind = str if all(isinstance(value, str) for value in values[:1]) else (int, np.integer)
        for value in values:
            if not isinstance(value, kind) or isinstance(value, bool):
                raise TypeError(
                    "Items must be all strings or all integers. Received an item of type "
                    f"{type(value).__name__}: {value!r}"
                )
        if kind is str:
            return values
    elif values.dtype.kind not in "iu":
        raise TypeError(
            f"Items must be strings or integers. Received an array of dtype {values.dtype}."
        )
    limits = np.iinfo("int64")
    if len(values) and not limits.min <= values.min() <= values.max() <= limits.max:
        raise ValueError(
            "Integer items must fit a signed 64-bit integer; use strings for larger ones. "
            f"Received items from {values.min()} to {values.max()}."
        )
    return values.astype("int64")
