"""A second process whose Keras runs on TensorFlow, for what only TensorFlow can write."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import keras

from keras_negrec.backend.tensorflow import tf
from keras_negrec.data import Vocabulary
from keras_negrec.data.event_columns import EVENT_COLUMNS

# `-P` keeps the current folder off the path, where a file may have the name of a module. What this
# process finds there is found last, and this package is the one that runs here.
_PROGRAM = """
import contextlib, importlib.util, json, sys
request = json.loads(sys.argv[1])
sys.path += [folder for folder in request["path"] if folder not in sys.path]
spec = importlib.util.spec_from_file_location("keras_negrec", request["package"])
keras_negrec = importlib.util.module_from_spec(spec)
sys.modules["keras_negrec"] = keras_negrec
spec.loader.exec_module(keras_negrec)
import keras
from keras_negrec.data.event_columns import EVENT_COLUMNS, EventColumn
for column in request["columns"]:
    EVENT_COLUMNS[column["name"]] = EventColumn(**column)
function = getattr(keras_negrec.serving, request["function"])
for module in request["modules"]:
    with contextlib.suppress(ImportError):
        importlib.import_module(module)
model = keras.saving.load_model(request["model"])
vocabulary = keras_negrec.data.Vocabulary.load(request["vocabulary"])
print(function(model, request["to"], vocabulary=vocabulary, **request["options"]))
"""


def needs_process() -> bool:
    """Whether models must be exported elsewhere.

    On a GPU, too: Keras would trace a GRU to operations that no other processor has.
    """
    on_tensorflow = keras.config.backend() == "tensorflow"
    return not on_tensorflow or bool(tf.config.list_physical_devices("GPU"))


def in_tensorflow(function: str, model, path: Path, vocabulary: Vocabulary, **options) -> Path:
    """Calls a function of `keras_negrec.serving` there, on the CPU, for the path that it returns.

    It is called with the model, which travels as a `.keras` file, `path`, the vocabulary and the
    options. Event columns that were registered here are known there, and so are classes that were
    registered with Keras, if the modules that define them can be imported.
    """
    modules = {custom.__module__ for custom in keras.saving.get_custom_objects().values()}
    with tempfile.TemporaryDirectory() as folder:
        saved, items = Path(folder) / "model.keras", Path(folder) / "vocabulary.json"
        request = {
            "path": [os.path.abspath(entry) for entry in sys.path],
            "package": sys.modules["keras_negrec"].__file__,
            "columns": [dataclasses.asdict(column) for column in EVENT_COLUMNS.values()],
            "modules": sorted(modules - {"__main__"}),
            "function": function,
            "model": str(saved),
            "vocabulary": str(items),
            "to": str(path),
            "options": options,
        }
        model.save(saved)
        vocabulary.save(items)
        result = subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM, json.dumps(request, default=float)],
            env={**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
        )
    if result.returncode != 0:
        hint = "\nClasses must be defined in a module that can be imported, not in a script."
        error = result.stderr + hint * ("__main__" in modules)
        raise RuntimeError(f"`{function}` in a TensorFlow process failed:\n{error}")
    return Path(result.stdout.strip().splitlines()[-1])
