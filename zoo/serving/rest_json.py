"""JSON of the stock server's REST API: to arrays for a signature, and back."""

import base64
import binascii
import json

import numpy as np
import tensorflow as tf
from grpc import StatusCode

from zoo.serving.errors import ServingError


def parse(body):
    """Dict from the body of a request.

    Raises:
        ServingError: INVALID_ARGUMENT if it is no JSON object.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise _invalid(f"Expected a JSON object. Got {_short(document)}")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise _invalid(f"'signature_name' is a string. Got {_short(name)}")
    return document


def inputs_of(document, signature):
    """Arrays for a signature, from rows (`instances`) or columns (`inputs`).

    Args:
        document: From `parse`.
        signature: `SignatureDef`.

    Returns:
        Dict of NumPy arrays.

    Raises:
        ServingError: INVALID_ARGUMENT if the values are not what the signature takes.
    """
    infos = signature.inputs
    if ("instances" in document) == ("inputs" in document):
        raise _invalid("Expected one of the keys 'instances' (rows) and 'inputs' (columns).")
    if "instances" in document:
        columns = _columns(document["instances"], set(infos))
    else:
        columns = document["inputs"]
        if not isinstance(columns, dict) or _is_base64(columns):
            columns = {_only(infos): columns}
    missing = set(infos) - set(columns)
    if missing:
        raise _invalid(f"Missing named inputs: {', '.join(sorted(missing))}")
    return {name: _array(name, columns[name], info.dtype) for name, info in infos.items()}


def answer_of(outputs, rows):
    """The body of an answer, bytes.

    Args:
        outputs: Dict of NumPy arrays.
        rows: Whether the request came in rows.

    Raises:
        ServingError: INVALID_ARGUMENT if the outputs do not split into rows.
    """
    values = {name: _plain(name, array) for name, array in outputs.items()}
    if not rows:
        return encode({"outputs": values if len(values) > 1 else next(iter(values.values()))})
    sizes = {array.shape[0] if array.ndim else 0 for array in outputs.values()}
    if len(sizes) > 1 or 0 in sizes:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
        raise _invalid(f"The outputs have no common number of rows: {shapes}. Ask by columns.")
    if len(values) == 1:
        return encode({"predictions": next(iter(values.values()))})
    split = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return encode({"predictions": split})


def encode(document):
    """Bytes of a JSON document."""
    return json.dumps(document, indent=4, ensure_ascii=False).encode()


def _columns(instances, names):
    """Dict from input to its list of rows."""
    if not isinstance(instances, list) or not instances:
        raise _invalid("'instances' is a list with at least one row.")
    named = [isinstance(row, dict) and not _is_base64(row) for row in instances]
    if not any(named):
        return {_only(names): instances}
    for i, row in enumerate(instances):
        if not named[i] or set(row) != names:
            raise _invalid(
                f"Row {i} of 'instances' should be an object with the keys "
                f"{', '.join(sorted(names))}. Got {_short(row)}"
            )
    return {name: [row[name] for row in instances] for name in names}


def _only(names):
    if len(names) != 1:
        raise _invalid(
            f"Expected an object with a value for each of {', '.join(sorted(names))}: the "
            "signature has more than one input."
        )
    return next(iter(names))


def _array(name, value, dtype):
    shape, inner = [], value
    while isinstance(inner, list):
        shape.append(len(inner))
        if not inner:
            break
        inner = inner[0]
    leaves = []
    try:
        _collect(value, shape, 0, leaves)
        dtype = tf.as_dtype(dtype)
        array = np.empty(len(leaves), dtype.as_numpy_dtype)
        for i, leaf in enumerate(leaves):
            array[i] = _leaf(leaf, dtype)
        return array.reshape(shape)
    except ValueError as error:
        raise _invalid(f"{name}: {error}") from error


def _collect(value, shape, level, leaves):
    if level == len(shape):
        if isinstance(value, list):
            raise ValueError(f"a list at level {level}, where the first row has a value")
        leaves.append(value)
        return
    if not isinstance(value, list) or len(value) != shape[level]:
        raise ValueError(f"all rows should have the shape of the first, {shape}")
    for item in value:
        _collect(item, shape, level + 1, leaves)


def _leaf(value, dtype):
    """One value of an array, checked: nothing is rounded or cut off in silence."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if dtype == tf.string and isinstance(value, str):
        return value.encode()
    if dtype == tf.string and _is_base64(value):
        return _decode(value["b64"])
    if dtype == tf.bool and isinstance(value, bool):
        return value
    if dtype.is_integer and is_number and isinstance(value, int):
        if dtype.min <= value <= dtype.max:
            return value
    elif dtype.is_floating and is_number:
        info = np.finfo(dtype.as_numpy_dtype)
        largest = 2 ** (info.nmant + 1) - 1 if isinstance(value, int) else float(info.max)
        # What is no number, and the infinities, are what they are.
        if abs(value) <= largest or value != value or abs(value) == float("inf"):
            return value
    raise ValueError(f"{_short(value)} is not of the expected type {dtype.name}")


def _decode(text):
    text = "".join(text.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"not formatted correctly for base64: {error}") from error


def _is_base64(value):
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _plain(name, array):
    """Nested lists that `json` can write."""
    if array.dtype == object:
        as_bytes = name.endswith("_bytes")  # so the stock server knows bytes from text
        return _nested(array, lambda x: _encode(x) if as_bytes else x.decode(errors="replace"))
    if array.dtype.kind == "f":
        return _nested(array, lambda x: float(str(x)))  # 0.1, not 0.10000000149011612
    return array.tolist()


def _nested(array, function):
    if array.ndim == 0:
        return function(array[()])
    return [_nested(row, function) if array.ndim > 1 else function(row) for row in array]


def _encode(value):
    return {"b64": base64.b64encode(value).decode()}


def _short(value):
    text = json.dumps(value)
    return text if len(text) < 100 else f"{text[:100]}..."


def _invalid(message):
    return ServingError(StatusCode.INVALID_ARGUMENT, message)
