"""The file that tells a server how to merge requests: the stock server's `BatchingParameters`."""

import os
import pathlib
from typing import NamedTuple

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

# tensorflow_serving/servables/tensorflow/session_bundle_config.proto, which tensorflow-serving-api
# leaves out. In a file of text only the names count.
FIELDS = {
    "max_batch_size": "Int64Value",
    "batch_timeout_micros": "Int64Value",
    "max_enqueued_batches": "Int64Value",
    "num_batch_threads": "Int64Value",
    "thread_pool_name": "StringValue",
    "enable_large_batch_splitting": "BoolValue",
    "max_execution_batch_size": "Int64Value",
}


class BatchingParameters(NamedTuple):
    """How requests are merged; the defaults are the stock server's."""

    max_batch_size: int = 1000  # rows of a request, and of a batch unless it is split
    batch_timeout_micros: int = 0  # how long a batch waits for company
    max_enqueued_batches: int = 10  # for each signature; then UNAVAILABLE
    num_batch_threads: int = os.cpu_count()
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple = ()  # batches are filled up to one of these
    pad_variable_length_inputs: bool = False  # or requests of other shapes stay apart
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None  # rows of a batch, where requests are split


def read_parameters(path):
    """Reads a text proto such as `saved_models/batching_parameters.txt`.

    Args:
        path: The file; the stock server takes it as `--batching_parameters_file`.

    Returns:
        `BatchingParameters`.

    Raises:
        ValueError: If the file is no such text, or its numbers do not go together.

    Source:
        tensorflow_serving/servables/tensorflow/session_bundle_config.proto and, for the rules,
        bundle_factory_util.cc in the same folder.
    """
    message = _message_class()()
    try:
        text_format.Parse(pathlib.Path(path).read_text(encoding="utf-8"), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} holds no batching parameters: {error}") from error
    given = {name: getattr(message, name).value for name in FIELDS if message.HasField(name)}
    parameters = BatchingParameters(
        **given,
        allowed_batch_sizes=tuple(message.allowed_batch_sizes),
        pad_variable_length_inputs=message.pad_variable_length_inputs,
    )
    # The size of a batch differs from that of a request only where requests are split.
    if not parameters.enable_large_batch_splitting or parameters.max_execution_batch_size is None:
        parameters = parameters._replace(max_execution_batch_size=parameters.max_batch_size)
    _check(parameters, path)
    return parameters


def allowed_size(parameters, rows):
    """The size to which a batch is filled up.

    >>> allowed_size(BatchingParameters(allowed_batch_sizes=(1, 2, 4)), 3)
    4
    >>> allowed_size(BatchingParameters(), 3)
    3
    """
    return next((size for size in parameters.allowed_batch_sizes if size >= rows), rows)


def _check(parameters, path):
    sizes, batch = parameters.allowed_batch_sizes, parameters.max_execution_batch_size
    if min(parameters.num_batch_threads, parameters.max_enqueued_batches, batch) < 1:
        raise ValueError(
            f"{path}: num_batch_threads, max_enqueued_batches and the sizes of a batch are at "
            f"least 1. Got {parameters}"
        )
    if batch > parameters.max_batch_size:
        raise ValueError(f"{path}: max_execution_batch_size is at most max_batch_size.")
    if parameters.batch_timeout_micros < 0:
        raise ValueError(f"{path}: batch_timeout_micros is not negative.")
    if sizes and (sizes[-1] != batch or sizes != tuple(sorted(set(sizes))) or sizes[0] < 1):
        raise ValueError(
            f"{path}: allowed_batch_sizes rise, and the last one is the largest batch, {batch}. "
            f"Got {sizes}"
        )


def _message_class():
    """The message class, made from what the file's format is known to be."""
    file = descriptor_pb2.FileDescriptorProto(
        name="zoo/serving/batching_parameters.proto",
        package="zoo.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    message = file.message_type.add(name="BatchingParameters")
    kind = descriptor_pb2.FieldDescriptorProto
    for name, wrapper in FIELDS.items():
        message.field.add(
            name=name,
            number=len(message.field) + 1,
            label=kind.LABEL_OPTIONAL,
            type=kind.TYPE_MESSAGE,
            type_name=f".google.protobuf.{wrapper}",
        )
    message.field.add(
        name="allowed_batch_sizes", number=20, label=kind.LABEL_REPEATED, type=kind.TYPE_INT64
    )
    message.field.add(
        name="pad_variable_length_inputs", number=21, label=kind.LABEL_OPTIONAL, type=kind.TYPE_BOOL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("zoo.serving.BatchingParameters")
    )
