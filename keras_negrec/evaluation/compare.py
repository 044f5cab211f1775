"""Models, losses and seeds on one data set."""

from __future__ import annotations

import copy
import gc
import hashlib
import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import keras
import numpy as np

from keras_negrec.argument_checks import check_positive_ints
from keras_negrec.atomic_write import atomic_write
from keras_negrec.data import Examples
from keras_negrec.evaluation.comparison import Comparison
from keras_negrec.evaluation.evaluate import check_examples, evaluate_sampled
from keras_negrec.evaluation.rank_targets import rank_targets
from keras_negrec.evaluation.scorer import Scorer, excludes_seen


@dataclass(frozen=True, eq=False)
class ComparisonRun:
    """The ranks that one trained model, or one ready scorer, gave to the examples.

    Args:
        label, settings: str, and what it was trained with, JSON-able.
        seed: int, or None for a scorer without one.
        examples: str. The examples' fingerprint.
        exclude_seen, ranks: as in `rank_targets`, and what it returned.
        seconds: float. How long the training took.
        curves: dict of lists of floats with one value an epoch: the Keras history.
        versions: dict of str: keras, its backend, keras_negrec.
        sampled: what `evaluate_sampled` returned, or None.

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
    def path_in(folder, identity: tuple, sampled: bool = False) -> Path:
        """Where the run is stored: one that differs in more than its seed has another folder."""
        label, settings, seed, *examples = identity
        parts = [label, settings, *examples, *(["sampled"] if sampled else [])]
        slug = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")[:60]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
        return Path(folder) / f"{slug}-{digest}".strip("-") / f"seed-{seed}.npz"

    def save(self, path) -> None:
        """Writes the file whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        header = json.dumps({name: value for name, value in vars(self).items() if name != "ranks"})
        with atomic_write(path) as partial, open(partial, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, header=np.array(header), **self.ranks)

    @classmethod
    def load(cls, path) -> ComparisonRun:
        """Reads what `save` wrote; a `ValueError` for a file that is damaged or something else."""
        try:
            with zipfile.ZipFile(path) as file:

                def array(name: str) -> np.ndarray:
                    # Read to its end, where its checksum is compared; `np.load` stops before.
                    content = io.BytesIO(file.read(f"{name}.npy"))
                    return np.lib.format.read_array(content, allow_pickle=False)

                ranks = {name: array(name) for name in ("target", "skip_target", "preference")}
                run = cls(**json.loads(str(array("header"))), ranks=ranks)
            shapes = [values.shape for values in ranks.values()]
            if len(set(shapes)) > 1 or len(shapes[0]) != 1:
                raise ValueError(f"all ranks must have one shape, (num_examples,), not {shapes}")
            return run
        except FileNotFoundError:
            raise
        except Exception as error:  # Of a damaged archive, almost any.
            raise ValueError(
                f"{path} is not a stored run, or damaged: {error}. Delete it to have the run "
                "done again."
            ) from error


