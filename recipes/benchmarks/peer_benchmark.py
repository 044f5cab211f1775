"""How fast our encoders train against those of RecTools (PyTorch), and how good they are.

Both train on the same events, the newest of each session up to the length of the model, with the
same shapes, the softmax over the whole catalogue, and the same number of epochs. They take turns,
each in a process of its own; the figures are medians over the rounds. Afterwards both recommend for
the item that was held out last.

RecTools runs in a Python of its own, because it wants older packages:
    python3 -m venv rectools && rectools/bin/pip install 'rectools[torch]==0.19.0'
Data: MovieLens, as for recipes/movielens.py.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parents[1]))  # the recipes
import quiet as quiet  # first: it loads Keras without the lines that TensorFlow writes

# isort: split

import keras_negrec
import movielens
from progress import doing
from quiet import keras

PEER = Path(__file__).with_name("rectools_peer.py")


def parse_args() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--data", type=Path, required=True, help="the ratings file")
    options.add_argument("--peer-python", required=True, help="a Python that has RecTools")
    options.add_argument(
        "--model",
        nargs="+",
        choices=["sasrec", "bert4rec", "hstu", "flat_sasrec"],
        default=["sasrec"],
        help="flat_sasrec: SASRec beside FlatSASRecNet of RecTools' fast_transformers",
    )
    options.add_argument("--rounds", type=int, default=6, help="the first of which is not timed")
    options.add_argument("--epochs", type=int, default=10, help="of a round")
    options.add_argument("--embedding-dim", type=int, default=64)
    options.add_argument("--num-layers", type=int, default=2)
    options.add_argument("--num-heads", type=int, default=2)
    options.add_argument("--max-length", type=int, default=50)
    options.add_argument("--batch-size", type=int, default=128)
    options.add_argument("--dropout", type=float, default=0.2)
    options.add_argument("--learning-rate", type=float, default=1e-3)
    options.add_argument("--mask-probability", type=float, default=0.2, help="of BERT4Rec")
    options.add_argument("--seed", type=int, nargs="+", default=[0])
    options.add_argument("--out", type=Path, help="a JSON file for the figures")
    return options.parse_args()


class Peer:
    """RecTools in its own process."""

    def __init__(self, python: str, settings: dict):
        self.process = subprocess.Popen(
            [python, str(PEER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._tell(settings)

    def _tell(self, message: dict) -> None:
        print(json.dumps(message), file=self.process.stdin, flush=True)

    def ask(self, message: dict):
        self._tell(message)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{PEER.name} ended with {self.process.wait()}; run it by hand")
        return json.loads(answer)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def compare(args, name: str, seed: int, split, train, vocabulary) -> dict:
    shapes = ("embedding_dim", "num_layers", "num_heads", "max_length", "dropout", "learning_rate")
    settings = {key: getattr(args, key) for key in shapes}
    own, options = {"intermediate_dim": args.embedding_dim}, {}  # as in RecTools and in the paper
    if name == "hstu":
        own = {}  # It has no feed-forward network.
    if name == "flat_sasrec":
        own = {}  # both: 4 times the width
    if name == "bert4rec":
        own = {"mask_probability": args.mask_probability}  # both: 4 times the width
        options = {"mask_prob": args.mask_probability}
    keras.utils.set_random_seed(seed)
    encoder = name.removeprefix("flat_")
    model = keras_negrec.build_model(
        encoder, vocabulary=vocabulary, fused_softmax=True, **settings, **own
    )
    dataset = model.training_dataset(train, batch_size=args.batch_size, seed=seed)

    def train_own(epochs):
        started = time.perf_counter()
        model.fit(dataset, epochs=epochs, shuffle=False, verbose=0)
        return time.perf_counter() - started

    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "events.csv"
        pd.DataFrame(
            {
                "user_id": train.rows(),
                "item_id": train.item_ids,
                "position": train.positions(),
                "timestamp": train.columns["timestamps"],
                "request_timestamp": train.columns["request_timestamps"],
            }
        ).to_csv(events, index=False)
        peer = Peer(
            args.peer_python,
            {
                "model": name,
                "events": str(events),
                "seed": seed,
                "batch_size": args.batch_size,
                "options": options,
                **settings,
            },
        )
        seconds = {"keras_negrec": [], "rectools": []}
        for number in range(args.rounds):
            with doing(f"{name}, seed {seed}, round {number + 1} of {args.rounds}"):
                seconds["keras_negrec"].append(train_own(args.epochs) / args.epochs)
                seconds["rectools"].append(peer.ask({"epochs": args.epochs}) / args.epochs)
        best = peer.ask({"recommend": 10})
        peer.close()
    # RecTools leaves out what it was trained on; we the same.
    examples = keras_negrec.data.Examples(train, split.test.targets, split.test.skip_targets)
    figures = keras_negrec.evaluate(model, examples, k=[10])
    places = [
        best[str(row)].index(target) if target in best.get(str(row), []) else np.inf
        for row, target in enumerate(split.test.targets.tolist())
    ]
    hits = np.isfinite(places)
    gains = np.where(hits, 1 / np.log2(np.asarray(places) + 2), 0)
    return {
        "model": name,
        "seed": seed,
        "seconds_an_epoch": {key: values[1:] for key, values in seconds.items()},
        "keras_negrec": {key: figures[key] for key in ("hr@10", "ndcg@10")},
        "rectools": {"hr@10": float(hits.mean()), "ndcg@10": float(gains.mean())},
    }


def main():
    args = parse_args()
    split, vocabulary = movielens.load(args.data, positive_from=1)
    sessions = split.before_test()
    train = sessions.between(sessions.lengths - args.max_length, sessions.lengths)
    print(split.summary(), f"catalogue: {len(vocabulary)} items", sep="; ", flush=True)
    results = [
        compare(args, name, seed, split, train, vocabulary)
        for name in args.model
        for seed in args.seed
    ]
    table = Table(title=f"{len(train)} sessions an epoch, {args.rounds * args.epochs} epochs")
    for column in ("", "seed", "s an epoch", "sessions/s", "ratio", "HR@10", "NDCG@10"):
        table.add_column(column, justify="right")
    for result in results:
        medians = {key: np.median(value) for key, value in result["seconds_an_epoch"].items()}
        for key in ("rectools", "keras_negrec"):
            table.add_row(
                f"{key} {result['model']}",
                str(result["seed"]),
                f"{medians[key]:.3f}",
                f"{len(train) / medians[key]:.0f}",
                f"{medians['rectools'] / medians[key]:.2f}",
                *(f"{result[key][figure]:.4f}" for figure in ("hr@10", "ndcg@10")),
            )
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=1), "utf-8")


if __name__ == "__main__":
    main()
