"""How long a training step takes, and what memory, by the size of the catalogue.

SASRec with a sampled softmax on random sessions, with Adam and with LazyAdam. The models take turns
in one process, and the figures are medians over the rounds. `KERAS_BACKEND` picks the backend.
The peak of memory is that of the process: ask for one catalogue and one optimizer to know theirs.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import keras_negrec
from keras_negrec.data import Sessions

OPTIMIZERS = {"Adam": keras.optimizers.Adam, "LazyAdam": keras_negrec.optimizers.LazyAdam}
WARM_UP = 5  # steps


class StepTimes(keras.callbacks.Callback):
    """When each training step ended."""

    def on_train_begin(self, logs=None):
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())

    def seconds_a_step(self) -> float:
        return (self.ends[-1] - self.ends[WARM_UP]) / (len(self.ends) - 1 - WARM_UP)


def parse_args() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options.add_argument("--items", type=int, nargs="+", default=[10_000, 1_000_000])
    options.add_argument("--optimizer", nargs="+", choices=OPTIMIZERS, default=["LazyAdam"])
    options.add_argument(
        "--draw", choices=["zipf", "uniform"], default="zipf", help="how items are drawn"
    )
    options.add_argument("--num-negatives", type=int, default=1000)
    options.add_argument("--embedding-dim", type=int, default=128)
    options.add_argument("--num-layers", type=int, default=2)
    options.add_argument("--num-heads", type=int, default=2)
    options.add_argument("--max-length", type=int, default=20)
    options.add_argument("--batch-size", type=int, default=64)
    options.add_argument("--steps", type=int, default=40, help="of a round")
    options.add_argument("--rounds", type=int, default=7, help="the first of which is not counted")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, help="a JSON file for the figures")
    args = options.parse_args()
    if args.steps < WARM_UP + 2 or args.rounds < 2:
        options.error(f"--steps must be at least {WARM_UP + 2} and --rounds at least 2")
    return args


def random_sessions(args, num_items: int) -> Sessions:
    """As many full rows as a round has steps; by a Zipf law, or each item alike."""
    random = np.random.default_rng(args.seed)
    drawn = random.random((args.steps * args.batch_size, args.max_length + 1))
    if args.draw == "zipf":
        items = np.floor(np.exp(drawn * np.log(num_items + 1)))
    else:
        items = 1 + np.floor(drawn * num_items)
    return Sessions.from_lists(np.clip(items, 1, num_items).astype("int32").tolist())


def main():
    args = parse_args()
    cases = []
    for num_items in args.items:
        for name in args.optimizer:
            keras.utils.set_random_seed(args.seed)
            model = keras_negrec.build_model(
                "sasrec",
                num_items=num_items,
                num_negatives=args.num_negatives,
                embedding_dim=args.embedding_dim,
                num_layers=args.num_layers,
                num_heads=args.num_heads,
                max_length=args.max_length,
            )
            model.optimizer = OPTIMIZERS[name](1e-3)
            dataset = model.training_dataset(
                random_sessions(args, num_items), batch_size=args.batch_size, seed=args.seed
            )
            cases.append((num_items, name, model, dataset, []))
    for round_number in range(args.rounds):
        for *_, model, dataset, seconds in cases:
            times = StepTimes()
            model.fit(dataset, shuffle=False, verbose=0, callbacks=[times])
            if round_number:
                seconds.append(times.seconds_a_step())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    report(args, cases, peak)


def report(args, cases, peak: float) -> None:
    table = Table(title=f"{keras.config.backend()}, items drawn {args.draw}")
    for column in ("items", "optimizer", "ms a step", "least", "most", "times the first"):
        table.add_column(column, justify="right")
    figures = []
    first = np.median(cases[0][-1])
    for num_items, name, _, _, seconds in cases:
        low, middle, high = (float(f(seconds)) * 1000 for f in (np.min, np.median, np.max))
        ratio = middle / 1000 / first
        cells = (f"{middle:.1f}", f"{low:.1f}", f"{high:.1f}", f"{ratio:.2f}")
        table.add_row(f"{num_items:,}", name, *cells)
        figures.append({"items": num_items, "optimizer": name, "seconds_a_step": seconds})
    Console().print(table)
    print(f"peak memory of the process: {peak:.2f} GiB")
    if args.out is not None:
        options = {name: str(value) for name, value in vars(args).items()}
        content = {"options": options, "peak_gib": peak, "cases": figures}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(content, indent=1), "utf-8")


if __name__ == "__main__":
    main()
