"""The plan of the house: which room imports which, and how large its pieces are."""

import ast
import inspect
from functools import cache
from pathlib import Path

import pytest

import keras_negrec

PACKAGE = Path(keras_negrec.__file__).parent
TESTS = Path(__file__).parent
# From left to right, as data flow. A room imports none to its right.
ROOMS = [
    "atomic_write",
    "partial_folder",
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


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


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


@cache
def lengths_of_files(folder: Path) -> dict[str, int]:
    return {str(path): path.read_bytes().count(b"\n") for path in folder.rglob("*.py")}


@pytest.mark.parametrize(("folder", "most"), [(PACKAGE, 22_300), (TESTS, 18_300)])
def test_the_house_does_not_grow(folder, most):
    assert sum(lengths_of_files(folder).values()) <= most


def test_pieces_have_a_size_that_can_be_read():
    sources = lengths_of_files(PACKAGE) | lengths_of_files(TESTS.parent / "recipes")
    assert not {name: length for name, length in sources.items() if length > 350}
    entries = {path.stem for path in (PACKAGE / "data").iterdir()} - {"__pycache__"}
    assert len(entries) <= 12, entries  # `__init__` and its stub are one


@pytest.mark.parametrize("package", [name for name in dir(keras_negrec) if name.islower()])
def test_namespaces_show_what_is_public_and_nothing_else(package):
    module = getattr(keras_negrec, package)
    if not inspect.ismodule(module):
        return
    for name in dir(module):
        assert not name.startswith("_")
        value = getattr(module, name)
        if name == "RECIPES":  # a table of settings
            continue
        assert "keras_negrec" in getattr(value, "__module__", getattr(value, "__name__", ""))
        if inspect.isclass(value) and not issubclass(value, dict):
            parameters = inspect.signature(value).parameters.values()
            named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
            assert len(named) <= 12, name
