"""recipes/serving/client.py, from its command line, against a stand-in for TF Serving."""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from stand_in_server import StandInServer
from tensorflow.core.framework import tensor_pb2

import keras_negrec
from keras_negrec.data import Vocabulary

CLIENT = Path(__file__).parents[2] / "recipes" / "serving" / "client.py"
STRINGS = Vocabulary([f"tràck {i}" for i in range(12)])
INTEGERS = Vocabulary([10 * i - 30 for i in range(12)])
K = 5

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="what is served runs on TensorFlow"
)
protocols = pytest.mark.parametrize("protocol", ["--grpc", "--rest"])


def build(vocabulary, **options):
    model = keras_negrec.build_model(
        "sasrec",
        vocabulary=vocabulary,
        max_length=6,
        embedding_dim=8,
        num_layers=1,
        feedback_inputs=True,
        **options,
    )
    table = np.random.default_rng(0).normal(size=(12, 8)).astype("float32")
    model.item_embedding.embeddings.assign(table)  # far apart, so that the order is clear
    return model


def save_shelf(path):
    """A small model whose answers are known: item a scores 1 point, b 2, c 3, d 4.

    It has the signatures and the defaults that the client is to get along with.
    """
    shelf = tf.Module()
    items = tf.constant(["a", "b", "c", "d"])
    points = tf.constant([1.0, 2.0, 3.0, 4.0])
    ids = tf.TensorSpec([None, None], tf.string)
    ones, two, none = tf.constant([[1]]), tf.constant(2), tf.constant([[""]])

    @tf.function(
        input_signature=[
            ids,
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([], tf.int32),
            ids,
            ids,
        ]
    )
    def recommend(item_ids, feedback=ones, k=two, allowed_item_ids=none, blocked_item_ids=none):
        allowed = tf.reduce_any(items[:, None] == allowed_item_ids, 1)
        allowed |= tf.reduce_all(allowed_item_ids == "")
        blocked = tf.reduce_any(items[:, None] == blocked_item_ids, 1)
        scores = tf.where(allowed & ~blocked, points, -np.inf)
        scores, best = tf.math.top_k(scores[None] + 0 * tf.cast(feedback[:, :1], tf.float32), k)
        found = tf.where(scores == -np.inf, "", tf.gather(items, best))
        return {"item_ids": found, "scores": scores}

    @tf.function(input_signature=[ids, tf.TensorSpec([None, None], tf.int32), ids])
    def score(item_ids, feedback, candidate_ids):
        same = tf.cast(candidate_ids[0][:, None] == items, tf.float32)
        return {"scores": tf.reduce_sum(same * points, 1)[None]}

    @tf.function(input_signature=[ids, tf.TensorSpec([None, None], tf.int32)])
    def embed(item_ids, feedback):
        return {"vectors": tf.cast(feedback, tf.float32) / 2}

    shelf.functions = [recommend, score, embed]
    signatures = {"recommend": recommend, "score": score, "embed": embed}
    tf.saved_model.save(shelf, str(path), signatures=signatures)
    return path


@pytest.fixture(scope="module")
def models():
    keras.utils.set_random_seed(0)
    return {
        "strings": build(STRINGS),
        "integers": build(INTEGERS),
        "sessions": build(INTEGERS, max_sessions=3),
    }


