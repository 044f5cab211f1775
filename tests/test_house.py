"""The plan of the house: which room imports which, and how large its pieces are."""

import ast
import inspect
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import keras
import pytest

import keras_negrec

PACKAGE = Path(keras_negrec.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
# From left to right, as data flow. A room imports none to its right.
ROOMS = [
    "atomic_write",
    "argument_checks",
    "backend",
    "data.event_columns",
    "data.vocabulary",
    "data.logs",
    "data.sessions",
    "data.examples",
    "data.splits",
    "data.features",
    "data.simulation",
    "data.preparation",
    "data.training",
    "optimizers",
    "losses",
    "layers",
    "metrics",
    "models",
    "evaluation",
    "callbacks",
    "serving",
]


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


@cache
def imports_of(module: str) -> frozenset[str]:
    """The modules of the package that loading one of them loads."""
    found = set()
    for node in ast.parse(MODULES[module].read_text("utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & set(MODULES) or {node.module}
    return frozenset(name for name in found if name in MODULES and name != "keras_negrec")


def test_no_circle_of_imports():
    finished: set[str] = set()

    def visit(module, path):
        assert module not in path, " -> ".join([*path, module])
        if module not in finished:
            for other in imports_of(module):
                visit(other, [*path, module])
            finished.add(module)

    for module in MODULES:
        visit(module, [])


def room_of(module: str) -> int | None:
    name = module.removeprefix("keras_negrec.")
    rooms = [i for i, room in enumerate(ROOMS) if f"{name}.".startswith(f"{room}.")]
    return rooms[0] if rooms else None


def test_no_room_imports_one_to_its_right():
    wrong = [
        f"{module} imports {other}"
        for module in MODULES
        for other in imports_of(module)
        if (own := room_of(module)) is not None
        and (room := room_of(other)) is not None
        and room > own
    ]
    assert not wrong


def test_every_module_is_in_a_room():
    outside = {module for module in MODULES if room_of(module) is None}
    assert outside == {"keras_negrec", "keras_negrec.data", "keras_negrec.data.__main__"}


def test_pieces_have_a_size_that_can_be_read():
    entries = [path for path in (PACKAGE / "data").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 13, entries  # twelve, and the stub of `__init__`
    long = {path.name: n for path in FILES if (n := path.read_text("utf-8").count("\n")) > 350}
    assert not long


@pytest.mark.parametrize("package", [name for name in dir(keras_negrec) if name.islower()])
def test_namespaces_show_what_is_public_and_nothing_else(package):
    module = getattr(keras_negrec, package)
    if not inspect.ismodule(module):
        return
    for name in dir(module):
        assert not name.startswith("_")
        value = getattr(module, name)
        assert "keras_negrec" in getattr(value, "__module__", getattr(value, "__name__", ""))
        if inspect.isclass(value) and not issubclass(value, dict):
            parameters = list(inspect.signature(value).parameters.values())
            named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
            assert len(named) <= 12, name


def loaded_after(code: str) -> set[str]:
    code += "\nimport sys; print(*sys.modules)"
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    return {name.split(".")[0] for name in result.stdout.split()}


once = pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="tested once")
HEAVY = {"duckdb", "ibis", "pyspark", "tensorflow_serving", "scipy", "matplotlib", "rich"}


@once
def test_importing_the_package_loads_little_more_than_keras():
    loaded = loaded_after(
        "import keras_negrec as kn; dir(kn), dir(kn.data); kn.evaluate, kn.export"
    )
    assert not (loaded & HEAVY) - loaded_after("import keras")


@once
def test_models_load_once_the_package_is_imported(tmp_path):
    model = keras_negrec.build_model("sasrec", num_items=9, embedding_dim=8, negative_loss="keep")
    model.save(tmp_path / "model.keras")
    for imports in ("import keras, keras_negrec", "import keras_negrec, keras"):
        loaded_after(f"{imports}; keras.saving.load_model({str(tmp_path / 'model.keras')!r})")
