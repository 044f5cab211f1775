"""recipes/serving/client.py, from its command line, against a stand-in for TF Serving."""

import importlib.util
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_model import ITEMS, K
from stand_in_server import StandInServer

import keras_negrec

CLIENT = Path(__file__).parents[2] / "recipes" / "serving" / "client.py"
protocols = pytest.mark.parametrize("protocol", ["grpc", "rest"])


@pytest.fixture(scope="module")
def running(version, integers_version):
    with StandInServer({"strings": version, "integers": integers_version}) as server:
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
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ask(server, client, monkeypatch, capsys):
    """Runs the client; returns its exit code, what it printed and what it said of errors."""

    def run(protocol, model, *arguments, port=None):
        port = port or getattr(server, f"{protocol}_port")
        command = ["client.py", "--model", model, "--host", "127.0.0.1", "--port", str(port)]
        command += ["--rest"] if protocol == "rest" else []
        monkeypatch.setattr(sys, "argv", [*command, *arguments])
        code, message = 0, ""
        try:
            client.main()
        except SystemExit as error:
            code, message = (1, error.code) if isinstance(error.code, str) else (error.code, "")
        printed = capsys.readouterr()
        return code, printed.out, message + printed.err

    return run


def rows(printed):
    """(item, score) of each line of an answer."""
    found = re.findall(r"^ *(\d+) +(-?[\d.]+)  (.+)$", printed, flags=re.M)
    assert [int(place) for place, _, _ in found] == list(range(1, len(found) + 1))
    return [(item, float(score)) for _, score, item in found]


def check(answer, recommendations):
    code, printed, errors = answer
    assert (code, errors) == (0, "")
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
def test_histories(ask, server, model, integers, protocol, name, words, history, columns):
    answer = ask(protocol, name, "--history", *words)
    given = {column: [values] for column, values in columns.items()}
    asked = {"strings": model, "integers": integers}[name]
    [expected] = keras_negrec.recommend(asked, [history], K, **given)
    check(answer, expected)
    [(signature, sent)] = server.received
    assert signature == "serving_default"
    assert {column: sent[column].tolist() for column in columns} == given
    # Padded on the left, the answer is the same.
    check(ask(protocol, name, "--history", *words, "--length", "6"), expected)
    items = server.received[-1][1]["item_ids"][0].tolist()
    items = [item.decode() if isinstance(item, bytes) else item for item in items]
    assert items == ["" if name == "strings" else -1] * (6 - len(history)) + history


@protocols
def test_other_signatures(ask, model, protocol):
    [ranked] = keras_negrec.recommend(model, [ITEMS[:1]], 30)
    history = ["--history", ITEMS[0]]
    command = [protocol, "strings", "--signature", "recommend", *history]
    check(ask(*command), ranked[:10])
    blocked = [r.item for r in ranked[1:3]]
    check(ask(*command, "--k", "3", "--blocked", *blocked), [ranked[0], *ranked[3:5]])
    check(ask(*command, "--allowed", *blocked), ranked[1:3])
    command = [protocol, "strings", "--signature", "score", *history, "--candidates"]
    check(ask(*command, ranked[5].item, "[red]:x:[/red]", ranked[2].item), ranked[2:6:3])
    code, printed, _ = ask(protocol, "strings", "--signature", "embed", *history)
    assert code == 0 and re.fullmatch(r"vectors:( -?[\d.e-]+){8}\n", printed)
    _, printed, _ = ask(protocol, "strings", "--history", *ITEMS[:-2], "--k", "5")
    assert {item for item, _ in rows(printed)} == {*ITEMS[-2:]}
    assert "2 items came back, 5 were asked for." in printed


@protocols
def test_what_the_server_refuses(ask, protocol):
    codes = {"grpc": ("NOT_FOUND", "INVALID_ARGUMENT"), "rest": ("HTTP 404", "HTTP 400")}[protocol]
    message = f"error: {codes[0]}: Servable not found for request: Latest(new)"
    assert ask(protocol, "new", "--history", "a") == (1, "", message)
    command = ["--signature", "recommend", "--history", "a", "--allowed", "x"]
    code, printed, errors = ask(protocol, "strings", *command)
    assert (code, printed) == (1, "")
    assert errors.startswith(f"error: {codes[1]}: ") and "No item is left" in errors


@protocols
def test_no_server(ask, server, protocol):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, but nobody listens
        port = free.getsockname()[1]
        code, printed, errors = ask(protocol, "strings", "--history", "a", port=port)
    assert (code, printed) == (1, "")
    assert errors.startswith("error: ") and "refused" in errors.lower()
    assert f"127.0.0.1:{port}: `docker compose up` in recipes/serving starts one." in errors
    # The port of the other protocol.
    port = server.grpc_port if protocol == "rest" else server.rest_port
    code, printed, errors = ask(protocol, "strings", "--history", "a", port=port)
    assert (code, printed) == (1, "") and errors.isprintable()
    message = {"grpc": "error: UNAVAILABLE: ", "rest": "error: .* Is this the gRPC port?"}
    assert re.match(message[protocol], errors)


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
def test_what_cannot_be_asked(ask, server, arguments, message):
    code, printed, errors = ask("rest", *arguments)
    assert (code, printed) == (1, "")
    assert errors.startswith("error: ") and message in errors
    assert server.received == []


@pytest.mark.parametrize(("protocol", "code"), [("grpc", "UNAVAILABLE"), ("rest", "HTTP 503")])
def test_load(ask, server, protocol, code):
    load = ["strings", "--history", ITEMS[1], "--load", "40", "--concurrency", "4"]
    exit_code, printed, _ = ask(protocol, *load)
    assert exit_code == 0 and len(server.received) == 41
    assert "40 requests, 4 at a time, 0 errors" in printed
    [found] = re.findall(r"throughput: (.*) answers a second, (.*) s in all", printed)
    assert float(found[0]) == pytest.approx(40 / float(found[1]), rel=0.2)
    server.received.clear()
    server.busy_every = 5
    exit_code, printed, _ = ask(protocol, *load)
    assert exit_code == 1 and "40 requests, 4 at a time, 8 errors" in printed
    assert f"8 x {code}: The batch scheduling queue is full" in printed


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


def test_history(client):
    events = ["/", "x:y:z", "a:skip:keep", "/", "/", ":skip", "b:unknown", "a:"]
    items, feedback, sessions = client.parse_history(events)
    assert items == ["x:y:z", "a:skip", ":skip", "b", "a:"]
    assert (feedback, sessions) == ([1, 1, 1, 0, 1], [0, 0, 2, 2, 2])
