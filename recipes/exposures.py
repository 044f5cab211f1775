"""Exposure ranking on KuaiRand-Pure: what each user was shown in the test period, best first.

Nothing but these exposures is ranked, each user's own after what happened before. A model of this
package ranks by its keep term. Beside it: the share of exposures in which an item was kept, and a
factorization machine of user, item and what is known of the video, by cross-entropy and by BPR.

First each trains on the history of all users, and the epoch with the highest GAUC on the exposures
of the validation period is chosen; then it trains anew on both, for so many epochs, and meets the
test period once.

Data: https://kuairand.com (Gao et al., CIKM 2022), as `recipes/kuairand.py` takes it; and
optionally its table of video features.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

import quiet as quiet  # first: it loads Keras without the lines that TensorFlow writes

# isort: split
import keras_negrec as kn
from keras_negrec import data
from keras_negrec.evaluation import evaluate_exposures, exposure_metrics
from progress import doing, say
from quiet import keras

SHORT = keras.initializers.RandomNormal(stddev=0.02)
COLUMNS = ("exposure_auc", "gauc", "exposure_ndcg@5", "calibration_error")


class Exposures(NamedTuple):
    """All events of each user, and how many of the first ones are known."""

    sessions: data.Sessions
    cuts: np.ndarray

    @property
    def known(self) -> data.Sessions:
        return self.sessions.between(0, self.cuts, np.arange(len(self.sessions)))

    @property
    def shown(self) -> data.Sessions:
        rows = np.arange(len(self.sessions))
        return self.sessions.between(self.cuts, self.sessions.lengths, rows)


Measure = Callable[[Exposures], dict]


def load(path: Path) -> tuple[data.Vocabulary, dict[str, Exposures]]:
    """The exposures of the periods `"validation"` and `"test"`, of users with a history."""
    with doing(f"reading {path}"):
        events = data.read_kuairand(path)
    vocabulary = data.Vocabulary.from_items(events["item"])
    period_of = events["split"].astype(str).map({"history": 0, "validation": 1, "test": 2})
    found = {}
    for number, period in enumerate(("validation", "test"), start=1):
        until = events[period_of <= number]
        sessions = data.Sessions.from_events(until, vocabulary)
        is_known = period_of[period_of <= number] < number
        known = is_known.groupby(until["session"]).sum().loc[sessions.keys].to_numpy("int64")
        rows = np.flatnonzero(known > 0)
        found[period] = Exposures(sessions.take(rows), known[rows])
    return vocabulary, found


def video_features(path: Path, vocabulary: data.Vocabulary) -> np.ndarray:
    """What is known of each video as 0 and 1: `(num_items, num_features)`."""
    table = pd.read_csv(path).set_index("video_id").reindex(vocabulary.items)
    parts = [table["tag"].fillna("none").astype(str).str.get_dummies(",")]
    parts.append(pd.get_dummies(pd.qcut(table["video_duration"], 20)))
    for name in ("author_id", "music_id", "video_type", "upload_type"):
        often = table[name].map(table[name].value_counts()) >= 5
        parts.append(pd.get_dummies(table[name].where(often, -1).astype(str)))
    return np.concatenate([part.to_numpy("float32") for part in parts], axis=1)


class FactorizationMachine(keras.layers.Layer):
    """Biases, and products of each two of user, item and the item's features (Rendle, 2010)."""

    def __init__(self, num_users: int, num_items: int, features: np.ndarray | None, dim: int = 16):
        super().__init__()
        width = 1 + dim
        self.users = keras.layers.Embedding(num_users, width, SHORT)
        self.items = keras.layers.Embedding(num_items, width, SHORT)
        if features is not None:
            fixed = keras.initializers.Constant(features)
            self.features = keras.layers.Embedding(*features.shape, fixed, trainable=False)
            self.kernel = self.add_weight((features.shape[1], width), SHORT, name="kernel")
        else:
            self.features = None

    def call(self, users, items):
        parts = [self.users(users), self.items(items)]
        total, squares = sum(parts), sum(part**2 for part in parts)
        if self.features is not None:
            known = self.features(items)
            total = total + keras.ops.matmul(known, self.kernel)
            squares = squares + keras.ops.matmul(known**2, self.kernel**2)
        pairs = keras.ops.sum(total[..., 1:] ** 2 - squares[..., 1:], axis=-1) / 2
        return total[..., 0] + pairs


def kept_share(known: data.Sessions, num_items: int, seed: int) -> Iterator[Measure]:
    """How often an item was kept of the times it was shown, and 20 times as often as all are."""
    items, kept = known.item_ids - 1, known.feedback > 0
    counts = np.bincount(items, minlength=num_items)
    share = (np.bincount(items, kept, num_items) + 20 * kept.mean()) / (counts + 20)
    yield by_function(lambda rows, items: np.log(share[items] / (1 - share[items])))


