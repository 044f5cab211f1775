import os
import re

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from keras_negrec.serving import write_server_config


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


@pytest.mark.parametrize("options", [{}, {"container_path": "/srv/models/"}])
def test_every_exported_model(folder, options):
    paths = write_server_config(folder, **options)
    place = "/srv/models" if options else "/models"
    names = ["models.config", "monitoring.config", "batching_parameters.txt"]
    assert paths == [folder / name for name in names]
    assert models(paths[0]) == [
        ("radio", f"{place}/radio", "tensorflow"),
        ("tràck radio", f"{place}/tràck radio", "tensorflow"),
    ]


def test_a_new_model_is_added_and_an_old_one_goes(folder):
    path, *_ = write_server_config(folder)
    export(folder, "new", "1")
    os.rename(folder / "radio", folder / ".radio")
    write_server_config(str(folder))
    assert [name for name, _, _ in models(path)] == ["new", "tràck radio"]


def test_monitoring(folder):
    """In the fields of TF Serving's monitoring_config.proto."""
    _, path, _ = write_server_config(folder, prometheus_path="/metrics")
    assert path.read_text().split() == [
        *("prometheus_config", "{", "enable:", "true", "path:", '"/metrics"', "}")
    ]


@pytest.mark.parametrize(
    ("batching", "expected"),
    [
        (None, (64, 1000, 100, None)),
        ({"max_batch_size": 8, "batch_timeout_micros": 0, "num_batch_threads": 4}, (8, 0, 100, 4)),
    ],
)
def test_batching(folder, batching, expected):
    """In the fields of TF Serving's session_bundle_config.proto, Int64Values and a bool."""
    _, _, path = write_server_config(folder, batching=batching)
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
        ({"batching": {"num_batch_threads": 1.5}}, "Received: num_batch_threads=1.5"),
        ({"container_path": "models"}, "`container_path` must start with /.*'models'"),
        ({"prometheus_path": "/a b"}, "`prometheus_path` must start with /.*'/a b'"),
        ({"prometheus_path": '/a"'}, "`prometheus_path` must start with /"),
    ],
)
def test_what_the_server_would_refuse(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_server_config(folder, **arguments)
    assert not any(path.is_file() for path in folder.iterdir() if path.name != "README.md")


def test_the_newest_version_must_be_a_model(folder, tmp_path):
    (folder / "radio" / "11").mkdir()
    with pytest.raises(ValueError, match=r"radio/11 has no saved_model.pb"):
        write_server_config(folder)
    with pytest.raises(ValueError, match=r"must hold exported models.*missing'"):
        write_server_config(tmp_path / "missing")


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
