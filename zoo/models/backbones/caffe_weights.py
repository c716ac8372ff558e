"""Reads a `.caffemodel`: the names of its layers, and their blobs of numbers."""

import math
import mmap
import os

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

# What is read of Caffe's messages: names and blobs; what every fork numbers in its own way, the
# layers' settings, is not. Message -> {field: (number, type, repeated)}.
# https://github.com/BVLC/caffe, src/caffe/proto/caffe.proto
SCHEMA = {
    "Shape": {"dim": (1, "int64", True)},
    "Blob": {  # numbers as bytes, which cost one copy instead of one Python object each
        "num": (1, "int32", False),  # this and the next three: shapes of old files
        "channels": (2, "int32", False),
        "height": (3, "int32", False),
        "width": (4, "int32", False),
        "data": (5, "bytes", True),
        "shape": (7, "Shape", False),
        "double_data": (8, "bytes", True),
    },
    "UnpackedBlob": {"data": (5, "float", True), "double_data": (8, "double", True)},
    "Layer": {"name": (1, "bytes", False), "blobs": (7, "Blob", True)},
    "OldLayer": {
        "oldest": (1, "OldestLayer", False),
        "name": (4, "bytes", False),
        "blobs": (6, "Blob", True),
    },
    "OldestLayer": {"name": (1, "bytes", False), "blobs": (50, "Blob", True)},
}
LAYERS = {2: "OldLayer", 100: "Layer"}  # fields of the whole net that hold layers
MAX_LAYER_BYTES = 2**31 - 1  # of a protobuf message
MAX_LAYERS, MAX_BLOBS = 10_000, 64  # of a net, of a layer; the largest known have 10 % of that
MAX_SIDES = 32  # of a blob, as in Caffe
VARINT, FIXED_64, LENGTH, FIXED_32 = 0, 1, 2, 5  # kinds of fields on the wire


