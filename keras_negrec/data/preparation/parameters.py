"""The parameters of `prepare`: checked before anything is read, and as the manifest has them."""

from __future__ import annotations

import functools
import hashlib
import json
import numbers
import os
import types
from typing import Any

from keras_negrec.argument_checks import (
    check_choice,
    check_fraction,
    check_positive_float,
    check_positive_int,
)

CHOICES: dict[str, tuple[str | None, ...]] = {
    "errors": ("raise", "skip"),
    "duplicates": ("drop", "keep", "raise"),
    "group_by": ("session", "user"),
    "require_feedback": (None, "any", "negative", "both"),
    "long_rows": ("windows", "newest"),
    "split": ("leave_one_out", "session", "time", None),
}
# What a rule may read of its module, beside functions.
_CONSTANTS = (str, bytes, int, float, list, tuple, dict, set, frozenset)


def check_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters, dates among them as seconds since 1970, if all are in range."""
    for name, values in CHOICES.items():
        check_choice(name, parameters[name], values)
    for name in ("min_item_count", "min_session_length", "num_shards", "k_core", "max_length"):
        if parameters[name] is not None or name not in ("k_core", "max_length"):
            check_positive_int(name, parameters[name])
    if parameters["session_gap"] is not None:
        check_positive_float("session_gap", parameters["session_gap"])
    shares = [check_fraction(name, parameters[name]) for name in ("validation_share", "test_share")]
    if sum(shares) >= 1:
        raise ValueError(
            "`validation_share` and `test_share` must leave something to train on. Received: "
            f"validation_share={shares[0]}, test_share={shares[1]}"
        )
    begins = [parameters["validation_from"], parameters["test_from"]]
    if begins == [None, None]:
        return parameters
    if parameters["split"] != "time" or None in begins:
        raise ValueError(
            '`validation_from` and `test_from` are for split="time", and go together. '
            f"Received: split={parameters['split']!r}, validation_from={begins[0]!r}, "
            f"test_from={begins[1]!r}"
        )
    validation = _to_time("validation_from", begins[0])
    test = _to_time("test_from", begins[1])
    if validation > test:
        raise ValueError(
            f"`validation_from` must not be after `test_from`. Received: {begins[0]!r} and "
            f"{begins[1]!r}"
        )
    return parameters | {"validation_from": validation, "test_from": test}


def _to_time(name: str, value) -> float:
    """A number, or seconds since 1970 of a date."""
    if isinstance(value, numbers.Real):
        return float(value)
    import pandas as pd

    try:
        time = pd.Timestamp(value)
    except ValueError as error:
        raise ValueError(
            f"`{name}` must be a number, or a date such as 2024-05-01. Received: {name}={value!r}"
        ) from error
    return (time.tz_localize("UTC") if time.tz is None else time).timestamp()


def as_json(value: Any) -> Any:
    """A parameter as JSON holds it; a function is known by its name and a digest.

    The digest is of the function's code, its defaults, the variables that it closes over, and the
    globals that it names: constants, and functions of the same package or folder. So a rule that
    was changed, be it in a helper, is another parameter. What other packages do is not looked into.
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
    if hasattr(value, "tolist"):
        return value.tolist()
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def _name_of(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    if not hasattr(function, "__qualname__"):
        function = type(function)
    return f"{function.__module__}.{function.__qualname__}"


def _describe(value: Any, seen: list[Any]) -> Any:
    """A value whose `repr` is the same in every process; what is `seen` may refer to itself."""
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
        elif _is_near(found, function) or isinstance(found, _CONSTANTS):
            parts.append((name, found))
    return [_describe(part, seen) for part in parts]


def _names_in(code: types.CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*map(_names_in, inner))


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
