"""The JSON of TF Serving's REST API, to arrays and back.

Reference:
    [RESTful API](https://www.tensorflow.org/tfx/serving/api_rest)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping

import numpy as np

from keras_negrec.serving.embedded.serving_error import invalid
from keras_negrec.serving.embedded.signature import Signature

_DEEPEST = 64  # lists within lists; nothing that is asked for has more than two
_TYPES = {"object": "string", "float32": "float", "float64": "double"}


def read_predict_request(
    body: bytes, signature_named: Callable[[str], Signature]
) -> tuple[Signature, dict[str, np.ndarray], bool]:
    """The signature that is asked, its inputs, and whether they came row by row."""
    request = _parse(body)
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"{_value(request)} not formatted correctly. 'signature_name' key must be a string "
            "value."
        )
    signature = signature_named(name)
    if not signature.inputs:
        raise invalid(f"Failed to get input map for signature: {name or 'DEFAULT'}")
    if "instances" in request and "inputs" in request:
        raise invalid(
            f"{_value(request)} Not formatted correctly expecting only one of 'inputs' or "
            "'instances' keys to exist "
        )
    if "instances" in request:
        return signature, _from_rows(request, signature), True
    if "inputs" in request:
        return signature, _from_columns(request["inputs"], signature), False
    raise invalid("Missing 'inputs' or 'instances' key")


def write_predict_response(outputs: Mapping[str, np.ndarray], by_row: bool) -> bytes:
    """A single output comes without its name."""
    if not by_row:
        named = {name: _text(name, outputs[name]) for name in sorted(outputs)}
        return f'{{"outputs": {_object(named)}}}'.encode()
    rows = {array.shape[:1] for array in outputs.values()}
    if len(rows) != 1 or () in rows:
        raise invalid("Outputs have no first dimension, or not the same one: ask with 'inputs'.")
    predictions = [
        _object({name: _text(name, outputs[name][row]) for name in sorted(outputs)})
        for row in range(rows.pop()[0])
    ]
    return f'{{"predictions": [{", ".join(predictions)}]}}'.encode()


def _parse(body: bytes) -> dict:
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        request = json.loads(body.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except RecursionError:
        raise invalid("JSON Parse error: Nested too deeply.") from None
    except ValueError as error:  # not UTF-8; a number of thousands of digits
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(request, dict):
        raise invalid(f"{_value(request)} Is not object")
    return request


def _from_columns(inputs, signature: Signature) -> dict[str, np.ndarray]:
    if not isinstance(inputs, dict) or _is_base64(inputs):
        if len(signature.inputs) > 1:
            raise invalid("inputs is a plain value/list, but expecting an object")
        inputs = dict.fromkeys(signature.inputs, inputs)
    for name in signature.inputs:
        if name not in inputs:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _array(inputs[name], info.dtype) for name, info in signature.inputs.items()}


def _from_rows(request: dict, signature: Signature) -> dict[str, np.ndarray]:
    rows, names = request["instances"], sorted(signature.inputs)
    if not isinstance(rows, list):
        raise invalid(f"{_value(request)} Excepting 'instances' to be an list/array")
    if not rows:
        raise invalid(f"{_value(request)} No values in 'instances' array")
    if not isinstance(rows[0], dict) and len(names) > 1:
        raise invalid("instances is a plain list, but expecting list of objects")
    are_objects = isinstance(rows[0], dict) and not _is_base64(rows[0])
    arrays: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for i, row in enumerate(rows):
        wrong = f"Failed to process element: {i} of 'instances' list."
        if (isinstance(row, dict) and not _is_base64(row)) != are_objects:
            raise invalid(f"{wrong} Expecting objects alone, or lists and values alone")
        if are_objects and sorted(row) != names:
            raise invalid(f"{wrong} {_value(row)} keys must be equal to: {','.join(names)}")
        for name, values in row.items() if are_objects else [(names[0], row)]:
            array = _array(values, signature.inputs[name].dtype)
            if arrays[name] and array.shape != (shape := arrays[name][0].shape):
                raise invalid(f"{wrong} {name}: Expecting shape {shape} but got: {array.shape}")
            arrays[name].append(array)
    return {name: np.stack(parts) for name, parts in arrays.items()}


def _array(value, dtype: np.dtype) -> np.ndarray:
    """The tensor of nested lists, all of the same length at each level."""
    shape: list[int] = []
    flat = [value]
    while flat and isinstance(flat[0], list):
        level, size = len(shape), len(flat[0])
        if level == _DEEPEST:
            raise invalid(f"Lists are nested deeper than {_DEEPEST} levels.")
        for part in flat:
            if not isinstance(part, list):
                raise invalid(f"{_value(part)} found at incorrect level: {level + 1}")
            if len(part) != size:
                raise invalid(
                    f"Encountered list at unexpected size: {len(part)} at level: {level} expected "
                    f"size: {size}"
                )
        shape.append(size)
        flat = [item for part in flat for item in part]
    array = np.empty(len(flat), dtype)
    array[:] = _values(flat, len(shape), dtype)
    return array.reshape(shape)


def _values(flat: list, rank: int, dtype: np.dtype) -> list:
    """Values as the type wants them, which is 1 for integers and not 1.0, as in TF Serving."""
    types = set(map(type, flat))
    if list in types:
        raise invalid(f"Encountered list at unexpected level: {rank} expected < {rank}")
    if dtype.kind == "O":
        return [_string(value) for value in flat]
    kinds: dict[str, set[type]] = {"b": {bool}, "f": {int, float}}
    allowed = kinds.get(dtype.kind, {int})
    if not types <= allowed:
        raise _type_error(next(value for value in flat if type(value) not in allowed), dtype)
    if dtype.kind in "iu" and flat:
        limits = np.iinfo(dtype)
        for value in (min(flat), max(flat)):
            if not limits.min <= value <= limits.max:
                raise _type_error(value, dtype)
    if dtype.kind == "f":
        largest, largest_int = np.finfo(dtype).max, 2 ** (np.finfo(dtype).nmant + 1) - 1
        for value in flat:
            if abs(value) > largest_int if type(value) is int else largest < abs(value) < np.inf:
                raise invalid(
                    f"Cannot convert JSON value: {value} to {_TYPES.get(dtype.name)} without loss "
                    "of precision."
                )
    return flat


def _string(value) -> bytes:
    try:
        if isinstance(value, str):
            return value.encode()
        if _is_base64(value):
            return base64.b64decode(value["b64"], validate=True)
    except UnicodeEncodeError:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from None
    except ValueError:
        raise invalid("Unable to base64 decode") from None
    if isinstance(value, dict):
        raise invalid(f"{_value(value)} not formatted correctly for base64 data")
    raise _type_error(value, np.dtype(object))


def _is_base64(value) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _type_error(value, dtype: np.dtype):
    kinds = {dict: "Object", str: "String", bool: str(value), type(None): "Null"}
    return invalid(
        f"{_value(value)} Type: {kinds.get(type(value), 'Number')} is not of expected type: "
        f"{_TYPES.get(dtype.name, dtype.name)}"
    )


def _value(value) -> str:
    try:
        text = json.dumps(value)
    except (RecursionError, ValueError):
        text = "..."
    return f"JSON Value: {text if len(text) <= 200 else text[:200] + '...'}"


def _object(named: dict[str, str]) -> str:
    if len(named) == 1:
        return next(iter(named.values()))
    return f"{{{', '.join(f'{json.dumps(name)}: {text}' for name, text in named.items())}}}"


def _text(name: str, array: np.ndarray) -> str:
    if np.ndim(array):
        return f"[{', '.join([_text(name, part) for part in array])}]"
    if isinstance(array, bytes):
        if name.endswith("_bytes"):
            return json.dumps({"b64": base64.b64encode(array).decode()})
        return json.dumps(array.decode("utf-8", "replace"), ensure_ascii=False)
    if isinstance(array, np.floating):
        return _decimal(array)
    return json.dumps(array.item())


def _decimal(value: np.floating) -> str:
    """Six digits where they give the number back, else all; always recognisably a decimal."""
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    text = f"{value:.6g}"
    if type(value)(text) != value:
        text = f"{value:.{17 if value.dtype == np.float64 else 9}g}"
    return text if "." in text or "e" in text else f"{text}.0"
