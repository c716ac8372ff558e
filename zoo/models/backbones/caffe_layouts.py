"""How Caffe arranges the numbers of each kind of layer, and how Keras does."""

from typing import NamedTuple

import keras
import numpy as np

from zoo.models.backbones.caffe_weights import read_caffemodel

# Layer of `keras.applications.VGG16` -> of Caffe; all others are called alike.
VGG_NAMES = {"fc1": "fc6", "fc2": "fc7", "predictions": "fc8"} | {
    f"block{block}_conv{n}": f"conv{block}_{n}" for block in range(1, 6) for n in range(1, 4)
}


class Moved(NamedTuple):
    """Where a blob went, and what it holds."""

    layer: str
    blob: int  # its place in the layer
    shape: tuple  # in the file
    variable: str  # path of the Keras variable
    variable_shape: tuple
    minimum: float
    maximum: float


class CaffeWeights:
    """The blobs of a `.caffemodel` on their way into a Keras model.

    Args:
        path: File.

    Attributes:
        path: The same.
        shapes: Dict from all layers' names to the shapes of their blobs.
        moved: List of `Moved`, one for each blob that found its place.

    Raises:
        FileNotFoundError, ValueError: See `read_caffemodel`.
    """

    def __init__(self, path):
        self.path = path
        self._blobs = read_caffemodel(path)
        self.shapes = {name: [b.shape for b in blobs] for name, blobs in self._blobs.items()}
        self.moved = []

    def shape_of(self, layer, blob):
        """The shape of a blob.

        Raises:
            ValueError: If it is not there, or has less than two sides.
        """
        shapes = self.shapes.get(layer, [])
        if not -len(shapes) <= blob < len(shapes) or len(shapes[blob]) < 2:
            raise ValueError(
                f"{self.path} has no layer {layer!r} with such a matrix. It has: "
                f"{self._list(self.shapes)}."
            )
        return shapes[blob]

    def units_of(self, layer):
        """The width of an LSTM, by its last blob, `(4 * units, units)`.

        Raises:
            ValueError: If there is no such layer, or that blob has another shape.
        """
        rows, units = self.shape_of(layer, -1)[-2:]
        if rows != 4 * units:
            raise ValueError(
                f"{self.path}: the last blob of {layer!r} has the shape {(rows, units)}; expected "
                "an LSTM's, four rows a unit."
            )
        return units

    def move(self, layer, targets):
        """Moves the blobs of one layer into Keras variables; they leave this object's memory.

        Args:
            layer: Name in the file.
            targets: List of `(variable, arrange)`, one a blob: where its numbers go, and the
                function that arranges them as Keras does.

        Raises:
            ValueError: If the layer is not there, or has other blobs.
        """
        if layer not in self._blobs:
            raise ValueError(
                f"{self.path} has no layer {layer!r} with weights. It has: "
                f"{self._list(self.shapes)}."
            )
        blobs = self._blobs.pop(layer)
        if len(blobs) != len(targets):
            raise ValueError(
                f"{self.path}: layer {layer!r} has {len(blobs)} blobs of shapes "
                f"{self.shapes[layer]}; expected {len(targets)}, for "
                f"{', '.join(variable.path for variable, _ in targets)}."
            )
        for n, (blob, (variable, arrange)) in enumerate(zip(blobs, targets, strict=True)):
            with np.errstate(over="ignore"):  # doubles that are too large become infinite
                arranged = arrange(blob.astype("float32", copy=False))
            if arranged is None or arranged.shape != tuple(variable.shape):
                raise ValueError(
                    f"{self.path}: blob {n} of {layer!r} has the shape {blob.shape}, which does "
                    f"not become {variable.path} {tuple(variable.shape)}. Is it of another net?"
                )
            low, high = float(arranged.min()), float(arranged.max())
            if not (np.isfinite(low) and np.isfinite(high)):
                raise ValueError(
                    f"{self.path}: blob {n} of {layer!r} has numbers that are none (NaN, "
                    "infinite or beyond float32): that training went astray, or it is damaged."
                )
            variable.assign(arranged)
            shape = tuple(variable.shape)
            self.moved.append(Moved(layer, n, blob.shape, variable.path, shape, low, high))

    def check_nothing_left(self):
        """Makes sure that all blobs have been moved.

        Raises:
            ValueError: If some were not; the message names their layers.
        """
        if self._blobs:
            raise ValueError(
                f"{self.path} has weights for which the model has no place: "
                f"{self._list(self._blobs)}. Is it of another net?"
            )

    def _list(self, names):
        listed = [f"{name} {self.shapes[name]}" for name in names]
        return ", ".join(listed[:40]) + (", ..." if len(listed) > 40 else "")


