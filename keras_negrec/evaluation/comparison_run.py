"""One finished run of a comparison, and its file."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keras_negrec.atomic_write import atomic_write

_RANKS = ("target", "skip_target", "preference")


@dataclass(frozen=True, eq=False)
class ComparisonRun:
    """The ranks that one trained model, or one ready scorer, gave to the examples.

    Args:
        label: what the configuration is called.
        settings: JSON-able, what it was trained with.
        seed: int, or None for a scorer without one.
        examples: the examples' fingerprint.
        exclude_seen: bool. As in `rank_targets`.
        ranks: dict of arrays, what `rank_targets` returned.
        seconds: float. How long the training took.
        curves: dict of lists of floats with one value an epoch: the Keras history.
        versions: dict of str: keras, its backend, keras_negrec.
        sampled: dict of floats, what `evaluate_sampled` returned, or None.

    Example:

    >>> ranks = {name: np.ones(4) for name in ("target", "skip_target", "preference")}
    >>> run = keras_negrec.evaluation.ComparisonRun("sasrec", {}, 0, "1234", True, ranks)
    >>> run.save("runs/seed-0.npz")
    >>> keras_negrec.evaluation.ComparisonRun.load("runs/seed-0.npz").ranks["target"]
    array([1., 1., 1., 1.])
    """

    label: str
    settings: object
    seed: int | None
    examples: str
    exclude_seen: bool
    ranks: dict[str, np.ndarray]
    seconds: float = 0.0
    curves: dict[str, list[float]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    sampled: dict[str, float] | None = None

    @staticmethod
    def path_in(
        folder,
        label: str,
        settings,
        seed: int,
        examples: str,
        exclude_seen: bool,
        sampled: bool = False,
    ) -> Path:
        """Where the run is stored: another label, settings or examples have another folder."""
        parts = [label, settings, examples, exclude_seen, *(["sampled"] if sampled else [])]
        identity = json.dumps(parts, sort_keys=True)
        slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:60]
        digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
        return Path(folder) / f"{slug}-{digest}".strip("-") / f"seed-{seed}.npz"

    def save(self, path) -> None:
        """Writes the file whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        header = {name: value for name, value in vars(self).items() if name != "ranks"}
        with atomic_write(path) as partial, open(partial, "wb") as file:
            np.savez_compressed(
                file, allow_pickle=False, header=np.array(json.dumps(header)), **self.ranks
            )

    @classmethod
    def load(cls, path) -> ComparisonRun:
        """Reads what `save` wrote.

        Raises:
            ValueError: a file that is damaged or something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                header = json.loads(str(file["header"]))
                return cls(**header, ranks={name: file[name] for name in _RANKS})
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} is not a stored run, or damaged: {error}. Delete it to have the run "
                "done again."
            ) from error
