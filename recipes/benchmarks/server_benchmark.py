"""The embedded server as its page and other callers see it, over real sockets.

For each catalogue size an untrained SASRec with the keep loss is exported and served by
`python -m keras_negrec.serving`. Timed are what the page asks: a ranking of 20 items after 50
events, and "Why?", one request with each of the events left out. Then several callers ask at
once, and last come requests that no honest client sends, after which the memory of the server
must be what it was.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
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
from progress import doing, say

K, LENGTH, PADDING = 20, 50, ""
HOSTILE = (
    b"",
    b"[",
    b"{}",
    b"[[[[" * 10_000,
    b'{"inputs": {"item_ids": [["track_1"]], "feedback": [["a"]]}}',
    b'{"inputs": {"item_ids": [["track_1", 5]], "feedback": [[1, 1]]}}',
    b'{"inputs": {"item_ids": [[]], "feedback": [[1]]}, "signature_name": "score"}',
    b'{"inputs": {"item_ids": [["track_1"]], "feedback": [[NaN]]}}',
    b'{"signature_name": "nothing", "inputs": {}}',
    b"\xff\xfe" * 1000,
)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--num-items", type=int, nargs="+", default=[50_000, 1_000_000])
    options.add_argument("--calls", type=int, default=200, help="timed calls of each kind (200)")
    options.add_argument("--callers", type=int, default=8, help="that ask at once (8)")
    options.add_argument("--requests", type=int, default=5000, help="that they send (5000)")
    args = options.parse_args()
    table = Table(title="milliseconds, over HTTP")
    columns = ("items", "up after", "page p50", "page p99", "why p50", "why p99")
    for column in (*columns, f"{args.callers} callers p50", "p99", "answers/s"):
        table.add_column(column, justify="right")
    for num_items in args.num_items:
        with tempfile.TemporaryDirectory() as folder:
            with doing(f"exporting {num_items:,} items"):
                items = [f"track_{i}" for i in range(num_items)]
                export(items, folder)
            with server(folder) as (process, port, seconds):
                table.add_row(f"{num_items:,}", f"{seconds:.1f} s", *measure(items, port, args))
                memory = resident_megabytes(process.pid)
                attack(port)
                first = resident_megabytes(process.pid)
                attack(port)
                grown = resident_megabytes(process.pid)
                say(
                    f"{num_items:,} items: memory {memory:.0f} MB, after hostile requests "
                    f"{first - memory:+.1f} MB, after as many again {grown - first:+.1f} MB"
                )
                milliseconds(port, page_request(items, np.random.default_rng(1)), 10)  # it lives
    Console(width=110).print(table)


def export(items: list[str], folder: str) -> None:
    model = keras_negrec.build_model(
        "sasrec",
        vocabulary=Vocabulary(items),
        max_length=LENGTH,
        num_sampled_negatives=100,
        feedback_inputs=True,
        negative_loss="keep",
    )
    keras_negrec.export(model, Path(folder) / "model", k=K)


@contextlib.contextmanager
def server(folder: str):
    """The process, its REST port, and the seconds from its start to the first model's."""
    command = [sys.executable, "-m", "keras_negrec.serving", folder]
    command += ["--port", "0", "--rest-api-port", "0"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if found := re.search(r"REST +http://127.0.0.1:(\d+)", line):
                break
        else:
            raise SystemExit("the server did not start")
        yield process, int(found[1]), time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(60)


def history(items: list[str], random: np.random.Generator) -> dict:
    chosen = random.choice(len(items), size=LENGTH, replace=False)
    feedback = random.choice([-1, 1], size=LENGTH).tolist()
    return {"item_ids": [[items[i] for i in chosen]], "feedback": [feedback], "keep_weight": [1.0]}


def page_request(items, random) -> bytes:
    """What the page sends when a track is clicked."""
    more = {"k": K, "allowed_item_ids": [[PADDING]], "blocked_item_ids": [[PADDING]]}
    return json.dumps({"signature_name": "recommend", "inputs": history(items, random) | more})


def why_request(items, random) -> bytes:
    """What it sends for "Why?": the history, and 50 times without one of its events."""
    inputs = history(items, random)
    for name, nothing in (("item_ids", PADDING), ("feedback", 0)):
        [row] = inputs[name]
        inputs[name] = [row, *([*row[:i], nothing, *row[i + 1 :]] for i in range(LENGTH))]
    inputs["candidate_ids"] = [[items[0]]] * (LENGTH + 1)
    return json.dumps({"signature_name": "score", "inputs": inputs})


def measure(items: list[str], port: int, args) -> list[str]:
    random = np.random.default_rng(0)
    cells = []
    for request in (page_request(items, random), why_request(items, random)):
        times = milliseconds(port, request, args.calls + 10)[10:]
        cells += [f"{np.percentile(times, q):.1f}" for q in (50, 99)]
    each, times = args.requests // args.callers, []
    requests = [page_request(items, random) for _ in range(args.callers)]
    threads = [
        threading.Thread(target=lambda r=r: times.extend(milliseconds(port, r, each)))
        for r in requests
    ]
    started = time.perf_counter()
    with doing(f"{args.callers} callers ask"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    rate = len(times) / (time.perf_counter() - started)
    return [*cells, *(f"{np.percentile(times, q):.1f}" for q in (50, 99)), f"{rate:,.0f}"]


def milliseconds(port: int, body, calls: int) -> list[float]:
    connection, times = http.client.HTTPConnection("127.0.0.1", port, timeout=60), []
    for _ in range(calls):
        started = time.perf_counter()
        connection.request("POST", "/v1/models/model:predict", body)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"HTTP {answer.status}: {text.decode()}")
        times.append(1e3 * (time.perf_counter() - started))
    connection.close()
    return times


def attack(port: int) -> None:
    """Bad bodies, a body of 100 MB, connections that say nothing, a thousand at once."""
    for body in HOSTILE * 100:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/v1/models/model:predict", body)
        answer = connection.getresponse()
        assert 400 <= answer.status < 500 and json.loads(answer.read())["error"], body[:80]
        connection.close()
    with contextlib.suppress(ConnectionError):  # it may hang up before all is sent
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/v1/models/model:predict", b" " * 100_000_000)
        assert connection.getresponse().status == 413
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(1000)]
    for half in idle[::2]:
        half.sendall(b"POST /v1/models/model:predict HTTP/1.1\r\nContent-Length: 10\r\n\r\n{")
    for one in idle:
        one.close()


def resident_megabytes(process: int) -> float:
    time.sleep(2)  # what it still works on
    status = Path(f"/proc/{process}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
