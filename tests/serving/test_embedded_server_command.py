"""`python -m keras_negrec.serving`."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack

import pytest

from keras_negrec.serving.__main__ import main

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
COMMAND = [sys.executable, "-m", "keras_negrec.serving"]


def test_help_is_quick_and_says_what_it_is_for():
    command = [sys.executable, "-X", "importtime", *COMMAND[1:], "--help"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert "made for a\nlaptop and for a first deployment" in result.stdout
    loaded = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "argparse" in loaded and not loaded & {"tensorflow", "keras", "starlette", "grpc"}


def test_what_was_taken_is_answered_before_it_ends(version):
    environment = {key: value for key, value in os.environ.items() if key != LOG_LEVEL}
    process = subprocess.Popen(
        [*COMMAND, str(version.parents[1]), "--port", "0", "--rest-api-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    with process, ExitStack() as ending:
        ending.callback(process.kill)  # else a failure here would wait for it for ever
        said = []

        def read_until(word):
            while not said or word not in said[-1]:
                said.append(process.stdout.readline())
                assert said[-1], said

        read_until("Metrics")
        [url] = [line.split()[-1] for line in said if "REST" in line]
        assert url.endswith("/v1/models/radio:predict")
        address = ("127.0.0.1", int(url.split(":")[2].split("/")[0]))
        body = json.dumps({"inputs": {"item_ids": [["a"]], "feedback": [[1]]}}).encode()
        with urllib.request.urlopen(url, body) as answer:
            expected = json.load(answer)["outputs"]
        head = (
            b"POST /v1/models/radio:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
            b"Expect: 100-continue\r\n\r\n" % len(body)
        )
        with ExitStack() as stack:
            connections = [
                stack.enter_context(socket.create_connection(address, timeout=60))
                for _ in range(50)
            ]
            for connection in connections:
                connection.sendall(head)
                assert b" 100 " in connection.recv(1000), "it is taken"
            process.send_signal(signal.SIGTERM)
            read_until("Ending")
            for connection in connections:
                connection.sendall(body)
            answers = [connection.makefile("rb").read() for connection in connections]
        for answer in answers:
            outputs = json.loads(answer.split(b"\r\n\r\n")[1])["outputs"]
            assert outputs["item_ids"] == expected["item_ids"]
        assert process.wait(60) == 0
        said += process.stdout.readlines()
    # Nothing but what it says itself, each line with its time.
    assert len(said) == 7 and all(line[2] == line[5] == ":" for line in said), said


def test_what_cannot_be_served_is_one_line(version, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv(LOG_LEVEL, "0")  # else the standard error would be replaced
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for arguments, message in (
            ([str(tmp_path / "missing")], "There is no folder"),
            ([str(tmp_path), "--rest-api-port", port], f"Port {port} of 127.0.0.1 cannot"),
            ([str(tmp_path), "--rest-api-port", "0", "--port", port], f"Port {port} of 127.0.0.1"),
        ):
            assert main(arguments) == 1
            assert f"error: {message}" in capfd.readouterr().err
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--max-request-mb", "0"])
