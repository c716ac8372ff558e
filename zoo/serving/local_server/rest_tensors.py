"""JSON of predict: to arrays for a signature, and back."""

import base64

import numpy as np
import tensorflow as tf

from zoo.serving.local_server.rest_json import encode, invalid, is_base64, leaf, short, shortest


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
        raise invalid("Expected one of the keys 'instances' (rows) and 'inputs' (columns).")
    if "instances" in document:
        columns = _columns(document["instances"], set(infos))
    else:
        columns = document["inputs"]
        if not isinstance(columns, dict) or is_base64(columns):
            columns = {_only(infos): columns}
    missing = set(infos) - set(columns)
    if missing:
        raise invalid(f"Missing named inputs: {', '.join(sorted(missing))}")
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
        raise invalid(f"The outputs have no common number of rows: {shapes}. Ask by columns.")
    if len(values) == 1:
        return encode({"predictions": next(iter(values.values()))})
    split = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return encode({"predictions": split})


def _columns(instances, names):
    """Dict from input to its list of rows."""
    if not isinstance(instances, list) or not instances:
        raise invalid("'instances' is a list with at least one row.")
    named = [isinstance(row, dict) and not is_base64(row) for row in instances]
    if not any(named):
        return {_only(names): instances}
    for i, row in enumerate(instances):
        if not named[i] or set(row) != names:
            raise invalid(
                f"Row {i} of 'instances' should be an object with the keys "
                f"{', '.join(sorted(names))}. Got {short(row)}"
            )
    return {name: [row[name] for row in instances] for name in names}


def _only(names):
    if len(names) != 1:
        raise invalid(
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
    values = []
    try:
        _collect(value, shape, 0, values)
        dtype = tf.as_dtype(dtype)
        array = np.empty(len(values), dtype.as_numpy_dtype)
        for i, one in enumerate(values):
            array[i] = leaf(one, dtype)
        return array.reshape(shape)
    except ValueError as error:
        raise invalid(f"{name}: {error}") from error


def _collect(value, shape, level, values):
    if level == len(shape):
        if isinstance(value, list):
            raise ValueError(f"a list at level {level}, where the first row has a value")
        values.append(value)
        return
    if not isinstance(value, list) or len(value) != shape[level]:
        raise ValueError(f"all rows should have the shape of the first, {shape}")
    for item in value:
        _collect(item, shape, level + 1, values)


def _plain(name, array):
    """Nested lists that `json` can write."""
    if array.dtype == object:
        as_bytes = name.endswith("_bytes")  # so the stock server knows bytes from text
        return _nested(array, lambda x: _encode(x) if as_bytes else x.decode(errors="replace"))
    if array.dtype.kind == "f":
        return _nested(array, shortest)
    return array.tolist()


def _nested(array, function):
    if array.ndim == 0:
        return function(array[()])
    return [_nested(row, function) if array.ndim > 1 else function(row) for row in array]


def _encode(value):
    return {"b64": base64.b64encode(value).decode()}