def fill_encoder(encoder, weights):
    """Moves the weights of a CNN into an image encoder of the same layers.

    Args:
        encoder: `keras.Model` of `zoo.models.backbones.caffe_nets`.
        weights: `CaffeWeights`. Layers that the encoder does not have stay there.

    Raises:
        ValueError: If a layer is not there, or has another shape.
    """
    maps = None  # (height, width, channels) of what the next fully connected layer reads
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.Flatten):
            maps = layer.input.shape[1:]
        if not layer.weights:
            continue
        if isinstance(layer, keras.layers.Conv2D):
            arrange = kernel
        else:
            arrange = matrix if maps is None else channels_first_matrix(maps)
            maps = None
        fill_layer(layer, weights, VGG_NAMES.get(layer.name, layer.name), arrange)


def fill_layer(layer, weights, name, arrange=None):
    """Moves kernel and bias of one layer; without `arrange`, those of an InnerProduct."""
    weights.move(name, [(layer.kernel, arrange or matrix), (layer.bias, vector)])


def fill_lstm(weights, name, of_input, cell, of_image=None):
    """Moves an LSTM, whose blobs are input, bias, static input if there is one, and state.

    Args:
        weights: `CaffeWeights`.
        name: Name in the file.
        of_input: What has `kernel` and `bias` of the input's share of the gates.
        cell: What has the `recurrent_kernel`.
        of_image: What has the `kernel` of the static input's share, or None.
    """
    targets = [(of_input.kernel, gate_matrix), (of_input.bias, gate_vector)]
    if of_image is not None:
        targets.append((of_image.kernel, gate_matrix))
    weights.move(name, [*targets, (cell.recurrent_kernel, gate_matrix)])


def kernel(blob):
    """`(out, in / groups, height, width)` -> `(height, width, in / groups, out)`.

    Groups lie alike in both: the first of the outputs read the first of the inputs.
    """
    return blob.transpose(2, 3, 1, 0) if blob.ndim == 4 else None


def matrix(blob):
    """`(out, in)`, in old files `(1, 1, out, in)`, -> `(in, out)`."""
    blob = _plain(blob, 2)
    return None if blob is None else blob.T


def channels_first_matrix(maps):
    """Like `matrix`, for a layer that reads maps, which Caffe flattens channels first.

    Args:
        maps: `(height, width, channels)` of what is flattened.

    Returns:
        Function from `(out, channels * height * width)` to `(height * width * channels, out)`.
    """
    height, width, channels = maps

    def arrange(blob):
        blob = _plain(blob, 2)
        if blob is None or blob.shape[1] != height * width * channels:
            return None
        blob = blob.reshape(-1, channels, height, width)
        return blob.transpose(2, 3, 1, 0).reshape(height * width * channels, -1)

    return arrange


def vector(blob):
    """`(n,)`, in old files `(1, 1, 1, n)`, stays."""
    return _plain(blob, 1)


def table(blob):
    """A word's vector a row, `(vocabulary, width)`, stays: Caffe does not transpose this one."""
    return _plain(blob, 2)


def gate_matrix(blob):
    """`(4 * units, in)`, gates i, f, o, g, -> `(in, 4 * units)`, gates i, f, g, o."""
    blob = _plain(blob, 2)
    return None if blob is None or len(blob) % 4 else _gates(blob).T


def gate_vector(blob):
    """`(4 * units,)`, gates i, f, o, g, -> the same, gates i, f, g, o."""
    blob = _plain(blob, 1)
    return None if blob is None or len(blob) % 4 else _gates(blob)


def _gates(rows):
    i, f, o, g = np.split(rows, 4)
    return np.concatenate([i, f, g, o])


def _plain(blob, axes):
    """Drops the sides of 1 that old files put in front."""
    extra = blob.ndim - axes
    if extra < 0 or any(side != 1 for side in blob.shape[:extra]):
        return None
    return blob.reshape(blob.shape[extra:])
