"""Items that nobody has played yet, ranked among all items by what is known of them.

A tenth of the items, drawn at random, is taken out of all that trains. The last event of each user
with such an item is a target, ranked after what the user had before it. One half of these items is
for choosing settings, the other for the figures. Beside the model: the items most similar to the
user's newest ones, by the cosine of their features, rare ones weighing more; and all of these
together, with weights that the first half chose.

Data: plain sequences (`--format sequences`) or MovieLens; and a table of items.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import quiet as quiet  # first: it loads Keras without the lines that TensorFlow writes

# isort: split
import experiment
import item_columns
import keras_negrec as kn
from keras_negrec import data
from progress import doing, say
from quiet import keras
from training import Progress

READERS = {"sequences": data.read_sequences, "movielens": data.read_movielens}


class SimilarItems:
    """Scores items by the cosine of their features with the mean of the `newest` ones'."""

    def __init__(self, features: np.ndarray, newest: int):
        share = np.maximum((features != 0).mean(axis=0), 1 / len(features))
        weighted = features * np.log(1 / share)
        lengths = np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-9)
        self.vectors = (weighted / lengths).astype("float32")
        self.num_items, self.newest = len(features), newest

    def score(self, histories: data.Sessions) -> np.ndarray:
        padded = np.concatenate([np.zeros_like(self.vectors[:1]), self.vectors])
        ids = histories.padded(self.newest)["item_ids"]
        return padded[ids].mean(axis=1) @ self.vectors.T


def examples(sessions: data.Sessions, is_target: np.ndarray, is_cold: np.ndarray) -> data.Examples:
    """The last event of each row with a target item, after the events before it that train."""
    rows, positions = sessions.rows(), sessions.positions()
    found = np.flatnonzero(is_target[sessions.item_ids])
    last = found[np.append(rows[found][1:] != rows[found][:-1], True)] if len(found) else found
    histories = sessions.between(np.zeros(len(last), int), positions[last], rows[last])
    histories = without(histories, is_cold)
    kept = np.flatnonzero(histories.lengths > 0)
    targets = sessions.item_ids[last][kept]
    return data.Examples(histories.take(kept), targets, np.zeros_like(targets))


def without(sessions: data.Sessions, is_cold: np.ndarray) -> data.Sessions:
    stays = ~is_cold[sessions.item_ids]
    columns = {name: values[stays] for name, values in sessions.columns.items()}
    splits = np.append(0, np.cumsum(stays))[sessions.row_splits]
    return data.Sessions(columns, splits, sessions.keys)


def main():
    options = argparse.ArgumentParser(description=__doc__, usage="%(prog)s [options]")
    item_columns.add_options(options)
    add = experiment.adder(options)
    add("--data", Path, "the log", required=True)
    add("--format", "sequences", "of the log", choices=READERS)
    add("--feature-scale", 1.0, "by which features are multiplied")
    add("--model-arguments", experiment.json_object, "of build_model, as JSON", metavar="{...}")
    add("--batch-size", 64, "sessions of a step")
    add("--epochs", 10, "of the training")
    add("--seed", 0, "of the items drawn, and of the training")
    args = options.parse_args()
    item_columns.check(options, args)
    if args.items is None:
        options.error("--items is needed")
    with doing(f"reading {args.data}"):
        events = READERS[args.format](args.data)
        events["feedback"] = 1
        vocabulary = data.Vocabulary.from_items(events["item"])
        sessions = data.Sessions.from_events(events, vocabulary)
    _, features = item_columns.features(args, vocabulary, max_categories=2000)
    drawn = np.random.default_rng(args.seed).permutation(len(vocabulary)) + 1
    held_out = len(vocabulary) // 10
    is_cold = np.isin(np.arange(len(vocabulary) + 1), drawn[:held_out])
    known = without(sessions, is_cold)
    known = known.take(np.flatnonzero(known.lengths > 2))
    train = known.between(np.zeros(len(known), int), known.lengths - 1)
    asked = {"known items": data.Examples.after(known, known.lengths - 1)}
    for label, half in (("choosing", drawn[: held_out // 2]), ("cold", drawn[held_out // 2 :])):
        is_target = np.isin(np.arange(len(is_cold)), half[is_cold[half]])
        asked[label] = examples(sessions, is_target, is_cold)
    say("examples: " + ", ".join(f"{label} {len(each)}" for label, each in asked.items()))
    keras.utils.set_random_seed(args.seed)
    model = kn.build_model(
        **{"encoder": "sasrec", "fused_softmax": True} | (args.model_arguments or {}),
        vocabulary=vocabulary,
        item_features=args.feature_scale * features,
    )
    progress = Progress("sasrec with features")
    with doing(progress.line):
        model.fit(
            model.training_dataset(train, batch_size=args.batch_size, seed=args.seed),
            epochs=args.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[progress],
        )
    scorers = {"sasrec with features": model}
    scorers |= {f"similar to the newest {n}": SimilarItems(features, n) for n in (1, 3, 10)}

    def show(label: str, scorer) -> None:
        with doing(f"evaluating {label}"):
            figures = {name: kn.evaluate(scorer, each)["hr@10"] for name, each in asked.items()}
        say(f"{label}: " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items()))

    say("HR@10 among all items:")
    for label, scorer in scorers.items():
        show(label, scorer)
    with doing("choosing the weights of all together"):
        together = kn.models.WeightedHybrid.chosen(
            list(scorers.values()),
            asked["choosing"],
            monitor="hr@10",
            weights=(0, 0.3, 0.6, 1, 2, 4),
        )
    show("all together", together)
    weights = dict(zip(scorers, together.weights, strict=True))
    say("weights: " + ", ".join(f"{label} {weight:g}" for label, weight in weights.items()))


if __name__ == "__main__":
    main()
