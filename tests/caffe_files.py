"""Writes `.caffemodel` files byte by byte, and computes Caffe's LSTM, without anything of ours."""

import struct

import numpy as np

VARINT, LENGTH, FIXED_32 = 0, 2, 5


def varint(number):
    """7 bits a byte, the lowest first; a set eighth bit says that more follow."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def field(number, content):
    """A field of a message: a number, or bytes with their length."""
    if isinstance(content, int):
        return varint(number << 3 | VARINT) + varint(content)
    return varint(number << 3 | LENGTH) + varint(len(content)) + content


def blob(array, legacy=False, packed=True, double=False):
    """A BlobProto; a legacy one has four sides, 1 in front."""
    array = np.asarray(array)
    if legacy:
        shape = (1,) * (4 - array.ndim) + array.shape
        sides = b"".join(field(n, side) for n, side in enumerate(shape, 1))
    else:
        sides = field(7, field(1, b"".join(map(varint, array.shape))))
    number, code = (8, "d") if double else (5, "f")
    if packed:
        return sides + field(number, array.astype(f"<{'f8' if double else 'f4'}").tobytes())
    key = varint(number << 3 | (1 if double else FIXED_32))
    return sides + b"".join(key + struct.pack(f"<{code}", value) for value in array.ravel())


def layer(name, blobs, generation=2, kind=b"InnerProduct"):
    """One layer of a net with its blobs, as bytes; generation 1 has `layers`, 0 is older still."""
    if generation == 2:
        content = field(1, name.encode()) + field(2, kind) + field(3, b"bottom")
        return field(100, content + b"".join(field(7, b) for b in blobs) + field(10, 0))
    if generation == 1:
        content = field(2, b"bottom") + field(4, name.encode()) + field(5, 14)
        return field(2, content + b"".join(field(6, b) for b in blobs))
    content = field(1, name.encode()) + field(2, b"innerproduct")
    return field(2, field(1, content + b"".join(field(50, b) for b in blobs)) + field(2, b"data"))


def net(layers, generation=2, **how):
    """A whole file: dict from names to lists of arrays."""
    head = field(1, b"a net") + field(3, b"data")
    if generation == 2:
        head += layer("relu1", [], kind=b"ReLU")  # without blobs, as most layers are
    return head + b"".join(
        layer(name, [blob(array, **how) for array in arrays], generation)
        for name, arrays in layers.items()
    )


def write_net(path, layers, generation=2, **how):
    """Writes a file a layer at a time; gives its path."""
    path.write_bytes(net({}, generation))
    write_layers(path, layers, generation, **how)
    return path


def write_layers(path, layers, generation=2, **how):
    """Adds layers to a file: messages of protobuf may be written one after another."""
    with open(path, "ab") as file:
        for name, arrays in layers.items():
            file.write(layer(name, [blob(array, **how) for array in arrays], generation))


def lstm_blobs(rng, inputs, units, static=None, spread=0.08):
    """Blobs of an LSTM in Caffe's order: input, bias, static input if there is one, recurrent."""
    sides = [(4 * units, inputs), (4 * units,)]
    sides += [(4 * units, static)] if static else []
    return [rng.normal(scale=spread, size=side) for side in [*sides, (4 * units, units)]]


def numpy_lstm(blobs, inputs, markers, static=None):
    """Caffe's LSTM layer, written from its description alone.

    Args:
        blobs: As of `lstm_blobs`; rows are the gates i, f, o, g.
        inputs: `(time, streams, features)`.
        markers: `(time, streams)`, 0 where a sequence begins.
        static: `(streams, features)`, the same at all times.

    Returns:
        `(time, streams, units)`.
    """

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    of_input, bias, *of_static, of_state = blobs
    units = of_state.shape[1]
    h = c = np.zeros((inputs.shape[1], units))
    outputs = []
    for x, marker in zip(inputs, markers, strict=True):
        gates = x @ of_input.T + bias + (marker[:, None] * h) @ of_state.T
        if of_static:
            gates = gates + static @ of_static[0].T
        i, f, o, g = (gates[:, n * units : (n + 1) * units] for n in range(4))
        c = sigmoid(f) * marker[:, None] * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs)