def _declare(schema):
    """Declares messages with the protobuf package; gives a class for each."""
    file = descriptor_pb2.FileDescriptorProto(name="zoo/caffemodel.proto", package="zoo.caffe")
    for name, fields in schema.items():
        declared = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            one = declared.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in schema:
                one.type, one.type_name = one.TYPE_MESSAGE, f".zoo.caffe.{kind}"
            else:
                one.type = getattr(one, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = (pool.FindMessageTypeByName(f"zoo.caffe.{name}") for name in schema)
    return dict(zip(schema, map(message_factory.GetMessageClass, found), strict=True))


_MESSAGES = _declare(SCHEMA)


def read_caffemodel(path):
    """Reads the weights that Caffe, or a fork of it, saved.

    Both generations of the format (`layers` and `layer`; and the one before both), packed and
    unpacked numbers, single and double precision, shapes of old files (always four numbers) and
    of new ones. Nothing else of the file is looked at. A layer is read at a time from the mapped
    file, so that memory holds the blobs once, and of the largest layer a second copy for a moment.

    Args:
        path: File, such as `RGB_lstm_model_iter_30000.caffemodel`.

    Returns:
        Dict from the names of the layers that have blobs, in the order of the file, to lists of
        arrays, float32 (or float64, where the file has doubles), read-only, in Caffe's layout.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is something else, is truncated, or contradicts itself.
    """
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise ValueError(f"{path} is empty. Expected a .caffemodel; download it again.")
        # Not closed here: it ends with the last view of it, which an exception may still hold.
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    blobs = {}
    try:
        for kind, start, end in _layers(content):
            name, found = _read_layer(kind, content[start:end])
            if found and name in blobs:
                raise _Broken(f"two layers with weights are called {name!r}")
            if found:
                blobs[name] = found
    except _Broken as broken:
        raise ValueError(
            f"{path} is no whole .caffemodel: {broken}. It has {len(content)} bytes and begins "
            f"with {bytes(content[:16])!r}. Compare its size with its publisher's, and download "
            "it again; weights only, no .prototxt, .solverstate or .h5."
        ) from None
    if not blobs:
        raise ValueError(
            f"{path} holds no layer with weights. Expected a .caffemodel, the file of weights; a "
            ".solverstate, .binaryproto or .prototxt is something else."
        )
    return blobs


class _Broken(ValueError):
    """What is wrong with the bytes of a file."""


def _layers(content):
    """Finds the layers of a net: `(kind, start, end)` of each, without reading into them."""
    place = count = 0
    while place < len(content):
        key, place = _varint(content, place)
        number, wire = key >> 3, key & 7
        if not number or wire not in (VARINT, FIXED_64, LENGTH, FIXED_32):
            raise _Broken(f"no message of Caffe goes on as byte {place - 1} does")
        start = place
        if wire == VARINT:
            _, place = _varint(content, place)
        elif wire == LENGTH:
            length, start = _varint(content, place)
            place = start + length
        else:
            place += 8 if wire == FIXED_64 else 4
        if place > len(content):
            raise _Broken(f"it ends {place - len(content)} bytes before what begins at {start}")
        if wire == LENGTH and number in LAYERS:
            if place - start > MAX_LAYER_BYTES:
                raise _Broken(f"a layer of {place - start} bytes is more than protobuf allows")
            count += 1
            if count > MAX_LAYERS:
                raise _Broken(f"it has more than {MAX_LAYERS} layers")
            yield LAYERS[number], start, place


def _varint(content, place):
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(content):
            raise _Broken("it ends in the middle of a number")
        byte = content[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
    raise _Broken(f"a number of more than ten bytes ends at {place}")


def _read_layer(kind, content):
    """Gives the name of a layer and its arrays."""
    layer = _parse(kind, content)
    if kind == "OldLayer" and layer.HasField("oldest"):
        layer = layer.oldest
    name = layer.name.decode("utf-8", "backslashreplace")
    if len(layer.blobs) > MAX_BLOBS:
        raise _Broken(f"layer {name!r} has {len(layer.blobs)} blobs, more than {MAX_BLOBS}")
    return name, [_read_blob(blob, f"blob {n} of {name!r}") for n, blob in enumerate(layer.blobs)]


def _read_blob(blob, where):
    shape = _shape(blob, where)
    size = math.prod(shape)
    if blob.data or blob.double_data:
        packed, dtype = (blob.data, "<f4") if blob.data else (blob.double_data, "<f8")
        numbers = np.frombuffer(b"".join(packed), "u1")  # of one piece nothing is copied
        found, odd = divmod(len(numbers), np.dtype(dtype).itemsize)
        if found == size and not odd:
            return numbers.view(dtype).reshape(shape)
    else:  # one by one, which the bytes of the schema do not take: protobuf has kept them aside
        unpacked = _parse("UnpackedBlob", blob.SerializeToString())
        numbers = unpacked.data or unpacked.double_data
        found, dtype = len(numbers), "float32" if unpacked.data else "float64"
        if found == size:
            return np.fromiter(numbers, dtype, size).reshape(shape)
    raise _Broken(f"{where} has {found} numbers, but the shape {shape}")


def _shape(blob, where):
    if any(map(blob.HasField, ("num", "channels", "height", "width"))):  # as Caffe asks
        shape = (blob.num, blob.channels, blob.height, blob.width)
    elif len(blob.shape.dim) > MAX_SIDES:
        raise _Broken(f"{where} has {len(blob.shape.dim)} sides, more than {MAX_SIDES}")
    else:
        shape = tuple(blob.shape.dim)
    if any(side < 1 for side in shape):
        raise _Broken(f"{where} has the shape {shape}")
    return shape


def _parse(kind, content):
    try:
        return _MESSAGES[kind].FromString(content)
    except message.DecodeError as error:
        raise _Broken(f"a layer is damaged ({error})") from None
