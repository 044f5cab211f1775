import os

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf import wrappers_pb2 as wrappers_pb2  # its types are imported below
from tensorflow_serving.config import model_server_config_pb2

from keras_negrec.serving import write_server_config

Field = descriptor_pb2.FieldDescriptorProto


def server_messages():
    """The two messages that tensorflow-serving-api leaves out, by name.

    With the field names, numbers and types of TensorFlow Serving's session_bundle_config.proto
    and monitoring_config.proto.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="tensorflow_serving_messages_for_tests.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    batching = file.message_type.add(name="BatchingParameters")
    for number, name in enumerate(
        ["max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"], 1
    ):
        kind = ".google.protobuf.Int64Value"
        batching.field.add(name=name, number=number, type=Field.TYPE_MESSAGE, type_name=kind)
    batching.field.add(
        name="thread_pool_name",
        number=5,
        type=Field.TYPE_MESSAGE,
        type_name=".google.protobuf.StringValue",
    )
    batching.field.add(
        name="allowed_batch_sizes", number=6, type=Field.TYPE_INT64, label=Field.LABEL_REPEATED
    )
    batching.field.add(name="pad_variable_length_inputs", number=7, type=Field.TYPE_BOOL)
    prometheus = file.message_type.add(name="PrometheusConfig")
    prometheus.field.add(name="enable", number=1, type=Field.TYPE_BOOL)
    prometheus.field.add(name="path", number=2, type=Field.TYPE_STRING)
    monitoring = file.message_type.add(name="MonitoringConfig")
    monitoring.field.add(
        name="prometheus_config",
        number=1,
        type=Field.TYPE_MESSAGE,
        type_name=".tensorflow.serving.PrometheusConfig",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClassesForFiles([file.name], pool)


MESSAGES = server_messages()


def parsed(path, name):
    return text_format.Parse(path.read_text("utf-8"), MESSAGES[f"tensorflow.serving.{name}"]())


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
    paths = write_server_config(folder)
    names = ["models.config", "monitoring.config", "batching_parameters.txt"]
    assert paths == [folder / name for name in names]
    assert models(paths[0]) == [
        ("radio", "/models/radio", "tensorflow"),
        ("tràck radio", "/models/tràck radio", "tensorflow"),
    ]


def test_a_new_model_is_added_and_an_old_one_goes(folder):
    path, *_ = write_server_config(folder)
    export(folder, "new", "1")
    os.rename(folder / "radio", folder / ".radio")
    write_server_config(str(folder))
    assert [name for name, _, _ in models(path)] == ["new", "tràck radio"]


@pytest.mark.parametrize("container_path", ["/srv/models", "/srv/models/"])
def test_container_path(folder, container_path):
    path, *_ = write_server_config(folder, container_path=container_path)
    assert models(path)[0][1] == "/srv/models/radio"


def test_monitoring(folder):
    _, path, _ = write_server_config(folder)
    found = parsed(path, "MonitoringConfig").prometheus_config
    assert (found.enable, found.path) == (True, "/monitoring/prometheus/metrics")
    write_server_config(folder, prometheus_path="/metrics")
    assert parsed(path, "MonitoringConfig").prometheus_config.path == "/metrics"


def test_batching(folder):
    _, _, path = write_server_config(folder)
    found = parsed(path, "BatchingParameters")
    assert found.max_batch_size.value == 64
    assert found.batch_timeout_micros.value == 1000
    assert found.max_enqueued_batches.value == 100
    assert not found.HasField("num_batch_threads")  # the server's own
    assert not found.pad_variable_length_inputs


def test_batching_by_the_caller(folder):
    batching = {"max_batch_size": 8, "batch_timeout_micros": 0, "num_batch_threads": 4}
    _, _, path = write_server_config(folder, batching=batching)
    found = parsed(path, "BatchingParameters")
    assert found.max_batch_size.value == 8
    assert found.HasField("batch_timeout_micros") and found.batch_timeout_micros.value == 0
    assert found.max_enqueued_batches.value == 100
    assert found.num_batch_threads.value == 4
    assert not found.pad_variable_length_inputs


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


def test_the_newest_version_must_be_a_model(folder):
    (folder / "radio" / "11").mkdir()
    with pytest.raises(ValueError, match=r"radio/11 has no saved_model.pb"):
        write_server_config(folder)


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_no_models(tmp_path, name):
    (tmp_path / "empty" / "notes").mkdir(parents=True)
    with pytest.raises(ValueError, match=f"must hold exported models.*{name}'"):
        write_server_config(tmp_path / name)


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
