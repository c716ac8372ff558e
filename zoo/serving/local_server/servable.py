"""One version of a model in memory: a SavedModel, whoever wrote it, and none of our model code."""

import time

import numpy as np
import tensorflow as tf
from grpc import StatusCode

from zoo.serving.errors import BY_NUMBER, ServingError

DEFAULT_SIGNATURE = "serving_default"


class Servable:
    """A loaded SavedModel.

    It is loaded into a session, as the stock server does: a session can stop at a deadline, and
    gives back all its memory when it is closed. What `tf.saved_model.load` brings into the
    process does not: 5 MB of each exported captioner stayed.

    Args:
        path: Folder of the version, with `saved_model.pb`.

    Raises:
        ServingError: If the folder holds no SavedModel that can be loaded.

    Attributes:
        signature_defs: Dict from name to `SignatureDef`, as it is on disk.
    """

    def __init__(self, path):
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default():
                loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
        except tf.errors.OpError as error:
            raise ServingError(BY_NUMBER[error.error_code], f"{path}: {error.message}") from error
        except (OSError, RuntimeError, ValueError) as error:
            raise ServingError(StatusCode.INTERNAL, f"{path}: {error}") from error
        self.signature_defs = dict(loaded.signature_def)

    def signature(self, name):
        """The `SignatureDef` of a name.

        Raises:
            ServingError: FAILED_PRECONDITION if there is none.
        """
        names = [key for key in self.signature_defs if not key.startswith("__")]  # initialization
        if name not in names:
            raise ServingError(
                StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{name}" not found. This model has '
                f"{', '.join(sorted(names))}.",
            )
        return self.signature_defs[name]

    def run(self, name, inputs, deadline=None):
        """Calls a signature.

        Args:
            name: Of the signature.
            inputs: Dict of NumPy arrays that `check_inputs` let pass.
            deadline: When to give up, on the clock `time.monotonic`.

        Returns:
            Dict of NumPy arrays: all outputs, since each set of outputs costs a graph.

        Raises:
            ServingError: With TensorFlow's code if the graph fails; DEADLINE_EXCEEDED.
        """
        signature, options = self.signature_defs[name], None
        if deadline is not None:
            left = max(int((deadline - time.monotonic()) * 1000), 1)  # 0 would be no limit
            options = tf.compat.v1.RunOptions(timeout_in_ms=min(left, 2**31 - 1))
        fetches = {key: info.name for key, info in signature.outputs.items()}
        feeds = {signature.inputs[key].name: array for key, array in inputs.items()}
        try:
            outputs = self._session.run(fetches, feeds, options)
        except tf.errors.OpError as error:
            raise ServingError(BY_NUMBER[error.error_code], error.message) from error
        # A string alone comes as bytes; as NumPy's own string it would lose zeros at its end.
        return {
            key: np.array(value, dtype=object) if isinstance(value, bytes) else np.asarray(value)
            for key, value in outputs.items()
        }

    def close(self):
        """Gives its memory back."""
        self._session.close()


def signature_name(spec):
    """Name of the signature that a `ModelSpec` asks for."""
    return spec.signature_name or DEFAULT_SIGNATURE


def check_inputs(signature, inputs):
    """Compares what a client sent with what a signature takes.

    Args:
        signature: `SignatureDef`.
        inputs: Dict of NumPy arrays.

    Raises:
        ServingError: INVALID_ARGUMENT for a missing or extra input, a wrong dtype or shape.
    """
    if set(inputs) != set(signature.inputs):
        extra, missing = set(inputs) - set(signature.inputs), set(signature.inputs) - set(inputs)
        raise ServingError(
            StatusCode.INVALID_ARGUMENT,
            f"The signature takes the inputs {', '.join(sorted(signature.inputs))}. "
            f"Missing: {', '.join(sorted(missing)) or 'none'}. "
            f"Sent, but not taken: {', '.join(sorted(extra)) or 'none'}.",
        )
    for name, array in inputs.items():
        info = signature.inputs[name]
        expected, got = tf.as_dtype(info.dtype), tf.as_dtype(array.dtype)
        if expected != got:
            raise ServingError(
                StatusCode.INVALID_ARGUMENT,
                f"The input {name} is of dtype {expected.name}. Got {got.name}.",
            )
        if not tf.TensorShape(info.tensor_shape).is_compatible_with(array.shape):
            raise ServingError(
                StatusCode.INVALID_ARGUMENT,
                f"The input {name} is of shape {_shape(info)}. Got {list(array.shape)}.",
            )


def check_filter(signature, output_filter):
    """Names of the outputs that a client wants; all of them, if it names none."""
    wanted = list(output_filter)
    unknown = [name for name in wanted if name not in signature.outputs]
    if unknown or len(set(wanted)) < len(wanted):
        raise ServingError(
            StatusCode.INVALID_ARGUMENT,
            f"An output_filter names outputs of the signature, each once: "
            f"{', '.join(sorted(signature.outputs))}. Got {', '.join(wanted)}.",
        )
    return wanted or sorted(signature.outputs)


def _shape(info):
    return [None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim]
