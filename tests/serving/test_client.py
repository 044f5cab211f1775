"""recipes/serving/client.py, from its command line, against a stand-in for TF Serving."""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from small_model import INTEGERS, ITEMS, K, build, on_tensorflow
from stand_in_server import StandInServer
from tensorflow.core.framework import tensor_pb2

import keras_negrec

CLIENT = Path(__file__).parents[2] / "recipes" / "serving" / "client.py"
pytestmark = on_tensorflow
protocols = pytest.mark.parametrize("protocol", ["--grpc", "--rest"])


@pytest.fixture(scope="module")
def models(model):
    return {"strings": model, "integers": build("sasrec", INTEGERS, max_sessions=3)}


@pytest.fixture(scope="module")
def running(models, version, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    integers = keras_negrec.export(models["integers"], folder / "integers", k=K)
    with StandInServer({"strings": version, "integers": integers}) as server:
        yield server


@pytest.fixture
def server(running):
    running.received.clear()
    running.busy_every = None
    return running


@pytest.fixture(scope="module")
def client():
    spec = importlib.util.spec_from_file_location("client", CLIENT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["client"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["client"]


@pytest.fixture
def ask(server, client, monkeypatch, capsys):
    """Runs the client; returns its exit code, what it printed and what it said of errors."""

    def run(protocol, model, *arguments, port=None):
        port = port or (server.rest_port if protocol == "--rest" else server.grpc_port)
        address = ["--host", "127.0.0.1", "--port", str(port)]
        monkeypatch.setattr(
            sys, "argv", ["client.py", "--model", model, *address, protocol, *arguments]
        )
        code, message = 0, ""
        try:
            client.main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
            message = error.code if isinstance(error.code, str) else ""
        printed = capsys.readouterr()
        return code, printed.out, message + printed.err

    return run


def rows(printed):
    """(item, score) of each row of a printed table."""
    found = re.findall(r"^│ +(\d+) │ (.*?) +│ +(-?[\d.]+) │$", printed, flags=re.M)
    assert [int(place) for place, _, _ in found] == list(range(1, len(found) + 1))
    return [(item, float(score)) for _, item, score in found]


def check(printed, recommendations):
    assert [item for item, _ in rows(printed)] == [str(r.item) for r in recommendations]
    scores = [score for _, score in rows(printed)]
    np.testing.assert_allclose(scores, [r.score for r in recommendations], rtol=1e-3, atol=1e-3)


@protocols
@pytest.mark.parametrize(
    ("name", "words", "history", "columns"),
    [
        (
            "strings",
            ["tràck 3:like", "unheard of", "tràck 0:skip", "tràck 5"],
            ["tràck 3", "unheard of", "tràck 0", "tràck 5"],
            {"feedback": [2, 1, -1, 1]},
        ),
        (
            "integers",
            ["/", "0:dislike", "30", "/", "10:skip"],
            [0, 30, 10],
            {"feedback": [-2, 1, -1], "session_ids": [0, 0, 1]},
        ),
    ],
)
def test_histories(ask, server, models, protocol, name, words, history, columns):
    code, printed, errors = ask(protocol, name, "--history", *words)
    assert (code, errors) == (0, "")
    given = {column: [values] for column, values in columns.items()}
    [expected] = keras_negrec.recommend(models[name], [history], K, **given)
    check(printed, expected)
    [(_, signature, sent)] = server.received
    assert signature == "serving_default"
    assert {column: sent[column].tolist() for column in columns} == given
    # Padded on the left, the answer is the same.
    _, padded, _ = ask(protocol, name, "--history", *words, "--length", "6")
    assert rows(padded) == rows(printed)
    filler = "" if name == "strings" else -1
    items = server.received[-1][2]["item_ids"][0].tolist()
    items = [item.decode() if isinstance(item, bytes) else item for item in items]
    assert items == [filler] * (6 - len(history)) + history


@protocols
def test_where_few_items_are_left(ask, protocol):
    _, printed, _ = ask(protocol, "strings", "--history", *ITEMS[:-2], "--k", "5")
    assert {item for item, _ in rows(printed)} == {*ITEMS[-2:]}
    assert "2 items came back, 5 were asked for." in printed


@protocols
def test_other_signatures(ask, server, models, protocol):
    [ranked] = keras_negrec.recommend(models["strings"], [ITEMS[:1]], 30)
    history = ["--history", ITEMS[0]]
    command = [protocol, "strings", "--signature", "recommend", *history]
    check(ask(*command)[1], ranked[:K])
    if protocol == "--grpc":  # the server knows the defaults
        assert set(server.received[-1][2]) == {"item_ids", "feedback"}
    blocked = [r.item for r in ranked[1:3]]
    check(ask(*command, "--k", "3", "--blocked", *blocked)[1], [ranked[0], *ranked[3:5]])
    check(ask(*command, "--allowed", *blocked)[1], ranked[1:3])
    command = [protocol, "strings", "--signature", "score", *history, "--candidates"]
    check(ask(*command, ranked[5].item, "[red]:x:[/red]", ranked[2].item)[1], ranked[2:6:3])
    code, printed, _ = ask(protocol, "strings", "--signature", "embed", *history)
    assert code == 0 and re.fullmatch(r"vectors:( -?[\d.e-]+){8}\n", printed)


@pytest.mark.parametrize(
    ("protocol", "name", "arguments", "message"),
    [
        ("--grpc", "new", [], r"error: NOT_FOUND: Servable not found for request: Latest\(new\)"),
        ("--rest", "new", [], r"error: HTTP 404: Servable not found for request: Latest\(new\)"),
        ("--grpc", "strings", ["--allowed", "x"], "error: INVALID_ARGUMENT: .*No item is left"),
        ("--rest", "strings", ["--allowed", "x"], "error: HTTP 400: .*No item is left"),
    ],
)
def test_what_the_server_refuses(ask, protocol, name, arguments, message):
    command = (protocol, name, "--signature", "recommend", "--history", "a", *arguments)
    code, printed, errors = ask(*command)
    assert (code, printed) == (1, "")
    assert re.match(message, errors, flags=re.S)


@protocols
def test_no_server(ask, protocol):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, but nobody listens
        port = free.getsockname()[1]
        code, printed, errors = ask(protocol, "strings", "--history", "a", port=port)
    assert (code, printed) == (1, "")
    assert errors.startswith("error: ") and "refused" in errors.lower()
    assert f"127.0.0.1:{port}: `docker compose up` in recipes/serving starts one." in errors


@pytest.mark.parametrize(
    ("protocol", "message"),
    [("--grpc", "error: UNAVAILABLE: "), ("--rest", "error: .* Is this the gRPC port?")],
)
def test_the_port_of_the_other_protocol(ask, server, protocol, message):
    port = server.grpc_port if protocol == "--rest" else server.rest_port
    code, printed, errors = ask(protocol, "strings", "--history", "a", port=port)
    assert (code, printed) == (1, "")
    assert re.match(message, errors) and errors.isprintable()


@protocols
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["integers", "--history", "10", "ten"], "the model has integer ids. Received: 10 ten"),
        (["integers", "--history", "9" * 30], "the model has integer ids. Received: 999"),
        (["strings", "--history", "/"], "--history holds no event"),
        (["strings", "--history", "a", "/", "b"], "serving_default takes no sessions"),
        (["strings", "--history", "a", "b", "--length", "1"], "2 events, more than --length"),
        (["strings", "--history", "a", "--blocked", "b"], "takes no blocked_item_ids, which --b"),
        (
            ["strings", "--history", "a", "--signature", "rank"],
            "strings has no signature rank; it has embed, recommend, score, serving_default",
        ),
        (
            ["strings", "--history", "a", "--signature", "score"],
            "score also needs candidate_ids. Give --candidates.",
        ),
    ],
)
def test_what_cannot_be_asked(ask, server, protocol, arguments, message):
    code, printed, errors = ask(protocol, *arguments)
    assert (code, printed) == (1, "")
    assert errors.startswith("error: ") and message in errors
    assert server.received == []


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("--grpc", "8 x UNAVAILABLE: The batch scheduling queue is full"),
        ("--rest", "8 x HTTP 503: The batch scheduling queue is full"),
    ],
)
def test_load(ask, server, protocol, message):
    load = ["strings", "--history", ITEMS[1], "--load", "40", "--concurrency", "4"]
    code, printed, _ = ask(protocol, *load)
    assert code == 0 and len(server.received) == 41
    assert "40 requests, 4 at a time, 0 errors" in printed
    figures = re.search(
        r"latency ms: p50 ([\d.]+)  p90 ([\d.]+)  p99 ([\d.]+)  max ([\d.]+)\n"
        r"throughput: ([\d.]+) answers a second, ([\d.]+) s in all",
        printed,
    )
    p50, p90, p99, longest, throughput, seconds = map(float, figures.groups())
    assert 0 < p50 <= p90 <= p99 <= longest <= 1000 * seconds + 10
    assert throughput == pytest.approx(40 / seconds, rel=0.2)
    server.received.clear()
    server.busy_every = 5
    code, printed, _ = ask(protocol, *load)
    assert code == 1
    assert "40 requests, 4 at a time, 8 errors" in printed and message in printed


