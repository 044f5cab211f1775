"""The examples of all public docstrings are run."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import keras_negrec
from keras_negrec.data.event_columns import EVENT_COLUMNS

# Data do not depend on the Keras backend, and what serving writes is written by TensorFlow.
TENSORFLOW_ONLY = ("keras_negrec.data.", "keras_negrec.serving.")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    names = {"keras": keras, "keras_negrec": keras_negrec, "np": np, "pd": pd, "tf": tf}
    for module in pkgutil.walk_packages(keras_negrec.__path__, "keras_negrec."):
        for example in finder.find(importlib.import_module(module.name), extraglobs=names):
            if example.examples:
                elsewhere = example.name.startswith(TENSORFLOW_ONLY)
                skip = elsewhere and keras.config.backend() != "tensorflow"
                marks = [pytest.mark.skip(reason="does not depend on the backend")] if skip else []
                name = example.name.removeprefix("keras_negrec.")
                yield pytest.param(example, id=name, marks=marks)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("example", examples())
def test_example(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    report = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    known = {*EVENT_COLUMNS}
    try:
        runner.run(example, out=report.append)
    finally:  # what an example registers is known to no other test
        for name in {*EVENT_COLUMNS} - known:
            del EVENT_COLUMNS[name]
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def test_every_public_class_and_function_has_a_docstring():
    packages = [m.name for m in pkgutil.iter_modules(keras_negrec.__path__) if m.ispkg]
    assert "layers" in packages
    for package in packages:
        module = importlib.import_module(f"keras_negrec.{package}")
        for name in dir(module) if package != "backend" else ():
            assert getattr(module, name).__doc__, f"{package}.{name}"
