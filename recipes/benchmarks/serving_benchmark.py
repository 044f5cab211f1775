"""How fast an exported model answers: against NumPy, and with many callers at once.

For each catalogue size an untrained SASRec (two blocks; speed does not depend on the weights) is
exported and loaded as TF Serving loads it. Its answer to one history of 50 events is timed
alternately with what any model must do at least, in NumPy: the product of one vector and the item
table, and the 20 best by argpartition. Then several threads send requests, and errors,
latencies and the growth of the process's memory are counted.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parents[1]))  # the recipes
import quiet as quiet  # first: it loads Keras without the lines that TensorFlow writes

# isort: split

import keras_negrec
from keras_negrec.data import Vocabulary
from progress import doing
from quiet import tf
from serving.client import load as send_many

K, LENGTH = 20, 50


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--num-items", type=int, nargs="+", default=[50_000, 1_000_000])
    options.add_argument("--embedding-dim", type=int, default=64)
    options.add_argument("--item-dtype", default="float32", choices=["float32", "float16", "int8"])
    options.add_argument("--calls", type=int, default=200, help="timed calls of each kind")
    options.add_argument("--callers", type=int, default=8, help="threads that call at once")
    options.add_argument("--requests", type=int, default=20_000, help="that they send")
    args = options.parse_args()

    table = Table(title=f"one history of {LENGTH} events, the {K} best, milliseconds")
    for column in ("items", "export", "p50", "p90", "p99", "NumPy p50", "ratio", "encoder p50"):
        table.add_column(column, justify="right")
    lines = []
    for num_items in args.num_items:
        with tempfile.TemporaryDirectory() as folder:
            items = [f"track_{i}" for i in range(num_items)]
            model = keras_negrec.build_model(
                "sasrec",
                vocabulary=Vocabulary(items),
                embedding_dim=args.embedding_dim,
                max_length=LENGTH,
                num_sampled_negatives=100,
                feedback_inputs=True,
            )
            started = time.perf_counter()
            with doing(f"exporting {num_items:,} items"):
                version = keras_negrec.export(model, folder, k=K, item_dtype=args.item_dtype)
            exported = time.perf_counter() - started
            vectors = np.load(version / "assets.extra" / "item_embeddings.npy")
            del model
            loaded = tf.saved_model.load(str(version))
            serve, embed = (loaded.signatures[name] for name in ("serving_default", "embed"))
            request = history(items, np.random.default_rng(0))
            query = embed(**request)["vectors"].numpy()
            ours, numpys, encoders = alternate(
                args.calls,
                lambda serve=serve, request=request: serve(**request),
                lambda vectors=vectors, query=query: best_in_numpy(vectors, query),
                lambda embed=embed, request=request: embed(**request),
            )
            table.add_row(
                f"{num_items:,}",
                f"{exported:.1f} s",
                *(f"{np.percentile(ours, q):.2f}" for q in (50, 90, 99)),
                f"{np.median(numpys):.2f}",
                f"{np.median(ours) / np.median(numpys):.2f}",
                f"{np.median(encoders):.2f}",
            )
            if args.requests > 0:
                with doing(f"{args.callers} callers send {args.requests} requests"):
                    lines.append(f"{num_items:,} items: {load(serve, items, args)}")
    Console(width=120).print(table)
    print(*lines, sep="\n")


def history(items: list[str], random: np.random.Generator) -> dict[str, tf.Tensor]:
    chosen = random.integers(len(items), size=LENGTH)
    return {
        "item_ids": tf.constant([[items[i] for i in chosen]]),
        "feedback": tf.constant(random.integers(-2, 3, (1, LENGTH)), tf.int32),
    }


def best_in_numpy(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    scores = (query @ vectors.T)[0]
    best = np.argpartition(-scores, K)[:K]
    return best[np.argsort(-scores[best])]


def alternate(calls: int, *functions) -> list[list[float]]:
    """Milliseconds of each function's calls, taken in turns, after ten that do not count."""
    times: list[list[float]] = [[] for _ in functions]
    for call in range(calls + 10):
        for function, taken in zip(functions, times, strict=True):
            started = time.perf_counter()
            function()
            if call >= 10:
                taken.append(1e3 * (time.perf_counter() - started))
    return times


def load(serve, items: list[str], args) -> str:
    """Calls from several threads; the memory counts from when they have called for a while."""
    random = np.random.default_rng(0)
    requests = itertools.cycle([history(items, random) for _ in range(1000)])  # threads share it
    send_many(lambda: serve(**next(requests)), args.requests // 4, args.callers)
    warm = resident_megabytes()
    send_many(lambda: serve(**next(requests)), args.requests, args.callers)
    return f"memory {warm:.0f} MB after the first calls, then {resident_megabytes() - warm:+.1f} MB"


def resident_megabytes() -> float:
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
