"""What the server answers and refuses, over REST and gRPC."""

import contextlib
import json
import re
import resource
import socket

import grpc
import numpy as np
import pytest
import tensorflow as tf
from embedded_server import Caller, served_folder, serving
from small_model import ITEMS, K
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

import keras_negrec

HISTORY = ["tràck 3", "unheard of", "tràck 9"]
DEFAULTS = {"feedback": [[1]], "k": K, "allowed_item_ids": [[""]], "blocked_item_ids": [[""]]}


@pytest.fixture(scope="module")
def server(version, integers_version, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    served_folder(folder, strings=version, integers=integers_version)
    (folder / "results.json").write_text("{}")
    with serving(folder, request_bytes=2**20) as running:
        yield running


@pytest.fixture(scope="module")
def caller(server):
    caller = Caller(server)
    yield caller
    caller.close()


@pytest.fixture(params=["rest", "grpc"])
def ask(request, caller):
    """Asks over one of the protocols; REST wants every input, gRPC gets what was given."""

    def ask(model, signature, inputs, version=None):
        if request.param == "grpc":
            return caller.grpc(model, signature, inputs, version)
        takes = {"recommend": [*DEFAULTS], "score": ["feedback"]}.get(signature, ["feedback"])
        given = {name: DEFAULTS[name] for name in takes} | inputs
        return caller.rest(model, signature, given, version)

    ask.protocol = request.param
    return ask


def ranked(model, history, k=K, **columns):
    columns = {name: [values] for name, values in columns.items()}
    [found] = keras_negrec.recommend(model, [history], k, **columns)
    return [item for item, _ in found], [score for _, score in found]


def check(answer, expected):
    (status, outputs), (items, scores) = answer, expected
    assert status in (200, "OK") and outputs["item_ids"] == [items]
    np.testing.assert_allclose(outputs["scores"], [scores], rtol=1e-4, atol=1e-5)


def test_answers(ask, model, integers):
    feedback = [1, 2, -1]
    given = {"item_ids": [HISTORY], "feedback": [feedback]}
    check(ask("strings", "", given), ranked(model, HISTORY, feedback=feedback))
    check(ask("strings", "serving_default", given, 1), ranked(model, HISTORY, feedback=feedback))
    asked = {"item_ids": [HISTORY], "k": 3, "blocked_item_ids": [ranked(model, HISTORY)[0][:2]]}
    items, scores = ranked(model, HISTORY)
    check(ask("strings", "recommend", asked), (items[2:], scores[2:]))
    status, scores = ask("strings", "score", {"item_ids": [HISTORY], "candidate_ids": [["x"]]})
    assert status in (200, "OK") and scores == [[-np.inf]]
    status, vectors = ask("strings", "embed", {"item_ids": [HISTORY]})
    assert np.shape(vectors) == (1, 8)
    of_sessions = {"item_ids": [[0, 30, 10]], "feedback": [[-2, 1, -1]], "session_ids": [[0, 0, 1]]}
    columns = {name: values[0] for name, values in of_sessions.items() if name != "item_ids"}
    check(ask("integers", "", of_sessions), ranked(integers, [0, 30, 10], **columns))


# What is asked (of "strings" and `serving_default` where nothing else is said), and the refusal.
REFUSED = [
    ({"name": "new"}, "NOT_FOUND", r"Servable not found for request: Latest\(new\)"),
    ({"version": 7}, "NOT_FOUND", r"Servable not found for request: Specific\(strings, 7\)"),
    ({"signature": "rank"}, "FAILED_PRECONDITION", 'Serving signature key "rank" not found'),
    (
        {"signature": "__saved_model_init_op"},
        "INTERNAL",
        "Failed to get input map for signature: __|Expected prediction signature method_name",
    ),
    (
        {"signature": "score", "item_ids": [HISTORY]},
        "INVALID_ARGUMENT",
        "Missing (named input: candidate_ids in|but required: {candidate_ids})",
    ),
    ({"signature": "recommend", "k": 0}, "INVALID_ARGUMENT", "`k` must be positive"),
    (
        {"signature": "recommend", "k": [2]},
        "INVALID_ARGUMENT",
        r"Input k must be int32 of shape \[\]. Received: int32 of shape \[1\]",
    ),
    (
        {"signature": "recommend", "allowed_item_ids": [["b"]] * 3},
        "INVALID_ARGUMENT",
        "`allowed_item_ids` must have one row",
    ),
    ({"feedback": [[3]]}, "INVALID_ARGUMENT", "`feedback` must hold values from -2 to 2"),
    ({"feedback": [[1, 1]]}, "INVALID_ARGUMENT", "`feedback` must have the shape of `item_ids`"),
    ({"feedback": [["a"]]}, "INVALID_ARGUMENT", "not of expected type: int32|must be int32"),
    ({"feedback": [[1.0]]}, "INVALID_ARGUMENT", "JSON Value: 1.0 Type: Number is|must be int32"),
    ({"item_ids": HISTORY}, "INVALID_ARGUMENT", r"shape \[-1, -1\]. Received: string of shape \[3"),
    ({"item_ids": [[1]]}, "INVALID_ARGUMENT", "JSON Value: 1 Type: Number is|must be string"),
    ({"item_ids": [ITEMS]}, "INVALID_ARGUMENT", "No item is left to recommend"),
    (
        {"name": "integers", "item_ids": [[10, 0]], "session_ids": [[1, 0]]},
        "INVALID_ARGUMENT",
        "never fall along a history",
    ),
]


@pytest.mark.parametrize(("asked", "code", "message"), REFUSED)
def test_refusals(ask, asked, code, message):
    asked = {"name": "strings", "signature": "", "version": None, "item_ids": [["a"]], **asked}
    name, signature, version = (asked.pop(key) for key in ("name", "signature", "version"))
    status, text = ask(name, signature, asked, version)
    assert status == (code if ask.protocol == "grpc" else 404 if code == "NOT_FOUND" else 400)
    assert re.search(message, text) and "\n" not in text, text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "The document is empty"),
        ("{", "JSON Parse error: "),
        ("[1]", "JSON Value: [1] Is not object"),
        (b"\xff\xfe", "JSON Parse error: "),
        ("[" * 100_000, "JSON Parse error: Nested too deeply."),
        ('{"inputs":' + '{"a":' * 50_000, "JSON Parse error: Nested too deeply."),
        ('{"inputs": {"item_ids": ' + "[" * 900 + "]" * 900 + ', "feedback": [[1]]}}', "deeper"),
        (
            '{"inputs": {"item_ids": [[1' + "0" * 5000 + ']], "feedback": [[1]]}}',
            "JSON Parse error",
        ),
        ("{}", "Missing 'inputs' or 'instances' key"),
        ('{"inputs": {}, "instances": []}', "expecting only one of 'inputs' or 'instances'"),
        ('{"inputs": [["a"]]}', "inputs is a plain value/list, but expecting an object"),
        ('{"inputs": {"item_ids": [["a"]]}}', "Missing named input: feedback in 'inputs' object."),
        (
            '{"inputs": {"item_ids": [["a"], []], "feedback": [[1]]}}',
            "unexpected size: 0 at level: 1",
        ),
        (
            '{"inputs": {"item_ids": [["a"], "b"], "feedback": [[1]]}}',
            "found at incorrect level: 2",
        ),
        (
            '{"inputs": {"item_ids": [["a", ["b"]]], "feedback": [[1]]}}',
            "list at unexpected level: 2",
        ),
        (
            '{"inputs": {"item_ids": [[{"b64": "?"}]], "feedback": [[1]]}}',
            "Unable to base64 decode",
        ),
        ('{"inputs": {"item_ids": [["\\ud800"]], "feedback": [[1]]}}', "surrogate pair"),
        ('{"inputs": {"item_ids": [["a"]], "feedback": [[2147483648]]}}', "expected type: int32"),
        ('{"inputs": {"item_ids": [["a"]], "feedback": [[true]]}}', "Type: True is not of"),
        ('{"inputs": {"item_ids": [[null]], "feedback": [[1]]}}', "Type: Null is not of"),
        ('{"signature_name": 1, "inputs": 1}', "'signature_name' key must be a string value."),
        ('{"instances": {}}', "Excepting 'instances' to be an list/array"),
        ('{"instances": []}', "No values in 'instances' array"),
        ('{"instances": [["a"]]}', "instances is a plain list, but expecting list of objects"),
        ('{"instances": [{"item_ids": ["a"]}]}', "keys must be equal to: feedback,item_ids"),
        (
            '{"instances": [{"item_ids": ["a"], "feedback": [1]}, ["a"]]}',
            "element: 1 of 'instances' list. Expecting objects alone",
        ),
        (
            '{"instances": [{"feedback":[], "item_ids":["a"]}, {"feedback":[], "item_ids":[]}]}',
            "Expecting shape (1,) but got: (0,)",
        ),
    ],
)
def test_json_that_is_refused(caller, body, message):
    status, text = caller.http("POST", "/v1/models/strings:predict", body)
    assert status == 400 and message in json.loads(text)["error"], text[:500]


