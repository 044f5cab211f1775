"""The configuration of a TF Serving server for all exported models of a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.atomic_write import atomic_write

MODELS_FILE = "models.config"
BATCHING_FILE = "batching_parameters.txt"
MONITORING_FILE = "monitoring.config"

BATCHING = {"max_batch_size": 64, "batch_timeout_micros": 1000, "max_enqueued_batches": 100}
_BATCHING_NAMES = (*BATCHING, "num_batch_threads")


def write_server_config(
    folder: str | Path,
    *,
    container_path: str = "/models",
    batching: Mapping[str, int] | None = None,
    prometheus_path: str = "/monitoring/prometheus/metrics",
) -> list[Path]:
    """Writes what TF Serving needs to be told to serve every exported model of a folder.

    Three files appear in `folder`, each whole or not at all:

    - `models.config` (`--model_config_file`): every subfolder that holds numbered versions is
      a model, called like the subfolder. The server takes the newest version. Write it again
      after exporting a model of a new name; new versions are found without.
    - `monitoring.config` (`--monitoring_config_file`): metrics for Prometheus on the REST port.
    - `batching_parameters.txt` (`--batching_parameters_file`, refused by the server without
      `--enable_batching`): how the server puts requests of several clients into one batch.

    Batching has conditions, and is best left off until a load test says that it helps. Requests
    that meet in a batch must have the same lengths, or all of them fail: clients pad on the left,
    with "" or -1 (other columns with 0). The server's own padding is always off, since it repeats
    the first item on the right. Every input must be sent with the same first dimension, also
    `feedback`, so that signatures with a scalar input cannot be asked.

    Args:
        folder: the folder that the models' folders are in.
        container_path: where the server finds `folder`, such as the path that a container
            mounts it at.
        batching: `max_batch_size`, `batch_timeout_micros`, `max_enqueued_batches`,
            `num_batch_threads`: ints that replace, or add to, the default of 64, 1000, 100
            and, set by the server, one thread for each core.
        prometheus_path: path of the metrics, `/...`.

    Returns:
        The paths of the three files, in the order above.

    Raises:
        ValueError: a folder without an exported model; a model whose newest version is not a
            SavedModel; an argument that the server would refuse.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> model = keras_negrec.build_model("sasrec", vocabulary=vocabulary)
    >>> version = keras_negrec.export(model, "saved_models/example")
    >>> models, monitoring, batching = keras_negrec.serving.write_server_config("saved_models")
    >>> print(models.read_text())
    model_config_list {
      config {
        name: "example"
        base_path: "/models/example"
        model_platform: "tensorflow"
      }
    }

    Reference:
        [TensorFlow Serving configuration](https://www.tensorflow.org/tfx/serving/serving_config)
    """
    folder = Path(folder)
    for name, value in {
        "container_path": container_path,
        "prometheus_path": prometheus_path,
    }.items():
        if not value.startswith("/") or any(c.isspace() or c in '"\\' for c in value):
            raise ValueError(
                f"`{name}` must start with / and hold no spaces, quotes or backslashes. Received: "
                f"{name}={value!r}"
            )
    texts = {
        MODELS_FILE: _models_config(_model_names(folder), container_path),
        MONITORING_FILE: f'prometheus_config {{\n  enable: true\n  path: "{prometheus_path}"\n}}\n',
        BATCHING_FILE: _batching_parameters(batching or {}),
    }
    for name, text in texts.items():
        with atomic_write(folder / name) as partial:
            partial.write_text(text, "utf-8")
    return [folder / name for name in texts]


def _model_names(folder: Path) -> list[str]:
    names = []
    for model in sorted(folder.iterdir()) if folder.is_dir() else []:
        versions = [v for v in model.glob("*") if v.name.isdecimal() and v.is_dir()]
        if not versions or model.name.startswith("."):
            continue
        newest = max(versions, key=lambda version: int(version.name))
        if not (newest / "saved_model.pb").is_file():
            raise ValueError(
                f"The newest version of a model is the one that is served. {newest} has no "
                "saved_model.pb."
            )
        names.append(model.name)
    if not names:
        raise ValueError(
            "`folder` must hold exported models, as <name>/<version>/saved_model.pb. Received: "
            f"{str(folder)!r}"
        )
    return names


def _models_config(names: list[str], container_path: str) -> str:
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    config = model_server_config_pb2.ModelServerConfig()
    for name in names:
        config.model_config_list.config.add(
            name=name,
            base_path=f"{container_path.rstrip('/')}/{name}",
            model_platform="tensorflow",
        )
    return text_format.MessageToString(config, as_utf8=True)


def _batching_parameters(batching: Mapping[str, int]) -> str:
    """Text of a BatchingParameters message, which tensorflow-serving-api does not hold."""
    unknown = set(batching) - set(_BATCHING_NAMES)
    if unknown:
        raise ValueError(
            f"`batching` takes {', '.join(_BATCHING_NAMES)}. Received: {', '.join(sorted(unknown))}"
        )
    lines = []
    for name, value in {**BATCHING, **batching}.items():
        no_waiting = name == "batch_timeout_micros" and type(value) is int and value == 0
        if not no_waiting:
            check_positive_int(name, value)
        lines.append(f"{name} {{ value: {value} }}\n")
    return "".join([*lines, "pad_variable_length_inputs: false\n"])
