"""JSON of classify and regress: from features to `tf.Example`s, and from results back."""

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, input_pb2

from zoo.serving.local_server.rest_json import encode, invalid, leaf, short, shortest


def input_of(document):
    """`Input` from the `examples` of a request, and the `context` that they share.

    Args:
        document: From `parse`.

    Raises:
        ServingError: INVALID_ARGUMENT if there is no example, or a feature is of no one type.
    """
    objects = document.get("examples")
    if not isinstance(objects, list) or not objects:
        raise invalid(f"'examples' is a list with at least one object. Got {short(objects)}")
    examples = [_example(features) for features in objects]
    if "context" not in document:
        return input_pb2.Input(example_list=input_pb2.ExampleList(examples=examples))
    with_context = input_pb2.ExampleListWithContext(
        examples=examples, context=_example(document["context"])
    )
    return input_pb2.Input(example_list_with_context=with_context)


def results_of(result):
    """The body of an answer, bytes.

    Args:
        result: `ClassificationResult` or `RegressionResult`.
    """
    if isinstance(result, classification_pb2.ClassificationResult):
        results = [
            [[one.label, shortest(np.float32(one.score))] for one in row.classes]
            for row in result.classifications
        ]
    else:
        results = [shortest(np.float32(one.value)) for one in result.regressions]
    # The key in the stock server's code and in its answers; its documentation says "result".
    return encode({"results": results})


def _example(features):
    if not isinstance(features, dict):
        raise invalid(f"An example is an object from features to values. Got {short(features)}")
    example = tf.train.Example()
    for name, value in features.items():
        try:
            example.features.feature[name].CopyFrom(_feature(value))
        except ValueError as error:
            raise invalid(f"The feature {short(name)}: {error}") from error
    return example


def _feature(value):
    values = value if isinstance(value, list) else [value]
    values = [int(one) if isinstance(one, bool) else one for one in values]
    dtypes = {_dtype(one) for one in values}
    if not dtypes:
        return tf.train.Feature()
    if len(dtypes) > 1:
        names = " and ".join(sorted(dtype.name for dtype in dtypes))
        raise ValueError(f"expected values of one type. Got {names}: {short(value)}")
    dtype = dtypes.pop()
    values = [leaf(one, dtype) for one in values]
    if dtype == tf.int64:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    if dtype == tf.float32:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _dtype(value):
    """The type of a feature; what is neither number nor text is no string for `leaf` either."""
    return {int: tf.int64, float: tf.float32}.get(type(value), tf.string)