def test_json_that_is_taken(caller, model):
    rows = [{"item_ids": [item, "tràck 5"], "feedback": [1, -1]} for item in ITEMS[:2]]
    _, text = caller.http("POST", "/v1/models/strings:predict", json.dumps({"instances": rows}))
    for row, answer in zip(rows, json.loads(text)["predictions"], strict=True):
        assert answer["item_ids"] == ranked(model, row["item_ids"], feedback=[1, -1])[0]
    encoded = {"item_ids": [[{"b64": "dHLDoGNrIDM="}]], "feedback": [[1]]}
    check(caller.rest("strings", "", encoded), ranked(model, ["tràck 3"]))
    nothing = {"item_ids": [[]], "feedback": [[]]}
    check(caller.rest("strings", "", nothing), ranked(model, []))
    # Numbers are written as TF Serving writes them, and -inf as its clients expect it.
    request = {"item_ids": [["tràck 3"]], "feedback": [[1]], "candidate_ids": [["x"]]}
    body = json.dumps({"signature_name": "score", "inputs": request})
    assert "-Infinity" in caller.http("POST", "/v1/models/strings:predict", body)[1]


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/models/new", 404, "Could not find any versions of model new"),
        ("GET", "/v1/models/strings/versions/9", 404, "Could not find version 9 of model strings"),
        ("GET", "/v1/models/new/metadata", 404, "Servable not found for request: Latest(new)"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        (
            "GET",
            "/v1/models/strings:predict",
            400,
            "Malformed request: GET /v1/models/strings:predict",
        ),
        ("POST", "/v1/models/strings", 400, "Malformed request: POST /v1/models/strings"),
        ("PUT", "/v1/models/strings:predict", 400, "Malformed request: PUT"),
        ("GET", f"/v1/models/strings/versions/{2**63}", 400, "Failed to convert version: "),
        (
            "GET",
            "/v1/models/strings/labels/stable",
            400,
            "Unrecognized servable version label: stable",
        ),
        ("GET", "/v1/models/..%2F..%2Fetc", 404, "Could not find any versions of model ../../etc"),
    ],
)
def test_paths_that_are_refused(caller, method, path, status, message):
    found, text = caller.http(method, path)
    assert found == status and message in json.loads(text)["error"]