def factorization_machine(features: np.ndarray | None, *, by_pairs: bool):
    """Trains one by cross-entropy of what was kept, or on pairs of one user by BPR."""

    def train(known: data.Sessions, num_items: int, seed: int) -> Iterator[Measure]:
        random = np.random.default_rng(seed)
        machine = FactorizationMachine(len(known), num_items, features)
        user, item, other = (keras.Input((), dtype="int32") for _ in range(3))
        logit = machine(user, item)
        scorer = keras.Model([user, item], logit)
        model = keras.Model([user, item, other], logit - machine(user, other))
        model = model if by_pairs else scorer
        model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
        rows, items, kept = known.rows(), known.item_ids - 1, known.feedback > 0
        while True:
            if by_pairs:
                x = [each.astype("int32") for each in pairs(rows, items, kept, random)]
                y = np.ones(len(x[0]), "float32")
            else:
                x, y = [rows.astype("int32"), items.astype("int32")], kept.astype("float32")
            model.fit(x, y, batch_size=1024, verbose=0)
            yield by_function(
                lambda rows, items: scorer.predict(
                    [rows.astype("int32"), items.astype("int32")], batch_size=8192, verbose=0
                ),
                has_odds=not by_pairs,
            )

    return train


def pairs(rows, items, kept, random):
    """Of each kept event the user, the item, and an item that the user skipped."""
    skipped = np.flatnonzero(~kept)
    starts = np.searchsorted(rows[skipped], np.arange(rows.max() + 2))
    counts = np.diff(starts)[rows]
    chosen = np.flatnonzero(kept & (counts > 0))
    drawn = starts[rows[chosen]] + (random.random(len(chosen)) * counts[chosen]).astype(int)
    return rows[chosen], items[chosen], items[skipped[drawn]]


def by_function(logits: Callable, *, has_odds: bool = True) -> Measure:
    """The metrics of log odds, or other scores, of rows and items."""

    def measure(exposures: Exposures) -> dict:
        shown = exposures.shown
        scores = np.asarray(logits(shown.rows(), shown.item_ids - 1)).ravel()
        return exposure_metrics(scores, shown.feedback > 0, shown.rows(), has_odds=has_odds)

    return measure


def keep_term(args, vocabulary: data.Vocabulary, features: np.ndarray | None = None, **term):
    """A model of this package, which ranks by its keep term."""

    def train(known: data.Sessions, num_items: int, seed: int) -> Iterator[Measure]:
        model = kn.build_model(
            args.model,
            vocabulary=vocabulary,
            item_features=features,
            feedback_inputs=True,
            fused_softmax=True,
            num_layers=1,
            feedback=[kn.models.feedback.Keep(args.negative_weight, **term)],
        )
        dataset = model.training_dataset(known, batch_size=64, seed=seed)
        while True:
            model.fit(dataset, shuffle=False, verbose=0)
            yield lambda exposures: evaluate_exposures(model, *exposures, term="keep")

    return train


def main():
    options = argparse.ArgumentParser(description=__doc__)
    add = options.add_argument
    add("--data", type=Path, required=True, help="the labelled Parquet file")
    add("--features", type=Path, help="the CSV file of video features")
    add("--model", default="sasrec", help="encoder (sasrec)")
    add("--negative-weight", type=float, default=10, help="of the keep loss (10)")
    add("--context-dim", type=int, default=8, help="of the keep term with context (8)")
    add("--horizon", type=int, default=49, help="of the keep term with context (49)")
    add("--epochs", type=int, default=8, help="the most (8)")
    add("--patience", type=int, default=2, help="epochs without a better GAUC (2)")
    add("--seed", type=int, nargs="+", default=[0], help="one training for each")
    add("--only", nargs="+", help="labels, to leave out the others")
    add("--out", type=Path, help="write the figures to this JSON file")
    args = options.parse_args()
    vocabulary, periods = load(args.data)
    features = video_features(args.features, vocabulary) if args.features else None
    context = {"context_dim": args.context_dim, "horizon": args.horizon}
    contenders = {
        "kept share": kept_share,
        "factorization machine": factorization_machine(features, by_pairs=False),
        "factorization machine, BPR": factorization_machine(features, by_pairs=True),
        f"{args.model} + keep": keep_term(args, vocabulary),
        f"{args.model} + keep with context": keep_term(args, vocabulary, **context),
    }
    if features is not None:
        label = f"{args.model} + keep with context, with features"
        contenders[label] = keep_term(args, vocabulary, features, **context)
    found: dict[str, list] = {}
    for label, train in contenders.items():
        for seed in args.seed if not args.only or label in args.only else ():
            with doing(f"{label}, seed {seed}"):
                keras.utils.set_random_seed(seed)
                epochs = best_epochs(train, periods["validation"], len(vocabulary), seed, args)
                keras.utils.set_random_seed(seed)
                trained = train(periods["test"].known, len(vocabulary), seed)
                measure = [next(trained) for _ in range(epochs)][-1]
                metrics = measure(periods["test"])
            found.setdefault(label, []).append({"epochs": epochs, **metrics})
            figures = ", ".join(
                f"{name} {metrics[name]:.4f}" for name in COLUMNS if name in metrics
            )
            say(f"{label}, seed {seed}, {epochs} epochs: {figures}")
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n")


def best_epochs(train, exposures: Exposures, num_items: int, seed: int, args) -> int:
    """How many epochs have the highest GAUC in the validation period."""
    values: list[float] = []
    for measure in train(exposures.known, num_items, seed):
        values.append(measure(exposures)["gauc"])
        best = int(np.argmax(values))
        if len(values) - 1 - best >= args.patience or len(values) == args.epochs:
            return best + 1
    return len(values)


if __name__ == "__main__":
    main()
