"""How long a training step takes, and what memory, by the size of the catalogue and by the losses.

SASRec on random sessions of full length, with a sampled softmax, or the full one, with Adam or
LazyAdam, and with any further keywords of `build_model`, such as those that choose losses, or
another encoder:

    --model-arguments '{}' '{"objective": "gbce"}' '{"negative_loss": true}' --skip-share 0.3
    --model-arguments '{}' '{"encoder": "hstu"}'

The models take turns in one process, and the figures are medians over the rounds. `KERAS_BACKEND`
picks the backend. The share is that of the machine's rate of matrix products, as measured on square
matrices in the same run, that the products of a SASRec's step alone would need: those of the
encoder and of the scores of items, forwards and backwards, and none that are made a second time.
The peak of memory is that of the process: ask for one catalogue and one optimizer to know theirs.
"""

import argparse
import itertools
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parents[1]))  # the recipes
import quiet as quiet  # first: it loads Keras without the lines that TensorFlow writes

# isort: split

import keras_negrec
from experiment import adder, json_object
from keras_negrec.data import Sessions
from progress import doing
from quiet import keras

ops = keras.ops
OPTIMIZERS = {"Adam": keras.optimizers.Adam, "LazyAdam": keras_negrec.optimizers.LazyAdam}
WARM_UP = 5  # steps
SQUARE = 2048  # the matrices whose products give the machine's rate


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
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = adder(options)
    add("--items", [10_000, 1_000_000], "sizes of the catalogue")
    add("--optimizer", ["LazyAdam"], "each a case of its own", choices=OPTIMIZERS)
    add("--draw", "zipf", "how items are drawn", choices=["zipf", "uniform"])
    add("--num-sampled-negatives", 1000, "0: the full softmax")
    keywords = "further keywords of build_model as JSON, each a case of its own"
    add("--model-arguments", json_object, keywords, nargs="+", metavar="{...}")
    add("--skip-share", 0.0, "of the events, which are no targets")
    compiles = "whether XLA compiles the step; default: as build_model does"
    options.add_argument("--jit-compile", action=argparse.BooleanOptionalAction, help=compiles)
    add("--embedding-dim", 128, "width of the vectors")
    add("--num-layers", 2, "blocks")
    add("--num-heads", 2, "of each block")
    add("--intermediate-dim", int, "default: 4 times the width")
    add("--max-length", 20, "events of a session")
    add("--batch-size", 64, "sessions of a step")
    add("--steps", 40, "of a round")
    add("--rounds", 7, "the first of which is not counted")
    add("--seed", 0, "of sessions and models")
    add("--out", Path, "a folder for the figures")
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
    feedback = np.where(random.random(items.shape) < args.skip_share, -1, 1)
    items = np.clip(items, 1, num_items).astype("int32")
    times = np.cumsum(random.integers(0, 600, items.shape), axis=1)
    return Sessions.from_lists(items.tolist(), feedback.tolist(), timestamps=times.tolist())


def product_rate() -> float:
    """Floating-point operations a second of a product of square matrices, the median of ten."""
    matrix = ops.convert_to_tensor(np.ones((SQUARE, SQUARE), "float32"))
    seconds = []
    for _ in range(11):
        started = time.perf_counter()
        ops.convert_to_numpy(ops.matmul(matrix, matrix)[:1, :1])
        seconds.append(time.perf_counter() - started)
    return 2 * SQUARE**3 / float(np.median(seconds[1:]))


def step_operations(args, num_items: int) -> float:
    """Floating-point operations of all matrix products of a step."""
    rows, width = args.batch_size * args.max_length, args.embedding_dim
    inner = args.intermediate_dim or 4 * width
    block = 4 * width**2 + 2 * width * inner + 2 * args.max_length * width
    logits = width * (args.num_sampled_negatives + 1 if args.num_sampled_negatives else num_items)
    return 3 * 2 * rows * (args.num_layers * block + logits)  # backwards is twice forwards


def main():
    args = parse_args()
    rates = [product_rate()]
    cases = []
    for num_items, name, arguments in itertools.product(
        args.items, args.optimizer, args.model_arguments or [{}]
    ):
        keras.utils.set_random_seed(args.seed)
        settings = {
            "num_items": num_items,
            "num_sampled_negatives": args.num_sampled_negatives or None,
            "fused_softmax": not args.num_sampled_negatives,
            "embedding_dim": args.embedding_dim,
            "intermediate_dim": args.intermediate_dim,
            "num_layers": args.num_layers,
            "num_heads": args.num_heads,
            "max_length": args.max_length,
            "optimizer": OPTIMIZERS[name](1e-3),
        }
        model = keras_negrec.build_model(**{"encoder": "sasrec"} | settings | arguments)
        if args.jit_compile is not None:
            model.jit_compile = args.jit_compile
        dataset = model.training_dataset(
            random_sessions(args, num_items), batch_size=args.batch_size, seed=args.seed
        )
        label = f"{name} {json.dumps(arguments)}" if arguments else name
        cases.append((num_items, label, model, dataset, []))
    for round_number in range(args.rounds):
        for *_, model, dataset, seconds in cases:
            times = StepTimes()
            with doing(f"round {round_number + 1} of {args.rounds}"):
                model.fit(dataset, shuffle=False, verbose=0, callbacks=[times])
            if round_number:
                seconds.append(times.seconds_a_step())
    rates.append(product_rate())
    report(args, cases, float(np.mean(rates)))


def report(args, cases, rate: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    softmax = (
        f"{args.num_sampled_negatives} negatives" if args.num_sampled_negatives else "full softmax"
    )
    title = f"{keras.config.backend()}, {softmax}, items drawn {args.draw}"
    table = Table(title=title)
    table.add_column("items", justify="right")
    table.add_column("optimizer, losses", overflow="fold")
    for column in ("ms a step", "least", "most", "times the first", "share"):
        table.add_column(column, justify="right")
    figures = []
    first = np.median(cases[0][-1])
    for num_items, name, _, _, seconds in cases:
        low, middle, high = (float(f(seconds)) for f in (np.min, np.median, np.max))
        share = step_operations(args, num_items) / middle / rate
        times = [f"{1000 * value:.1f}" for value in (middle, low, high)]
        table.add_row(f"{num_items:,}", name, *times, f"{middle / first:.2f}", f"{share:.0%}")
        figures.append(
            {"items": num_items, "optimizer": name, "seconds_a_step": seconds, "share": share}
        )
    Console(width=None if sys.stdout.isatty() else 150).print(table)
    print(f"matrix products: {rate / 1e9:.0f} GFLOP/s; peak memory of the process: {peak:.2f} GiB")
    if args.out is not None:
        options = {name: str(value) for name, value in vars(args).items()}
        content = {"options": options, "peak_gib": peak, "product_rate": rate, "cases": figures}
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "training_benchmark.json").write_text(json.dumps(content, indent=1), "utf-8")


if __name__ == "__main__":
    main()
