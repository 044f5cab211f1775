"""How exports begin: with a vocabulary, and in a process whose Keras runs on TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import keras

from keras_negrec.backend.tensorflow import tf
from keras_negrec.data import Vocabulary
from keras_negrec.data.event_columns import EVENT_COLUMNS
from keras_negrec.models.finite_weights import not_finite
from keras_negrec.models.weighted_hybrid import WeightedHybrid
from keras_negrec.serving.recommend import vocabulary_of

# `-P` keeps the current folder off the path, where a file may have the name of a module. What this
# process finds there is found last, and this package is the one that runs here.
_PROGRAM = """
import contextlib, importlib.util, json, pickle, sys
request = json.loads(sys.argv[1])
sys.path += [folder for folder in request["path"] if folder not in sys.path]
spec = importlib.util.spec_from_file_location("keras_negrec", request["package"])
sys.modules["keras_negrec"] = keras_negrec = importlib.util.module_from_spec(spec)
spec.loader.exec_module(keras_negrec)
import keras
from keras_negrec.data.event_columns import EVENT_COLUMNS, EventColumn
for column in request["columns"]:
    EVENT_COLUMNS[column["name"]] = EventColumn(**column)
for module in request["modules"]:
    with contextlib.suppress(ImportError):
        importlib.import_module(module)
model = keras.saving.load_model(request["folder"] + "/model.keras")
if request["counted"]:
    with open(request["counted"], "rb") as file:
        counted, weights = pickle.load(file)
    model = keras_negrec.models.WeightedHybrid([model, counted], weights)
vocabulary = keras_negrec.data.Vocabulary.load(request["folder"] + "/vocabulary.json")
function = getattr(keras_negrec.serving, sys.argv[2])
print(function(model, request["to"], vocabulary=vocabulary, **request["options"]))
"""


def exported_vocabulary(function: str, model, vocabulary: Vocabulary | None) -> Vocabulary:
    """The vocabulary for a function that exports models that Keras has trained, and can be used."""
    if isinstance(model, WeightedHybrid) and function == "export":
        trained = model.exported_parts()[0]
    elif isinstance(model, keras.Model):
        trained = model
    else:
        raise TypeError(
            f"`{function}` takes a model that is trained with Keras. Received one of type "
            f"{type(model).__name__}."
        )
    vocabulary = vocabulary_of(model, vocabulary)
    if len(vocabulary) != model.num_items:
        raise ValueError(
            f"The vocabulary must hold the model's {model.num_items} items. Received: "
            f"{len(vocabulary)} items."
        )
    if wrong := not_finite(trained):
        raise ValueError(
            f"`{function}` writes no model whose weights are not finite, which ranks nothing. "
            f"Received: {', '.join(wrong)}"
        )
    return vocabulary


def needs_process() -> bool:
    """On a GPU, too: Keras would trace a GRU to operations that no other processor has."""
    return keras.config.backend() != "tensorflow" or bool(tf.config.list_physical_devices("GPU"))


def in_tensorflow(function: str, model, path: Path, vocabulary: Vocabulary, **options) -> Path:
    """What a function of `keras_negrec.serving` returns there, on the CPU.

    Event columns that were registered here are known there, and so are classes registered with
    Keras, if the modules that define them can be imported.
    """
    modules = {custom.__module__ for custom in keras.saving.get_custom_objects().values()}
    with tempfile.TemporaryDirectory() as folder:
        counted = None
        if isinstance(model, WeightedHybrid):
            model, weight, counts, of_counts = model.exported_parts()
            counted = os.path.join(folder, "counted.pickle")
            with open(counted, "wb") as file:
                pickle.dump((counts, (weight, of_counts)), file)
        model.save(Path(folder) / "model.keras")
        vocabulary.save(Path(folder) / "vocabulary.json")
        request = {
            "path": [os.path.abspath(entry) for entry in sys.path],
            "package": sys.modules["keras_negrec"].__file__,
            "columns": [dataclasses.asdict(column) for column in EVENT_COLUMNS.values()],
            "modules": sorted(modules - {"__main__"}),
            "folder": folder,
            "counted": counted,
            "to": str(path),
            "options": options,
        }
        result = subprocess.run(
            [sys.executable, "-P", "-c", _PROGRAM, json.dumps(request, default=float), function],
            env={**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
        )
    if result.returncode != 0:
        hint = "\nClasses must be defined in a module that can be imported, not in a script."
        error = result.stderr + hint * ("__main__" in modules)
        raise RuntimeError(f"`{function}` in a TensorFlow process failed:\n{error}")
    return Path(result.stdout.strip().splitlines()[-1])
