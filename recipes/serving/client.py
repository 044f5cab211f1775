"""Asks a TF Serving server for recommendations, or loads it with requests.

    client.py --model quickstart --history track_0001 track_0002:skip track_0003
    client.py --model quickstart --history track_0001 --rest --load 1000 --concurrency 8

The history is given oldest event first, each event as ITEM or ITEM:FEEDBACK with one of the words
like, keep, unknown, skip, dislike; without a word the item was kept. A single / begins a new
session, for models that take sessions. Ids that begin with a minus are written with an equals
sign, --history=-5:skip, and the option may be repeated. An id that itself ends like a word of
feedback is written with its feedback: a:skip:keep.

What a signature takes, and whether ids are strings or integers, is read from the server. gRPC
needs TensorFlow, REST does not. Over REST every request opens a connection of its own, which is
part of the latencies that --load prints.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parents[1]))  # the recipes
from progress import no_standard_error

FEEDBACK = {"like": 2, "keep": 1, "unknown": 0, "skip": -1, "dislike": -2}
NEW_SESSION = "/"
TYPES = {"DT_STRING": object, "DT_INT32": np.int32, "DT_INT64": np.int64, "DT_FLOAT": np.float32}
# Which option gives which list of ids to a signature.
ID_LISTS = {
    "allowed_item_ids": "allowed",
    "blocked_item_ids": "blocked",
    "candidate_ids": "candidates",
}
START = "If no server runs at {}: `docker compose up` in recipes/serving starts one."


class ServerError(Exception):
    """What the server answered instead of a result, or that it did not answer."""


@dataclass
class Signature:
    """What a function of the model takes and gives.

    Args:
        types: the type of each input, such as DT_STRING.
        defaults: the values of inputs that may be left out.
        outputs: names of the outputs.
    """

    types: dict[str, str]
    defaults: dict[str, np.ndarray]
    outputs: list[str]


class GrpcServer:
    """A model on a server, asked over gRPC."""

    def __init__(self, address: str, model: str, timeout: float):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no notes on this machine's CPU
        with no_standard_error():
            import grpc
            import tensorflow as tf
            from tensorflow.core.framework import types_pb2
            from tensorflow_serving.apis import (
                get_model_metadata_pb2,
                predict_pb2,
                prediction_service_pb2_grpc,
            )

        self._grpc, self._tf, self._types_pb2 = grpc, tf, types_pb2
        self._metadata_pb2, self._predict_pb2 = get_model_metadata_pb2, predict_pb2
        self._address, self._model, self._timeout = address, model, timeout
        channel = grpc.insecure_channel(address)  # threads may share it
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def signatures(self) -> dict[str, Signature]:
        request = self._metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._model
        packed = self._call(self._stub.GetModelMetadata, request).metadata["signature_def"]
        found = self._metadata_pb2.SignatureDefMap()
        packed.Unpack(found)
        type_name = self._types_pb2.DataType.Name
        return {
            name: Signature(
                types={key: type_name(info.dtype) for key, info in signature.inputs.items()},
                defaults={
                    key: self._tf.make_ndarray(tensor) for key, tensor in signature.defaults.items()
                },
                outputs=sorted(signature.outputs),
            )
            for name, signature in found.signature_def.items()
        }

    def prepare(
        self, name: str, signature: Signature, inputs: dict[str, np.ndarray]
    ) -> Callable[[], dict[str, list]]:
        """A function that sends the request once and returns the outputs."""
        request = self._predict_pb2.PredictRequest()
        request.model_spec.name = self._model
        request.model_spec.signature_name = name
        for key, value in inputs.items():
            dtype = self._types_pb2.DataType.Value(signature.types[key])
            request.inputs[key].CopyFrom(self._tf.make_tensor_proto(value, dtype, value.shape))

        def send() -> dict[str, list]:
            outputs = self._call(self._stub.Predict, request).outputs
            return {
                key: _decoded(self._tf.make_ndarray(tensor).tolist())
                for key, tensor in outputs.items()
            }

        return send

    def _call(self, method, request):
        try:
            return method(request, timeout=self._timeout)
        except self._grpc.RpcError as error:
            message = f"{error.code().name}: {error.details()}"
            if error.code() == self._grpc.StatusCode.UNAVAILABLE:
                message += f". {START.format(self._address)}"
            raise ServerError(message) from error


class RestServer:
    """A model on a server, asked over REST."""

    def __init__(self, address: str, model: str, timeout: float):
        self._address, self._timeout = address, timeout
        self._url = f"http://{address}/v1/models/{urllib.parse.quote(model, safe='')}"

    def signatures(self) -> dict[str, Signature]:
        metadata = self._call("/metadata")["metadata"]["signature_def"]["signature_def"]
        return {
            name: Signature(
                types={key: info["dtype"] for key, info in signature["inputs"].items()},
                defaults={
                    key: _tensor(tensor) for key, tensor in signature.get("defaults", {}).items()
                },
                outputs=sorted(signature["outputs"]),
            )
            for name, signature in metadata.items()
        }

    def prepare(
        self, name: str, signature: Signature, inputs: dict[str, np.ndarray]
    ) -> Callable[[], dict[str, list]]:
        """A function that sends the request once and returns the outputs."""
        # The REST API wants every input, also those that have a default.
        inputs = {**signature.defaults, **inputs}
        request = {
            "signature_name": name,
            "inputs": {key: value.tolist() for key, value in inputs.items()},
        }
        body = json.dumps(request).encode()

        def send() -> dict[str, list]:
            outputs = self._call(":predict", body)["outputs"]
            # A single output comes without its name.
            return outputs if isinstance(outputs, dict) else {signature.outputs[0]: outputs}

        return send

    def _call(self, path: str, body: bytes | None = None) -> dict:
        request = urllib.request.Request(self._url + path, data=body)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode("utf-8", "replace")
            try:
                text = json.loads(text)["error"]
            except (ValueError, KeyError, TypeError):
                text = text.strip()[:500]
            raise ServerError(f"HTTP {error.code}: {text}") from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise ServerError(f"no answer: {reason}. {START.format(self._address)}") from error
        except (http.client.HTTPException, ValueError) as error:
            raise ServerError(
                f"{self._address} does not answer as TF Serving's REST API does "
                f"({type(error).__name__}). Is this the gRPC port?"
            ) from error


def _decoded(values):
    """Nested lists with text in place of bytes."""
    if isinstance(values, list):
        return [_decoded(value) for value in values]
    return values.decode("utf-8", "replace") if isinstance(values, bytes) else values


def _tensor(tensor: dict) -> np.ndarray:
    """The array that a tensor protocol buffer in JSON holds."""
    dtype = tensor["dtype"]
    if dtype not in TYPES:
        raise ServerError(f"this client knows no values of type {dtype}")
    shape = [int(dim.get("size", 0)) for dim in tensor["tensor_shape"].get("dim", [])]
    size = int(np.prod(shape))
    if tensor.get("tensor_content"):
        content = base64.b64decode(tensor["tensor_content"])
        return np.frombuffer(content, np.dtype(TYPES[dtype]).newbyteorder("<")).reshape(shape)
    if dtype == "DT_STRING":
        values = [base64.b64decode(text).decode() for text in tensor.get("string_val", [])]
    else:
        field = {"DT_INT32": "int_val", "DT_INT64": "int64_val", "DT_FLOAT": "float_val"}[dtype]
        number = float if dtype == "DT_FLOAT" else int
        values = [number(value) for value in tensor.get(field, [])]
    # Fewer values than elements: the last one stands for the rest.
    last = values[-1] if values else ("" if dtype == "DT_STRING" else 0)
    values = (values + [last] * (size - len(values)))[:size]
    return np.array(values, TYPES[dtype]).reshape(shape)


def parse_history(events: list[str]) -> tuple[list[str], list[int], list[int]]:
    """Items, feedback and session indices of what `--history` was given."""
    items, feedback, sessions, session = [], [], [], 0
    for event in events:
        if event == NEW_SESSION:
            session += bool(items)
            continue
        item, _, word = event.rpartition(":")
        if not item or word not in FEEDBACK:
            item, word = event, "keep"
        items.append(item)
        feedback.append(FEEDBACK[word])
        sessions.append(session)
    return items, feedback, sessions


def ids(values: list[str], dtype: str) -> list:
    """External ids of the type that the model takes."""
    if dtype == "DT_STRING":
        return values
    try:
        return np.array([int(value) for value in values], np.int64).tolist()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"the model has integer ids. Received: {' '.join(values)}") from error


def request_inputs(args, signature: Signature) -> dict[str, np.ndarray]:
    """The inputs of one request, each with a single row."""
    items, feedback, sessions = parse_history(args.history)
    types = signature.types
    if "item_ids" not in types:
        raise ValueError(f"{args.signature} takes no item_ids")
    if not items:
        raise ValueError("--history holds no event")
    if sessions[-1] and "session_ids" not in types:
        raise ValueError(f"{args.signature} takes no sessions, and the history holds more than one")
    padding = "" if types["item_ids"] == "DT_STRING" else -1
    left = max(args.length - len(items), 0) if args.length else 0
    if args.length and len(items) > args.length:
        raise ValueError(f"the history holds {len(items)} events, more than --length")
    rows = {
        "item_ids": [padding] * left + ids(items, types["item_ids"]),
        "feedback": [0] * left + feedback,
        "session_ids": [0] * left + sessions,
    }
    rows = {name: row for name, row in rows.items() if name in types}
    for name, option in ID_LISTS.items():
        values = getattr(args, option)
        if values is not None and name not in types:
            raise ValueError(f"{args.signature} takes no {name}, which --{option} gives")
        if values is not None:
            rows[name] = ids(values, types[name])
    inputs = {name: np.array([row], TYPES[types[name]]) for name, row in rows.items()}
    if args.k is not None and "k" in types:
        inputs["k"] = np.array(args.k, TYPES[types["k"]])
    missing = sorted(set(types) - set(inputs) - set(signature.defaults))
    if missing:
        options = [f"--{ID_LISTS[name]}" for name in missing if name in ID_LISTS]
        hint = f" Give {' and '.join(options)}." if options else ""
        raise ValueError(f"{args.signature} also needs {', '.join(missing)}.{hint}")
    return inputs


def print_outputs(args, inputs: dict[str, np.ndarray], outputs: dict[str, list]) -> None:
    # Ids are shown as they are, whatever they look like.
    console = Console(markup=False, emoji=False, highlight=False)
    if "scores" not in outputs:
        for name, rows in outputs.items():
            console.print(f"{name}:", " ".join(f"{value:.5g}" for value in rows[0]), soft_wrap=True)
        return
    scores = outputs["scores"][0]
    items = outputs["item_ids"][0] if "item_ids" in outputs else inputs["candidate_ids"][0].tolist()
    ranked = sorted(zip(items, scores, strict=True), key=lambda pair: -pair[1])
    # Where fewer items are left than were asked for, the rest has no item and no score.
    ranked = [(item, score) for item, score in ranked if score != -np.inf][: args.k]
    table = Table(title=f"{args.model}, {args.signature}")
    for column in ("", "item", "score"):
        table.add_column(column, justify="left" if column == "item" else "right", overflow="fold")
    for place, (item, score) in enumerate(ranked, start=1):
        table.add_row(str(place), str(item), f"{score:.4f}")
    console.print(table)
    if args.k is not None and len(ranked) < args.k:
        console.print(f"{len(ranked)} items came back, {args.k} were asked for.")


def load(send: Callable[[], dict], requests: int, concurrency: int) -> int:
    """Sends the request again and again, prints how it went, and returns the errors' number."""

    def timed(_) -> tuple[float, str | None]:
        started = time.perf_counter()
        try:
            send()
        except ServerError as error:
            return time.perf_counter() - started, str(error)
        return time.perf_counter() - started, None

    with ThreadPoolExecutor(concurrency) as pool:
        started = time.perf_counter()
        results = list(pool.map(timed, range(requests)))
        seconds = time.perf_counter() - started
    latencies = 1000 * np.array([latency for latency, error in results if error is None])
    errors = Counter(error for _, error in results if error is not None)
    print(f"{requests} requests, {concurrency} at a time, {errors.total()} errors")
    if len(latencies):
        p50, p90, p99 = np.percentile(latencies, [50, 90, 99], method="inverted_cdf")
        print(f"latency ms: p50 {p50:.1f}  p90 {p90:.1f}  p99 {p99:.1f}  max {latencies.max():.1f}")
        print(
            f"throughput: {len(latencies) / seconds:.1f} answers a second, {seconds:.2f} s in all"
        )
    for error, count in errors.most_common(5):
        print(f"{count} x {error}")
    return errors.total()


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parse_args() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--model", required=True, help="name of the model on the server")
    options.add_argument(
        "--history",
        required=True,
        nargs="+",
        action="extend",
        metavar="ITEM[:FEEDBACK]",
        help="a listener's events, oldest first",
    )
    options.add_argument(
        "--signature", default="serving_default", help="default: serving_default; see the model's"
    )
    options.add_argument(
        "--k",
        type=positive,
        help="how many items; asked of the server where the signature takes k, otherwise the "
        "first k of its answer are shown",
    )
    for name, option in ID_LISTS.items():
        options.add_argument(
            f"--{option}",
            nargs="+",
            action="extend",
            metavar="ITEM",
            help=f"{name}, for signatures that take them",
        )
    options.add_argument(
        "--length",
        type=positive,
        help="pad the history to this many events, as a server with batching needs it",
    )
    options.add_argument("--host", default="localhost", help="default: localhost")
    options.add_argument("--port", type=positive, help="default: 8500 for gRPC, 8501 for REST")
    protocol = options.add_mutually_exclusive_group()
    protocol.add_argument("--grpc", action="store_true", help="ask over gRPC (the default)")
    protocol.add_argument("--rest", action="store_true", help="ask over REST")
    options.add_argument(
        "--timeout", type=float, default=10.0, help="seconds to wait for an answer; default: 10"
    )
    options.add_argument(
        "--load",
        type=positive,
        metavar="N",
        help="after the first answer send the request N times more, and print latencies, "
        "throughput and errors",
    )
    options.add_argument(
        "--concurrency",
        type=positive,
        default=1,
        metavar="C",
        help="how many requests of --load are under way at a time; default: 1",
    )
    return options.parse_args()


def main() -> None:
    args = parse_args()
    port = args.port or (8501 if args.rest else 8500)
    server_class = RestServer if args.rest else GrpcServer
    try:
        server = server_class(f"{args.host}:{port}", args.model, args.timeout)
        signatures = server.signatures()
        signatures.pop("__saved_model_init_op", None)  # set-up, nothing to ask
        if args.signature not in signatures:
            raise ValueError(
                f"{args.model} has no signature {args.signature}; it has "
                f"{', '.join(sorted(signatures))}"
            )
        signature = signatures[args.signature]
        inputs = request_inputs(args, signature)
        send = server.prepare(args.signature, signature, inputs)
        print_outputs(args, inputs, send())
    except (ServerError, ValueError) as error:
        sys.exit(f"error: {error}")
    if args.load and load(send, args.load, args.concurrency):
        sys.exit(1)


if __name__ == "__main__":
    main()