def test_status_and_metadata_are_the_same_over_both(caller):
    status = json.loads(caller.http("GET", "/v1/models/strings/versions/1")[1])
    assert status == json.loads(caller.http("GET", "/V1/Models/strings")[1])
    healthy = {"error_code": "OK", "error_message": ""}
    assert status == {
        "model_version_status": [{"version": "1", "state": "AVAILABLE", "status": healthy}]
    }
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "strings"
    [found] = caller.models.GetModelStatus(request).model_version_status
    assert (found.version, found.state) == (1, get_model_status_pb2.ModelVersionStatus.AVAILABLE)

    metadata = json.loads(caller.http("GET", "/v1/models/strings/metadata")[1])
    assert metadata["model_spec"] == {"name": "strings", "signature_name": "", "version": "1"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert signatures["recommend"]["defaults"]["k"]["int_val"] == [K]
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "strings"
    answer = caller.predictions.GetModelMetadata(request)
    assert answer.model_spec.version.value == 1
    packed = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(packed)
    assert set(packed.signature_def) == set(signatures)
    for broken, message in (
        (get_model_metadata_pb2.GetModelMetadataRequest(), "Missing ModelSpec"),
        ({"metadata_field": ["size"]}, "Metadata field size is not supported"),
        ({"metadata_field": []}, "must specify at least one metadata_field"),
    ):
        if isinstance(broken, dict):
            broken = get_model_metadata_pb2.GetModelMetadataRequest(**broken)
            broken.model_spec.name = "strings"
        with pytest.raises(grpc.RpcError, match=message):
            caller.predictions.GetModelMetadata(broken)


def tensor(dtype, sizes, **values):
    proto = tf.make_tensor_proto(0)
    proto.Clear()
    proto.dtype = dtype.as_datatype_enum
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    for name, value in values.items():
        if name == "tensor_content":
            proto.tensor_content = value
        else:
            getattr(proto, name).extend(value)
    return proto


@pytest.mark.parametrize(
    ("feedback", "message"),
    [
        (tensor(tf.int32, [2**40, 2**40], int_val=[1]), "tensor parsing error: feedback"),
        (tensor(tf.int32, [2**30, 1], int_val=[1]), "tensor parsing error: feedback"),
        (tensor(tf.int32, [1, -1], int_val=[1]), "tensor parsing error: feedback"),
        (tensor(tf.int32, [1, 3], tensor_content=b"123"), "tensor parsing error: feedback"),
        (tensor(tf.int32, [1, 1], int_val=[1, 2, 3]), "tensor parsing error: feedback"),
        (tensor(tf.string, [1, 1], string_val=[b"1"]), "feedback must be int32"),
        (tensor(tf.variant, [1, 1]), "tensor parsing error: feedback"),
    ],
)
def test_tensors_that_are_refused(caller, feedback, message):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "strings"
    request.inputs["item_ids"].CopyFrom(tf.make_tensor_proto([["a"]]))
    request.inputs["feedback"].CopyFrom(feedback)
    with pytest.raises(grpc.RpcError, match=message) as refused:
        caller.predictions.Predict(request)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_outputs_that_are_asked_for(caller):
    request = predict_pb2.PredictRequest(output_filter=["scores"])
    request.model_spec.name = "strings"
    request.inputs["item_ids"].CopyFrom(tf.make_tensor_proto([["a"]]))
    answer = caller.predictions.Predict(request)
    assert list(answer.outputs) == ["scores"] and len(answer.outputs["scores"].float_val) == K
    spec = answer.model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("strings", "serving_default", 1)
    for wrong, message in ((["no"], "alias not found in signature: no"), (["scores"] * 2, "dupl")):
        del request.output_filter[:]
        request.output_filter.extend(wrong)
        with pytest.raises(grpc.RpcError, match=message):
            caller.predictions.Predict(request)


def test_large_requests_are_refused_early(server, caller):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "strings"
    request.inputs["item_ids"].CopyFrom(tf.make_tensor_proto([["x" * 2**21]]))
    with pytest.raises(grpc.RpcError) as refused:
        caller.predictions.Predict(request)
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    path = "/v1/models/strings:predict"
    status, text = caller.http("POST", path, b" " * 100_000_000)
    assert status == 413 and "at most 1048576 bytes" in text
    chunks = (b" " * 2**16 for _ in range(100))
    status, _ = caller.http("POST", path, chunks)  # its length is not said before
    assert status == 413
    assert caller.http("GET", "/v1/models/strings")[0] == 200, "the connection still works"


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("empty"), receive_seconds=0.5) as running:
        yield running


