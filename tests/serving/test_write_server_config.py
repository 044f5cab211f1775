"""What the server is told, and what recipes/serving/compose.yaml says of it."""

import inspect
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from stand_in_server import METRICS, StandInServer
from tensorflow_serving.config import model_server_config_pb2

from keras_negrec.serving import write_server_config

ROOT = Path(__file__).parents[2]
FILE = ROOT / "recipes" / "serving" / "compose.yaml"
[SERVICE] = yaml.safe_load(FILE.read_text("utf-8"))["services"].values()
DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(write_server_config).parameters.items()
}


def export(folder, name, *versions):
    for version in versions:
        (folder / name / version).mkdir(parents=True)
        (folder / name / version / "saved_model.pb").write_bytes(b"")


@pytest.fixture
def folder(tmp_path):
    export(tmp_path, "radio", "1", "2", "10")
    export(tmp_path, "tràck radio", "7")
    (tmp_path / "README.md").write_text("")
    (tmp_path / "compare" / "runs").mkdir(parents=True)
    export(tmp_path / "radio", ".partial-x", "1")
    export(tmp_path, ".trash", "1")
    return tmp_path


def models(path):
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse(path.read_text("utf-8"), config)
    return [
        (model.name, model.base_path, model.model_platform)
        for model in config.model_config_list.config
    ]


def test_every_exported_model(folder):
    names = ["models.config", "monitoring.config", "batching_parameters.txt"]
    for options, place in (({}, "/models"), ({"container_path": "/srv/models/"}, "/srv/models")):
        paths = write_server_config(folder, **options)
        assert paths == [folder / name for name in names]
        assert models(paths[0]) == [
            ("radio", f"{place}/radio", "tensorflow"),
            ("tràck radio", f"{place}/tràck radio", "tensorflow"),
        ]
    export(folder, "new", "1")
    os.rename(folder / "radio", folder / ".radio")
    write_server_config(str(folder))
    assert [name for name, _, _ in models(paths[0])] == ["new", "tràck radio"]


@pytest.mark.parametrize(
    ("batching", "expected"),
    [
        (None, (64, 1000, 100, None)),
        ({"max_batch_size": 8, "batch_timeout_micros": 0, "num_batch_threads": 4}, (8, 0, 100, 4)),
    ],
)
def test_monitoring_and_batching(folder, batching, expected):
    """In the fields of TF Serving's monitoring_config and session_bundle_config."""
    _, monitoring, path = write_server_config(folder, batching=batching, prometheus_path="/metrics")
    assert monitoring.read_text().split() == [
        *("prometheus_config", "{", "enable:", "true", "path:", '"/metrics"', "}")
    ]
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    lines = [
        f"{name} {{ value: {value} }}"
        for name, value in zip(names, expected, strict=True)
        if value is not None  # the server's own
    ]
    found = re.sub(" +", " ", path.read_text()).splitlines()
    assert found == [*lines, "pad_variable_length_inputs: false"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batching": {"pad_variable_length_inputs": True}}, "Received: pad_variable_length_inp"),
        ({"batching": {"max_batch_size": 0}}, "positive integer. Received: max_batch_size=0"),
        ({"batching": {"batch_timeout_micros": -1}}, "Received: batch_timeout_micros=-1"),
        ({"batching": {"batch_timeout_micros": False}}, "Received: batch_timeout_micros=False"),
        ({"container_path": "models"}, "`container_path` must start with /.*'models'"),
        ({"prometheus_path": "/a b"}, "`prometheus_path` must start with /.*'/a b'"),
        ({"prometheus_path": '/a"'}, "`prometheus_path` must start with /"),
    ],
)
def test_what_the_server_would_refuse(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_server_config(folder, **arguments)
    assert not any(path.is_file() for path in folder.iterdir() if path.name != "README.md")


def test_the_newest_version_must_be_a_model(folder):
    (folder / "radio" / "11").mkdir()
    with pytest.raises(ValueError, match=r"radio/11 has no saved_model.pb"):
        write_server_config(folder)
    with pytest.raises(ValueError, match=r"must hold exported models.*missing'"):
        write_server_config(folder / "missing")


def test_a_failing_write_leaves_the_file_before(folder, monkeypatch):
    path, *_ = write_server_config(folder)
    before = path.read_text("utf-8")
    export(folder, "new", "1")

    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_server_config(folder)
    assert path.read_text("utf-8") == before
    assert not [entry for entry in folder.iterdir() if "partial" in entry.name]


def flags(**environment):
    """The server's flags, with ${NAME:+text} replaced as docker compose does it."""
    command = re.sub(
        r"\$\{(\w+):\+([^}]*)\}",
        lambda found: found[2] if environment.get(found[1]) else "",
        SERVICE["command"],
    )
    assert "$" not in command
    parts = [part.removeprefix("--").partition("=") for part in shlex.split(command)]
    return {name: value for name, _, value in parts}


def test_compose_names_what_is_written(folder):
    models, monitoring, batching = write_server_config(folder)
    assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", SERVICE["image"])
    found, without = flags(TF_SERVING_BATCHING="1"), flags()
    assert (found["port"], found["rest_api_port"]) == ("8500", "8501")
    assert SERVICE["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    [volume] = SERVICE["volumes"]
    source, place, mode = volume.split(":")
    assert (FILE.parent / source).resolve() == ROOT / "saved_models"
    assert (place, mode) == (DEFAULTS["container_path"], "ro")
    assert found["model_config_file"] == f"{place}/{models.name}"
    assert found["monitoring_config_file"] == f"{place}/{monitoring.name}"
    assert found["batching_parameters_file"] == f"{place}/{batching.name}"
    assert f'path: "{DEFAULTS["prometheus_path"]}"' in monitoring.read_text()
    # The server refuses the file without the switch, so they come and go together.
    assert set(found) - set(without) == {"enable_batching", "batching_parameters_file"}


def test_the_health_check():
    command, *arguments = SERVICE["healthcheck"]["test"]
    assert (command, DEFAULTS["prometheus_path"]) == ("CMD", METRICS)
    assert "/127.0.0.1/8501 " in arguments[-1] and METRICS in arguments[-1]

    def healthy(port, path=METRICS):
        check = arguments[-1].replace("8501", str(port)).replace(METRICS, path)
        return not subprocess.run([*arguments[:-1], check], capture_output=True).returncode

    with StandInServer({}) as server:
        assert healthy(server.rest_port)
        assert not healthy(server.rest_port, "/not/there")
    assert not healthy(server.rest_port)
