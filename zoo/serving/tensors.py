"""Tensors on the wire: `TensorProto` to NumPy and back."""

import math

import numpy as np
import tensorflow as tf
from grpc import StatusCode
from tensorflow.core.framework import tensor_pb2

from zoo.serving.errors import ServingError

# A few bytes can ask for a tensor of any size: one value is repeated to fill a shape.
MAX_TENSOR_BYTES = 2**28

# Where the values of an answer go. Clients read these fields, and the stock server fills them.
FIELDS = {
    tf.float32: "float_val",
    tf.float64: "double_val",
    tf.int8: "int_val",
    tf.int16: "int_val",
    tf.int32: "int_val",
    tf.uint8: "int_val",
    tf.uint16: "int_val",
    tf.int64: "int64_val",
    tf.uint32: "uint32_val",
    tf.uint64: "uint64_val",
    tf.bool: "bool_val",
    tf.string: "string_val",
}


def from_proto(name, proto):
    """NumPy array of a `TensorProto` that came from outside; strings are objects of bytes.

    Raises:
        ServingError: INVALID_ARGUMENT if it is no tensor, or a huge one.
    """
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    try:
        dtype = tf.as_dtype(proto.dtype)
        if proto.tensor_shape.unknown_rank or min(sizes, default=0) < 0:
            raise ValueError("its shape is not fully known")
        # A string takes 8 bytes and what it points to.
        if math.prod(sizes) * max(dtype.size or 8, 1) > MAX_TENSOR_BYTES:
            raise ValueError(f"a tensor has at most {MAX_TENSOR_BYTES} bytes, its shape is {sizes}")
        return np.asarray(tf.make_ndarray(proto))
    except (TypeError, ValueError) as error:
        raise ServingError(
            StatusCode.INVALID_ARGUMENT, f"tensor parsing error: {name}: {error}"
        ) from error


def to_proto(array):
    """`TensorProto` of a NumPy array, with its values in the field of their type."""
    field = FIELDS.get(tf.as_dtype(array.dtype))
    if field is None:  # complex, half, ...
        return tf.make_tensor_proto(array)
    proto = tensor_pb2.TensorProto(dtype=tf.as_dtype(array.dtype).as_datatype_enum)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(array.ravel().tolist())
    return proto
