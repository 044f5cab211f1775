"""Parameters as JSON holds them, functions by a digest of what they do."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import types
from typing import Any


def as_json(value: Any) -> Any:
    """A parameter as JSON holds it; a function is known by its name and a digest.

    The digest is of the function's code, its defaults (those of keyword-only parameters too), the
    variables that it closes over, and the globals that it names: functions in their turn where
    they are of the same package or folder, and constants. Of a `functools.partial` it is of the
    function and its arguments. So a rule that was changed, be it in a helper, is another
    parameter. What other packages do is not looked into.
    """
    if callable(value):
        known = repr(_describe(value, []))
        return f"{_name_of(value)} {hashlib.sha256(known.encode()).hexdigest()[:16]}"
    if isinstance(value, dict):
        # As JSON and the command write them: True is "true".
        keys = [json.dumps(key) if isinstance(key, bool) else str(key) for key in value]
        return dict(zip(keys, map(as_json, value.values()), strict=True))
    if isinstance(value, (list, tuple)):
        return [as_json(entry) for entry in value]
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def _name_of(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    if not hasattr(function, "__qualname__"):
        function = type(function)
    return f"{function.__module__}.{function.__qualname__}"


def _describe(value: Any, seen: list[Any]) -> Any:
    """A value as lists and tuples whose `repr` is the same in every process.

    Functions and objects that are `seen` were described before; they are not again, and may so
    refer to themselves.
    """
    if isinstance(value, (str, bytes, int, float, complex, type(None), type(...))):
        return value
    if isinstance(value, functools.partial):
        return _describe((value.func, value.args, value.keywords), seen)
    if isinstance(value, types.MethodType):
        return _describe((value.__func__, value.__self__), seen)
    if isinstance(value, types.CodeType):  # without where it stands
        return value.co_code, value.co_names, _describe(value.co_consts, seen)
    if isinstance(value, dict):
        return [(repr(key), _describe(entry, seen)) for key, entry in value.items()]
    if isinstance(value, (list, tuple)):
        return [_describe(entry, seen) for entry in value]
    if isinstance(value, (set, frozenset)):
        return sorted(repr(_describe(entry, seen)) for entry in value)
    if isinstance(value, (type, types.ModuleType, types.BuiltinFunctionType)):
        return value.__name__
    if hasattr(value, "tolist"):
        return type(value).__name__, value.tolist()
    if any(value is other for other in seen):
        return "again", _name_of(value)
    seen.append(value)
    if isinstance(value, types.FunctionType):
        return _describe_function(value, seen)
    call = vars(type(value)).get("__call__")  # an object that is called like a function
    return _name_of(value), _describe([call, getattr(value, "__dict__", None)], seen)


def _describe_function(function: types.FunctionType, seen: list[Any]) -> Any:
    code = function.__code__
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    parts = [code, function.__defaults__, function.__kwdefaults__, cells]
    names = sorted(_names_in(code))
    for name in names:
        found = function.__globals__.get(name)
        if isinstance(found, types.ModuleType) and _is_near(found, function):
            members = (getattr(found, member, None) for member in names)
            parts += [member for member in members if _is_near(member, function)]
        elif _is_near(found, function) or _is_constant(found):
            parts.append((name, found))
    return [_describe(part, seen) for part in parts]


def _names_in(code: types.CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*map(_names_in, inner))


def _is_constant(value: Any) -> bool:
    return isinstance(value, (str, bytes, int, float, list, tuple, dict, set, frozenset))


def _is_near(value: Any, function: types.FunctionType) -> bool:
    """Whether a function or module is of the function's package, or of its folder."""
    if isinstance(value, functools.partial):
        return True
    if isinstance(value, types.ModuleType):
        package, file = value.__name__, getattr(value, "__file__", None)
    elif isinstance(value, types.FunctionType):
        package, file = value.__module__, value.__code__.co_filename
    else:
        return False
    own_package = function.__module__.split(".")[0]
    same_folder = os.path.dirname(file or "") == os.path.dirname(function.__code__.co_filename)
    return (package or "").split(".")[0] == own_package or same_folder
