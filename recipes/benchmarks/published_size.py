"""One epoch at the size of the published experiment: 450,000 sessions, a million tracks.

Simulated sessions of up to 20 events, SASRec of width 128 with 2 blocks and 8 heads, a sampled
softmax with 1,000 negatives and the contrastive loss. Then the whole catalogue is ranked for
10,000 sessions, and the time is set beside that of the bare products of the vectors.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # the recipes
import quiet as quiet  # first: it loads Keras without the lines that TensorFlow writes

# isort: split

import keras_negrec
from keras_negrec import data
from progress import doing
from quiet import keras
from training import Progress

ops = keras.ops

ROWS, COLUMNS = 256, 8192  # of a bare product


def options(description: str) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options.add_argument("--sessions", type=int, default=450_000)
    options.add_argument("--num-items", type=int, default=1_000_000)
    options.add_argument("--max-length", type=int, default=20, help="events of a session")
    options.add_argument("--embedding-dim", type=int, default=128)
    options.add_argument("--num-layers", type=int, default=2)
    options.add_argument("--num-heads", type=int, default=8)
    options.add_argument("--num-sampled-negatives", type=int, default=1000)
    options.add_argument("--batch-size", type=int, default=128)
    options.add_argument("--examples", type=int, default=10_000, help="sessions to rank for")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, help="a JSON file for the figures")
    return options


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def simulate(args) -> tuple[data.Split, data.Vocabulary, data.Examples]:
    """Sessions of up to `max_length` events, the items, and some of the test examples."""
    started = time.perf_counter()
    with doing("simulating sessions"):
        simulation = data.simulate_sessions(args.sessions, args.num_items, seed=args.seed)
        vocabulary = data.Vocabulary(simulation.truth.items["item"])
        sessions = data.Sessions.from_events(simulation.events, vocabulary)
        newest = sessions.lengths - args.max_length - 2  # two events are held out
        split = data.leave_one_out(sessions.between(newest, sessions.lengths))
    print(f"{split.summary()}; made in {time.perf_counter() - started:.0f} s", flush=True)
    chosen = np.random.default_rng(args.seed).permutation(len(split.test))
    return split, vocabulary, split.test.take(np.sort(chosen[: args.examples]))


def settings(args) -> dict:
    """The size of the models, as keywords of `build_model`."""
    shapes = ("max_length", "embedding_dim", "num_layers", "num_heads", "num_sampled_negatives")
    return {name: getattr(args, name) for name in shapes}


def main():
    args = options(__doc__).parse_args()
    split, vocabulary, examples = simulate(args)
    keras.utils.set_random_seed(args.seed)
    model = keras_negrec.build_model(
        "sasrec", vocabulary=vocabulary, negative_loss="contrastive", **settings(args)
    )
    dataset = model.training_dataset(split.train, batch_size=args.batch_size, seed=args.seed)
    started = time.perf_counter()
    progress = Progress("SASRec")
    with doing(progress.line):
        model.fit(dataset, shuffle=False, verbose=0, callbacks=[progress])
    epoch = time.perf_counter() - started
    figures = {
        "sessions": len(split.train),
        "steps": len(dataset),
        "epoch_seconds": epoch,
        "sessions_a_second": len(split.train) / epoch,
        "loss": model.history.history["loss"][0],
        "peak_gib_after_training": peak_gib(),
    }
    print(figures, flush=True)

    before = peak_gib()
    started = time.perf_counter()
    with doing("ranking the whole catalogue"):
        metrics = keras_negrec.evaluate(model, examples)
    figures["evaluation_seconds"] = time.perf_counter() - started
    figures["evaluation_peak_gib_more"] = peak_gib() - before
    figures["metrics"] = metrics
    vectors = model.history_vectors(examples.histories)
    started = time.perf_counter()
    bare_products(vectors, model)
    figures["bare_products_seconds"] = time.perf_counter() - started
    print(json.dumps(figures, indent=1))
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(figures, indent=1), "utf-8")


def bare_products(vectors: np.ndarray, model) -> None:
    """All scores, by the backend's products, of the sizes that evaluation makes; none is kept."""
    blocks = [
        ops.convert_to_tensor(vectors[start : start + ROWS])
        for start in range(0, len(vectors), ROWS)
    ]
    for start in range(0, model.num_items, COLUMNS):
        rows = np.arange(start, min(start + COLUMNS, model.num_items), dtype="int32")
        table = ops.transpose(model.item_vectors(rows))
        for block in blocks:
            ops.convert_to_numpy(ops.matmul(block, table)[:1, :1])


if __name__ == "__main__":
    main()
