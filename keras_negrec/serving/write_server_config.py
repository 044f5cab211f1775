"""The configuration of a TF Serving server for all exported models of a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from keras_negrec.argument_checks import check_positive_int
from keras_negrec.atomic_write import atomic_write

BATCHING = {"max_batch_size": 64, "batch_timeout_micros": 1000, "max_enqueued_batches": 100}


def write_server_config(
    folder: str | Path,
    *,
    container_path: str = "/models",
    batching: Mapping[str, int] | None = None,
    prometheus_path: str = "/monitoring/prometheus/metrics",
) -> list[Path]:
    """Writes what TF Serving needs to be told to serve every exported model of a folder.

    Three files appear in `folder`, each whole or not at all; their paths are returned:

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
        container_path: where the server finds `folder`, as a container mounts it.
        batching: ints that replace the default of `max_batch_size` 64, `batch_timeout_micros` 1000,
            `max_enqueued_batches` 100, and `num_batch_threads`, one for each core.
        prometheus_path: path of the metrics, `/...`.

    Raises:
        ValueError: a folder, or a newest version, without an exported model; an argument that the
            server would refuse.

    Example:

    >>> vocabulary = keras_negrec.data.Vocabulary(["intro", "verse", "outro"])
    >>> model = keras_negrec.build_model("sasrec", vocabulary=vocabulary)
    >>> version = keras_negrec.export(model, "saved_models/example")
    >>> paths = keras_negrec.serving.write_server_config("saved_models")
    >>> [path.name for path in paths]
    ['models.config', 'monitoring.config', 'batching_parameters.txt']

    Reference:
        [TensorFlow Serving configuration](https://www.tensorflow.org/tfx/serving/serving_config)
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    for name, value in (("container_path", container_path), ("prometheus_path", prometheus_path)):
        if not value.startswith("/") or any(c.isspace() or c in '"\\' for c in value):
            raise ValueError(
                f"`{name}` must start with / and hold no spaces, quotes or backslashes. Received: "
                f"{name}={value!r}"
            )
    folder = Path(folder)
    versions = [v for v in folder.glob("[!.]*/*") if v.name.isdecimal() and v.is_dir()]
    if not versions:
        raise ValueError(
            "`folder` must hold exported models, as <name>/<version>/saved_model.pb. Received: "
            f"{str(folder)!r}"
        )
    versions.sort(key=lambda version: int(version.name))
    config = model_server_config_pb2.ModelServerConfig()
    for name, newest in sorted({version.parent.name: version for version in versions}.items()):
        if not (newest / "saved_model.pb").is_file():
            raise ValueError(
                "The newest version of a model is the one that is served. "
                f"{newest} has no saved_model.pb."
            )
        config.model_config_list.config.add(
            name=name,
            base_path=f"{container_path.rstrip('/')}/{name}",
            model_platform="tensorflow",
        )
    names = [*BATCHING, "num_batch_threads"]
    if unknown := sorted(set(batching or {}) - set(names)):
        raise ValueError(f"`batching` takes {', '.join(names)}. Received: {', '.join(unknown)}")
    parameters = ""  # of a BatchingParameters message, which tensorflow-serving-api does not hold
    for name, number in {**BATCHING, **(batching or {})}.items():
        if name != "batch_timeout_micros" or number != 0 or number is False:  # 0: no waiting
            check_positive_int(name, number)
        parameters += f"{name} {{ value: {number} }}\n"
    monitoring = f'prometheus_config {{\n  enable: true\n  path: "{prometheus_path}"\n}}\n'
    texts = {
        "models.config": text_format.MessageToString(config, as_utf8=True),
        "monitoring.config": monitoring,
        "batching_parameters.txt": parameters + "pad_variable_length_inputs: false\n",
    }
    for name, text in texts.items():
        with atomic_write(folder / name) as partial:
            partial.write_text(text, "utf-8")
    return [folder / name for name in texts]
