"""JSON of the stock server's REST API: what predict, classify and regress have in common."""

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
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid(f"Expected a JSON object. Got {short(document)}")
    name = document.get("signature_name", "")
    # JSON can write half a letter, which no other text can hold.
    if not isinstance(name, str) or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise invalid(f"'signature_name' is a string. Got {short(name)}")
    return document


def encode(document):
    """Bytes of a JSON document."""
    return json.dumps(document, indent=4, ensure_ascii=False).encode()


def leaf(value, dtype):
    """One value for an array or a feature, checked: nothing is rounded or cut off in silence.

    Raises:
        ValueError: If it is of another type.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if dtype == tf.string and isinstance(value, str):
        return value.encode()
    if dtype == tf.string and is_base64(value):
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
    raise ValueError(f"{short(value)} is not of the expected type {dtype.name}")


def is_base64(value):
    """Whether a value is `{"b64": "..."}`, which stands for bytes."""
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def shortest(number):
    """A NumPy float with as few digits as say what it is: 0.1, not 0.10000000149011612."""
    return float(str(number))


def short(value):
    """A value as text for an error."""
    text = json.dumps(value)
    return text if len(text) < 100 else f"{text[:100]}..."


def invalid(message):
    """`ServingError` INVALID_ARGUMENT."""
    return ServingError(StatusCode.INVALID_ARGUMENT, message)


def _decode(text):
    text = "".join(text.split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"not formatted correctly for base64: {error}") from error