def compare(
    train: Callable[[dict, int], Scorer],
    configurations: Mapping[str, dict],
    examples: Examples,
    *,
    folder,
    seeds: Sequence[int] = (0, 1, 2),
    scorers: Mapping[str, Scorer] | None = None,
    k: Sequence[int] = (1, 5, 10, 20),
    exclude_seen: bool | None = None,
    sampled: bool = False,
    batch_size: int = 1024,
    verbose: bool = True,
) -> Comparison:
    """Trains each configuration with each seed and compares them on held-out examples.

    Each run is stored in `folder` as it ends, in a file that is written whole or not at all, and
    a stored run is never done again: after an interruption, call again. The runs are done seed
    by seed over all configurations, so that an interrupted comparison has whole seeds.

    A run is known by its label, settings, seed, `exclude_seen` and examples. What else `train`
    does is not seen: put all that matters, such as the number of epochs, into the settings.

    Args:
        train: function of settings and seed, which Keras has been set to, that returns a trained
            model. The training curves of a Keras model are stored with its run.
        configurations: dict from label to settings, a JSON-able dict that `train` understands.
        examples: `Examples`, as a rule `split.test`.
        folder: path. Where finished runs are stored.
        seeds: ints, 0 or above. One seed gives no spread and no test over seeds.
        scorers: dict from label to objects with `num_items` and `score` that are compared as they
            are, such as `Popularity`. They have no seeds, and nothing of them is stored.
        k, exclude_seen, batch_size: as in `evaluate`.
        sampled: bool. Whether the metrics of `evaluate_sampled` are taken too, for
            `Comparison.sampled_table`. Runs without them are done again.
        verbose: bool. Whether to print when a run starts and ends.

    Raises:
        ValueError: no configurations, examples or seeds; seeds or labels that come twice; settings
            that are not JSON-able; a stored run that cannot be read.

    Example:

    >>> sessions = keras_negrec.data.Sessions.from_lists([[1, 2, 3, 4]] * 8)
    >>> split = keras_negrec.data.leave_one_out(sessions)
    >>> def train(settings, seed):
    ...     model = keras_negrec.build_model("sasrec", num_items=4, **settings)
    ...     model.fit(model.training_dataset(split.train, seed=seed), verbose=0)
    ...     return model
    >>> both = {"narrow": {"embedding_dim": 2}, "wide": {"embedding_dim": 8}}
    >>> comparison = keras_negrec.compare(
    ...     train, both, split.test, folder="runs", seeds=(0, 1), verbose=False
    ... )
    >>> comparison.table().loc[("wide", "hr@10"), "mean"]
    np.float64(1.0)
    """
    import keras_negrec  # not yet whole while this file is imported

    scorers = scorers or {}
    settings = {label: _plain(label, value) for label, value in configurations.items()}
    seeds = list(seeds)
    whole = [isinstance(seed, (int, np.integer)) and seed >= 0 for seed in seeds]
    if not all(whole) or not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must be integers from 0, each once. Received: {seeds=}")
    if not settings and not scorers:
        raise ValueError("`configurations` must hold at least one. Received: none.")
    if twice := [label for label in settings if label in scorers]:
        raise ValueError(f"A label stands for one configuration or scorer. Received twice: {twice}")
    check_examples(examples)
    if not check_positive_ints("k", k):
        raise ValueError(f"`k` must hold at least one cut-off. Received: k={k!r}")
    if exclude_seen is not None:
        examples = examples.replace(exclude_seen=exclude_seen)
    of_examples = (examples.fingerprint(), examples.exclude_seen)
    versions = {"keras": keras.__version__, "backend": keras.config.backend()}
    versions["keras_negrec"] = keras_negrec.__version__

    def run_of(model, label, settings=None, seed=None, **training):
        ranks = rank_targets(model, examples, batch_size=batch_size)
        among_sample = evaluate_sampled(model, examples, k=k) if sampled else None
        known = {"ranks": ranks, "sampled": among_sample, **training}
        excludes = excludes_seen(model, examples)
        return ComparisonRun(label, settings, seed, of_examples[0], excludes, **known)

    runs: dict[str, list[ComparisonRun]] = {label: [] for label in settings}
    for number, (seed, label) in enumerate(product(map(int, seeds), settings)):
        title = f"[{number + 1}/{len(seeds) * len(settings)}] {label}, seed {seed}"
        identity = (label, settings[label], seed, *of_examples)
        path = ComparisonRun.path_in(folder, identity, sampled)
        if path.exists():
            run, done = ComparisonRun.load(path), "stored"
            # What was asked for; else it is the model's, which nobody has yet.
            excludes = None if examples.exclude_seen is None else run.exclude_seen
            of_run = (run.examples, excludes, len(run.ranks["target"]))
            stored = (run.label, run.settings, run.seed, *of_run, run.sampled is not None)
            if stored != (expected := (*identity, len(examples), sampled)):
                raise ValueError(
                    f"{path} holds another run than its place says: {stored} in place of "
                    f"{expected}. Delete it to have the run done again."
                )
        else:
            if verbose:
                print(f"{title}: training", flush=True)
            keras.utils.set_random_seed(seed)
            started = time.monotonic()
            model = train(copy.deepcopy(settings[label]), seed)
            seconds = time.monotonic() - started
            history = getattr(getattr(model, "history", None), "history", {})
            curves = {name: [float(each) for each in values] for name, values in history.items()}
            training = {"seconds": seconds, "curves": curves, "versions": versions}
            run = run_of(model, label, settings[label], seed, **training)
            run.save(path)
            done = f"trained in {seconds:.0f} s"
            if isinstance(model, keras.Model):
                del model
                gc.collect()  # models have reference cycles, and hold a device's memory
        runs[label].append(run)
        if verbose:
            print(f"{title}: {done}", flush=True)
    for label, scorer in scorers.items():
        runs[label] = [run_of(scorer, label)]
    return Comparison(runs, examples, k=k)


def _plain(label: str, settings) -> dict:
    """The settings as they come back from JSON."""
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"Labels must be strings that are not empty. Received: {label!r}")
    try:
        return json.loads(json.dumps(dict(settings), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "The settings of a configuration must be a JSON-able dict. Received: "
            f"{label!r}: {settings!r} ({error})"
        ) from error
