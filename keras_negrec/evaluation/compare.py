"""Models, losses and seeds on one data set."""

from __future__ import annotations

import copy
import gc
import importlib
import json
import numbers
import time
from collections.abc import Callable, Mapping, Sequence

import keras

from keras_negrec.argument_checks import check_positive_ints
from keras_negrec.data import Examples
from keras_negrec.evaluation.comparison import Comparison
from keras_negrec.evaluation.comparison_run import ComparisonRun
from keras_negrec.evaluation.evaluate import check_examples
from keras_negrec.evaluation.evaluate_sampled import evaluate_sampled
from keras_negrec.evaluation.rank_targets import rank_targets
from keras_negrec.evaluation.scorer import Scorer


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

    A run is known by its label, settings, seed and `exclude_seen`, and by the examples. Whatever
    differs in one of them is a run of its own, in a folder of its own, and old ones are kept. What
    `train` does besides its settings is not seen: put all that matters, the number of epochs or
    the fingerprint of the training data, into the settings.

    Args:
        train: function of the settings and the seed that returns a trained model. Keras's seed is
            set before each call. The training curves of a Keras model are stored with its run.
        configurations: dict from label to settings, a JSON-able dict that `train` understands.
        examples: `Examples`, as a rule `split.test`.
        folder: path. Where finished runs are stored.
        seeds: ints, 0 or above. One seed gives no spread and no test over seeds.
        scorers: dict from label to objects with `num_items` and `score` that are compared as they
            are, such as `Popularity`. They have no seeds, and nothing of them is stored.
        k: ints. The cut-offs K of the table.
        exclude_seen: bool or None. As in `evaluate`.
        sampled: bool. Whether the metrics of `evaluate_sampled` are taken too, for
            `Comparison.sampled_table`. Runs without them are done again.
        batch_size: int. The most histories that are scored at once.
        verbose: bool. Whether to print when a run starts and ends.

    Returns:
        A `Comparison`.

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
    >>> comparison = keras_negrec.compare(
    ...     train,
    ...     {"narrow": {"embedding_dim": 2}, "wide": {"embedding_dim": 8}},
    ...     split.test,
    ...     folder="runs",
    ...     seeds=(0, 1),
    ...     verbose=False,
    ... )
    >>> comparison.table().loc[("wide", "hr@10"), "mean"]
    np.float64(1.0)
    """
    scorers = dict(scorers or {})
    settings = {label: _plain(label, value) for label, value in configurations.items()}
    seeds = _check_seeds(seeds)
    if not settings and not scorers:
        raise ValueError("`configurations` must hold at least one. Received: none.")
    twice = sorted(set(settings) & set(scorers))
    if twice:
        raise ValueError(
            "A label stands for one configuration or one scorer. Received both under: "
            f"{', '.join(map(repr, twice))}"
        )
    check_examples(examples)
    if not check_positive_ints("k", k):
        raise ValueError(f"`k` must hold at least one cut-off. Received: k={k!r}")
    if exclude_seen is not None:
        examples = examples.replace(exclude_seen=exclude_seen)
    of_examples = (examples.fingerprint(), examples.exclude_seen)

    def run_of(model, label, settings, seed, **training):
        ranks = rank_targets(model, examples, batch_size=batch_size)
        among_sample = evaluate_sampled(model, examples, k=k) if sampled else None
        known = {"ranks": ranks, "sampled": among_sample, **training}
        return ComparisonRun(label, settings, seed, *of_examples, **known)

    def trained(label, seed):
        keras.utils.set_random_seed(seed)
        started = time.monotonic()
        model = train(copy.deepcopy(settings[label]), seed)
        training = {"seconds": time.monotonic() - started, "curves": _curves(model)}
        run = run_of(model, label, settings[label], seed, versions=_versions(), **training)
        if isinstance(model, keras.Model):
            del model
            gc.collect()  # models have reference cycles, and hold a device's memory
        return run

    runs: dict[str, list[ComparisonRun]] = {label: [] for label in settings}
    for number, (seed, label) in enumerate((seed, label) for seed in seeds for label in settings):
        title = f"[{number + 1}/{len(seeds) * len(settings)}] {label}, seed {seed}"
        identity = (label, settings[label], seed, *of_examples)
        path = ComparisonRun.path_in(folder, *identity, sampled)
        if path.exists():
            run, done = ComparisonRun.load(path), "stored"
            _check_identity(run, identity, path)
        else:
            if verbose:
                print(f"{title}: training", flush=True)
            run = trained(label, seed)
            run.save(path)
            done = f"trained in {run.seconds:.0f} s"
        runs[label].append(run)
        if verbose:
            print(f"{title}: {done}", flush=True)
    for label, scorer in scorers.items():
        runs[label] = [run_of(scorer, label, None, None)]
    return Comparison(runs, examples, k=k)


def _plain(label: str, settings) -> dict:
    """The settings as they come back from JSON."""
    if not isinstance(label, str) or not label.strip():
        raise ValueError(f"Labels must be strings that are not empty. Received: {label!r}")
    received = f"Received: {label!r}: {settings!r}"
    try:
        plain = json.loads(json.dumps(settings, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The settings of a configuration must be JSON-able. {received} ({error})"
        ) from error
    if not isinstance(plain, dict):
        raise ValueError(f"The settings of a configuration must be a dict. {received}")
    return plain


def _check_seeds(seeds) -> list[int]:
    seeds = list(seeds)
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
            raise ValueError(f"`seeds` must be integers from 0. Received: seeds={seeds!r}")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must be there, each once. Received: seeds={seeds!r}")
    return [int(seed) for seed in seeds]


def _check_identity(run: ComparisonRun, identity: tuple, path) -> None:
    stored = (run.label, run.settings, run.seed, run.examples, run.exclude_seen)
    if stored != identity:
        raise ValueError(
            f"{path} holds another run than its place says: {stored} in place of {identity}. "
            "Delete it to have the run done again."
        )


def _curves(model) -> dict[str, list[float]]:
    history = getattr(model, "history", None)
    if not isinstance(history, keras.callbacks.History):
        return {}
    return {name: [float(value) for value in values] for name, values in history.history.items()}


def _versions() -> dict[str, str]:
    keras_negrec = importlib.import_module("keras_negrec")  # not yet whole while this is imported
    return {
        "keras": keras.__version__,
        "backend": keras.config.backend(),
        "keras_negrec": keras_negrec.__version__,
    }
