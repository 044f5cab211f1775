"""A second process whose Keras runs on TensorFlow, for what only TensorFlow can write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from keras_negrec.data import Vocabulary

_PROGRAM = """
import json, sys
import keras
import keras_negrec
function = getattr(keras_negrec.serving, sys.argv[1])
model = keras.saving.load_model(sys.argv[2])
print(function(model, sys.argv[3], **json.loads(sys.argv[4])))
"""


def in_tensorflow(
    function: str, model, path: Path, vocabulary: Vocabulary, *, options=None, environment=None
) -> Path:
    """Calls a function of `keras_negrec.serving` on the model there; returns the path it gives.

    Args:
        function: its name. It is called with the model, `path` and the options.
        model: a model of this package; it travels as a `.keras` file.
        path: where to write.
        vocabulary: goes with the model.
        options: dict of what JSON can hold.
        environment: dict of further environment variables.

    Raises:
        RuntimeError: the process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "model.keras"
        own_vocabulary = model.vocabulary
        model.vocabulary = vocabulary
        try:
            model.save(saved)
        finally:
            model.vocabulary = own_vocabulary
        arguments = [function, str(saved), str(path), json.dumps(options or {}, default=float)]
        result = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *arguments],
            env={**os.environ, "KERAS_BACKEND": "tensorflow", **(environment or {})},
            capture_output=True,
            text=True,
        )
    if result.returncode != 0:
        raise RuntimeError(f"`{function}` in a TensorFlow process failed:\n{result.stderr}")
    return Path(result.stdout.strip().splitlines()[-1])