def test_silent_and_slow_connections_are_ended(impatient):
    address = ("127.0.0.1", impatient.rest_api_port)
    head = b"POST /v1/models/strings:predict HTTP/1.1\r\nHost: x\r\n"
    for sent, answer in ((b"", b""), (head, b""), (head + b"Content-Length: 9\r\n\r\n{", b" 408 ")):
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall(sent)
            try:
                assert answer in connection.recv(1000)
            except ConnectionResetError:
                assert not answer
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(b"\x00\x01 this is not HTTP\r\n\r\n")
        assert b" 400 " in connection.recv(1000)


def test_a_thousand_connections_at_once(server, model):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft >= 3000 or soft == hard
    inputs = {"item_ids": [HISTORY], "feedback": [[1]]}
    body = json.dumps({"inputs": inputs}).encode()
    request = (
        b"POST /v1/models/strings:predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    address = ("127.0.0.1", server.rest_api_port)
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(address, timeout=60)) for _ in range(1000)
        ]
        for connection in connections:
            connection.sendall(request)
        answers = [connection.makefile("rb").read() for connection in connections]
    assert all(b" 200 " in answer.split(b"\r\n", 1)[0] for answer in answers)
    expected = ranked(model, HISTORY)
    for answer in answers:
        check((200, json.loads(answer[answer.index(b"{") :])["outputs"]), expected)


def test_metrics(caller):
    before = counts(caller)
    caller.rest("strings", "embed", {"item_ids": [["a"]], "feedback": [[1]]})
    caller.grpc("strings", "embed", {"item_ids": [["a"]]})
    caller.grpc("strings", "embed", {"item_ids": [["a"]], "feedback": [[9]]})
    caller.grpc("no such model", "no such signature", {})
    after = counts(caller)
    for labels, number in (
        (("strings", "embed", "OK"), 2),
        (("strings", "embed", "INVALID_ARGUMENT"), 1),
        (("", "", "NOT_FOUND"), 1),
    ):
        name = 'request_count{{model_name="{}",signature_name="{}",status="{}"}}'.format(*labels)
        assert after[name] - before.get(name, 0) == number, name
    assert after['model_version_loaded{model_name="strings",version="1"}'] == 1
    of_grpc = '{model_name="strings",API="Predict",entrypoint="GRPC"'
    number = after[f"request_latency_count{of_grpc}}}"]
    assert after[f'request_latency_bucket{of_grpc},le="+Inf"}}'] == number > 0
    assert not any("no such" in name for name in after)


def counts(caller):
    for path in ("/metrics", "/monitoring/prometheus/metrics"):
        status, text = caller.http("GET", path)
        assert status == 200
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name.split(":serving:")[1]: float(value) for name, _, value in lines}