def test_percentiles(client, monkeypatch, capsys):
    clock = iter(np.cumsum([0, *np.ravel([[0, 0.001 * i] for i in range(1, 101)]), 0]))
    monkeypatch.setattr(client.time, "perf_counter", lambda: next(clock))
    assert client.load(dict, requests=100, concurrency=1) == 0
    assert "p50 50.0  p90 90.0  p99 99.0  max 100.0" in capsys.readouterr().out


def test_rest_needs_no_tensorflow(server, tmp_path):
    for name in ("tensorflow", "grpc", "keras"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not here')")
    result = subprocess.run(
        [
            *(sys.executable, str(CLIENT), "--rest", "--host", "127.0.0.1"),
            *("--port", str(server.rest_port), "--model", "strings", "--history", ITEMS[1]),
        ],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
    )
    assert result.returncode == 0, result.stderr
    assert len(rows(result.stdout)) == K


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (["a", "b:skip"], (["a", "b"], [1, -1], [0, 0])),
        (["a:like", "b:unknown", "c:dislike"], (["a", "b", "c"], [2, 0, -2], [0, 0, 0])),
        (
            ["x:y:z", "a:skip:keep", ":skip", "a:"],
            (["x:y:z", "a:skip", ":skip", "a:"], [1] * 4, [0] * 4),
        ),
        (["a", "/", "b", "c", "/", "d"], (["a", "b", "c", "d"], [1] * 4, [0, 1, 1, 2])),
    ],
)
def test_history(client, events, expected):
    assert client.parse_history(events) == expected


@pytest.mark.parametrize(
    "tensor",
    [
        tf.make_tensor_proto(7, tf.int32),
        tf.make_tensor_proto([[1, 2**40, -3]], tf.int64),
        tf.make_tensor_proto([["", "tràck"]], tf.string),
        tf.make_tensor_proto([[0.5, -2.0]], tf.float32),
        tf.make_tensor_proto(np.zeros((1, 0)), tf.int64, (1, 0)),
        tensor_pb2.TensorProto(
            dtype="DT_INT32", int_val=[4, 5], tensor_shape={"dim": [{"size": 4}]}
        ),
        tensor_pb2.TensorProto(dtype="DT_INT64", tensor_shape={"dim": [{"size": 2}, {"size": 2}]}),
    ],
)
def test_tensors_in_json(client, tensor):
    expected = tf.make_ndarray(tensor)
    if expected.dtype == object:
        expected = np.array([v.decode() for v in expected.flat], object).reshape(expected.shape)
    for empty_fields in (True, False):
        text = json_format.MessageToJson(
            tensor,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=empty_fields,
        )
        found = client._tensor(json.loads(text))
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
