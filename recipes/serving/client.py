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
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # the recipes
from progress import no_standard_error

FEEDBACK = {"like": 2, "keep": 1, "unknown": 0, "skip": -1, "dislike": -2}
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


class GrpcServer:
    """A model on a server, asked over gRPC."""

    def __init__(self, address: str, model: str, timeout: float):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no notes on this machine's CPU
        with no_standard_error():
            import grpc
            import tensorflow
            from tensorflow_serving import apis
            from tensorflow_serving.apis import prediction_service_pb2_grpc  # loads the others
        self._grpc, self._tf, self._apis = grpc, tensorflow, apis
        self._address, self._model, self._timeout = address, model, timeout
        channel = grpc.insecure_channel(address)  # threads may share it
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def signatures(self) -> dict[str, dict]:
        """By name, the inputs and outputs of each signature, as the REST API tells them."""
        from google.protobuf import json_format

        metadata = self._apis.get_model_metadata_pb2
        request = metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = self._model
        found = metadata.SignatureDefMap()
        self._call(self._stub.GetModelMetadata, request).metadata["signature_def"].Unpack(found)
        return json_format.MessageToDict(found, preserving_proto_field_name=True)["signature_def"]

    def prepare(self, name: str, inputs: dict[str, np.ndarray], outputs: list[str]) -> Callable:
        """A function that sends the request once and returns the outputs as lists."""
        request = self._apis.predict_pb2.PredictRequest()
        request.model_spec.name = self._model
        request.model_spec.signature_name = name
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(self._tf.make_tensor_proto(value))

        def send() -> dict[str, list]:
            answer = self._call(self._stub.Predict, request)
            arrays = {key: self._tf.make_ndarray(answer.outputs[key]) for key in outputs}
            return {
                key: np.char.decode(value.astype(bytes), "utf-8", "replace").tolist()
                if value.dtype == object
                else value.tolist()
                for key, value in arrays.items()
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

    def signatures(self) -> dict[str, dict]:
        return self._call("/metadata")["metadata"]["signature_def"]["signature_def"]

    def prepare(self, name: str, inputs: dict[str, np.ndarray], outputs: list[str]) -> Callable:
        lists = {key: value.tolist() for key, value in inputs.items()}
        body = json.dumps({"signature_name": name, "inputs": lists}).encode()

        def send() -> dict[str, list]:
            answer = self._call(":predict", body)["outputs"]
            # A single output comes without its name.
            return answer if isinstance(answer, dict) else {outputs[0]: answer}

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


def parse_history(events: list[str]) -> tuple[list[str], list[int], list[int]]:
    """Items, feedback and session indices of what `--history` was given."""
    items, feedback, sessions, session = [], [], [], 0
    for event in events:
        if event == "/":
            session += bool(items)
            continue
        item, _, word = event.rpartition(":")
        if not item or word not in FEEDBACK:
            item, word = event, "keep"
        items.append(item)
        feedback.append(FEEDBACK[word])
        sessions.append(session)
    return items, feedback, sessions


def request_inputs(args, types: dict[str, str]) -> dict[str, np.ndarray]:
    """All inputs of one request, each with a single row: the REST API wants even the optional."""
    items, feedback, sessions = parse_history(args.history)
    if not items:
        raise ValueError("--history holds no event")
    if sessions[-1] and "session_ids" not in types:
        raise ValueError(f"{args.signature} takes no sessions, and the history holds more than one")
    if args.length and len(items) > args.length:
        raise ValueError(f"the history holds {len(items)} events, more than --length")
    is_string = types["item_ids"] == "DT_STRING"
    lists = {"item_ids": items} | {name: getattr(args, key) for name, key in ID_LISTS.items()}
    for name, option in ID_LISTS.items():
        if lists[name] and name not in types:
            raise ValueError(f"{args.signature} takes no {name}, which --{option} gives")
    if "candidate_ids" in types and not args.candidates:
        raise ValueError(f"{args.signature} also needs candidate_ids. Give --candidates.")
    padding = "" if is_string else -1
    rows: dict = {"feedback": feedback, "session_ids": sessions, "k": args.k or 10}
    for name, values in lists.items():
        try:
            rows[name] = values if is_string else [int(np.int64(int(v))) for v in values or ()]
        except (ValueError, OverflowError) as error:
            raise ValueError(f"the model has integer ids. Received: {' '.join(values)}") from error
        rows[name] = rows[name] or [padding]
    for name in ("item_ids", "feedback", "session_ids"):
        filler = padding if name == "item_ids" else 0
        rows[name] = [filler] * (args.length - len(items)) + rows[name]
    return {  # other columns of events are 0 for all
        name: np.array(rows[name] if name == "k" else [rows.get(name, [0])], TYPES[dtype])
        for name, dtype in types.items()
    }


def print_outputs(args, inputs: dict[str, np.ndarray], outputs: dict[str, list]) -> None:
    if "scores" not in outputs:
        for name, rows in outputs.items():
            print(f"{name}:", " ".join(f"{value:.5g}" for value in rows[0]))
        return
    items = outputs["item_ids"][0] if "item_ids" in outputs else inputs["candidate_ids"][0].tolist()
    ranked = sorted(zip(items, outputs["scores"][0], strict=True), key=lambda pair: -pair[1])
    ranked = [(item, score) for item, score in ranked if score != -np.inf][: args.k]
    for place, (item, score) in enumerate(ranked, start=1):
        print(f"{place:>4}  {score:9.4f}  {item}")
    if args.k is not None and len(ranked) < args.k:
        print(f"{len(ranked)} items came back, {args.k} were asked for.")


def load(send: Callable[[], dict], requests: int, concurrency: int) -> int:
    """Sends the request again and again, prints how it went, and returns the errors' number."""

    def timed(_) -> tuple[float, str | None]:
        started, message = time.perf_counter(), None
        try:
            send()
        except ServerError as error:
            message = str(error)
        return time.perf_counter() - started, message

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
        rate = len(latencies) / seconds
        print(f"throughput: {rate:.1f} answers a second, {seconds:.2f} s in all")
    for error, count in errors.most_common(5):
        print(f"{count} x {error}")
    return errors.total()


def positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def parse_args() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = options.add_argument
    ids = {"nargs": "+", "action": "extend"}
    add("--model", required=True, help="name of the model on the server")
    add("--history", required=True, **ids, metavar="ITEM[:FEEDBACK]", help="oldest event first")
    add("--signature", default="serving_default", help="default: serving_default; see the model's")
    add("--k", type=positive, help="how many items; default: 10, or what the signature gives")
    for name, option in ID_LISTS.items():
        add(f"--{option}", **ids, metavar="ITEM", help=f"{name}, for signatures that take them")
    add("--length", type=positive, default=0, help="pad the history to so many, for batching")
    add("--host", default="localhost", help="default: localhost")
    add("--port", type=positive, help="default: 8500 for gRPC, 8501 for REST")
    add("--rest", action="store_true", help="ask over REST; default: over gRPC")
    add("--timeout", type=float, default=10.0, help="seconds to wait for an answer; default: 10")
    more = "afterwards send the request N times more, and print latencies, throughput and errors"
    add("--load", type=positive, metavar="N", help=more)
    add("--concurrency", type=positive, default=1, metavar="C", help="so many of them at a time")
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
            names = ", ".join(sorted(signatures))
            raise ValueError(f"{args.model} has no signature {args.signature}; it has {names}")
        signature = signatures[args.signature]
        types = {name: info["dtype"] for name, info in signature["inputs"].items()}
        inputs = request_inputs(args, types)
        send = server.prepare(args.signature, inputs, sorted(signature["outputs"]))
        print_outputs(args, inputs, send())
    except (ServerError, ValueError) as error:
        sys.exit(f"error: {error}")
    if args.load and load(send, args.load, args.concurrency):
        sys.exit(1)


if __name__ == "__main__":
    main()