@pytest.fixture(scope="module")
def folders(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    found = {name: keras_negrec.export(model, folder / name, k=K) for name, model in models.items()}
    return found | {"shelf": save_shelf(folder / "shelf" / "1")}


@pytest.fixture(scope="module")
def running(folders):
    with StandInServer(folders) as server:
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
    np.testing.assert_allclose(scores, [r.score for r in recommendations], atol=1e-4)


@protocols
def test_strings(ask, server, models, protocol):
    history, feedback = ["tràck 3", "unheard of", "tràck 0", "tràck 5"], [2, 1, -1, 1]
    words = ["tràck 3:like", "unheard of", "tràck 0:skip", "tràck 5:keep"]
    code, printed, errors = ask(protocol, "strings", "--history", *words)
    assert (code, errors) == (0, "")
    [expected] = keras_negrec.recommend(models["strings"], [history], K, feedback=[feedback])
    check(printed, expected)
    [(_, signature, sent)] = server.received
    assert signature == "serving_default" and sent["feedback"].tolist() == [feedback]


@protocols
def test_integers(ask, models, protocol):
    code, printed, _ = ask(protocol, "integers", "--history=-20:dislike", "--history", "50", "20")
    assert code == 0
    [expected] = keras_negrec.recommend(
        models["integers"], [[-20, 50, 20]], K, feedback=[[-2, 1, 1]]
    )
    check(printed, expected)


@protocols
def test_where_few_items_are_left(ask, models, protocol):
    history = STRINGS.items.tolist()[:10]
    _, printed, _ = ask(protocol, "strings", "--history", *history, "--k", "5")
    assert {item for item, _ in rows(printed)} == {"tràck 10", "tràck 11"}
    assert "2 items came back, 5 were asked for." in printed


@protocols
def test_sessions(ask, folders, server, protocol):
    code, printed, _ = ask(protocol, "sessions", "--history", "/", "0", "30", "/", "10:skip")
    assert code == 0
    answer = tf.saved_model.load(str(folders["sessions"])).signatures["serving_default"](
        item_ids=tf.constant([[0, 30, 10]], tf.int64),
        feedback=tf.constant([[1, 1, -1]]),
        session_ids=tf.constant([[0, 0, 1]]),
    )
    assert [item for item, _ in rows(printed)] == [str(i) for i in answer["item_ids"][0].numpy()]
    [(_, _, sent)] = server.received
    assert sent["session_ids"].tolist() == [[0, 0, 1]]


@protocols
def test_the_history_is_padded_on_the_left(ask, models, server, protocol):
    history = ["--history", "tràck 1", "tràck 2:skip"]
    _, unpadded, _ = ask(protocol, "strings", *history)
    _, printed, _ = ask(protocol, "strings", *history, "--length", "4")
    assert rows(printed) == rows(unpadded)
    sent = server.received[-1][2]
    items = [i.decode() if isinstance(i, bytes) else i for i in sent["item_ids"][0]]
    assert items == ["", "", "tràck 1", "tràck 2"]
    assert sent["feedback"].tolist() == [[0, 0, 1, -1]]
    ask(protocol, "integers", "--history", "10", "--length", "2")
    assert server.received[-1][2]["item_ids"].tolist() == [[-1, 10]]


@protocols
def test_signature_with_defaults(ask, protocol):
    shelf = ["--signature", "recommend", "--history", "a"]
    assert rows(ask(protocol, "shelf", *shelf)[1]) == [("d", 4.0), ("c", 3.0)]
    assert len(rows(ask(protocol, "shelf", *shelf, "--k", "4")[1])) == 4
    _, printed, _ = ask(protocol, "shelf", *shelf, "--blocked", "d", "b", "--k", "3")
    assert rows(printed) == [("c", 3.0), ("a", 1.0)]
    _, printed, _ = ask(protocol, "shelf", *shelf, "--allowed", "a", "b")
    assert rows(printed) == [("b", 2.0), ("a", 1.0)]


def test_defaults_are_left_to_the_server_over_grpc(ask, server):
    ask("--grpc", "shelf", "--signature", "recommend", "--history", "a")
    assert set(server.received[-1][2]) == {"item_ids", "feedback"}


def test_k_of_a_signature_that_has_none(ask):
    _, printed, _ = ask("--grpc", "strings", "--history", "tràck 1", "--k", "2")
    assert len(rows(printed)) == 2
    _, printed, _ = ask("--grpc", "strings", "--history", "tràck 1", "--k", "9")
    assert len(rows(printed)) == K and "5 items came back, 9 were asked for." in printed


@protocols
def test_score(ask, protocol):
    _, printed, _ = ask(
        protocol, "shelf", "--signature", "score", "--history", "a", "--candidates", "b", "d", "a"
    )
    assert rows(printed) == [("d", 4.0), ("b", 2.0), ("a", 1.0)]


@protocols
def test_embed(ask, protocol):
    code, printed, _ = ask(protocol, "shelf", "--signature", "embed", "--history", "a:skip", "b")
    assert (code, printed) == (0, "vectors: -0.5 0.5\n")


@protocols
def test_ids_are_shown_as_they_are(ask, protocol):
    _, printed, _ = ask(
        protocol,
        *("shelf", "--signature", "score", "--history", "a"),
        "--candidates",
        "[red]:x:[/red]",
    )
    assert rows(printed) == [("[red]:x:[/red]", 0.0)]


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("--grpc", "error: NOT_FOUND: Servable not found for request: Latest(unheard-of)"),
        ("--rest", "error: HTTP 404: Servable not found for request: Latest(unheard-of)"),
    ],
)
def test_unknown_model(ask, protocol, message):
    assert ask(protocol, "unheard-of", "--history", "a") == (1, "", message)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("--grpc", "error: INVALID_ARGUMENT: .*at least k"),
        ("--rest", "error: HTTP 400: .*at least k"),
    ],
)
def test_what_the_server_refuses(ask, protocol, message):
    code, printed, errors = ask(
        protocol, "shelf", "--signature", "recommend", "--history", "a", "--k", "7"
    )
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
            ["shelf", "--history", "a"],
            "shelf has no signature serving_default; it has embed, recommend, score",
        ),
        (
            ["shelf", "--history", "a", "--signature", "score"],
            "score also needs candidate_ids. Give --candidates.",
        ),
    ],
)
def test_what_cannot_be_asked(ask, server, protocol, arguments, message):
    code, printed, errors = ask(protocol, *arguments)
    assert (code, printed) == (1, "")
    assert errors.startswith("error: ") and message in errors
    assert server.received == []


@protocols
def test_load(ask, server, protocol):
    code, printed, _ = ask(
        protocol, "strings", "--history", "tràck 1", "--load", "40", "--concurrency", "4"
    )
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


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("--grpc", "8 x UNAVAILABLE: The batch scheduling queue is full"),
        ("--rest", "8 x HTTP 503: The batch scheduling queue is full"),
    ],
)
def test_load_with_errors(ask, server, protocol, message):
    server.busy_every = 5
    code, printed, _ = ask(protocol, "strings", "--history", "tràck 1", "--load", "40")
    assert code == 1
    assert "40 requests, 1 at a time, 8 errors" in printed and message in printed
    assert "latency ms" in printed


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
            *("--port", str(server.rest_port), "--model", "strings", "--history", "tràck 1"),
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
