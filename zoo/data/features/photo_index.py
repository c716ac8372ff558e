"""An index of photographs: the features of each are kept, and only what is new is encoded."""

import os
import shutil
import warnings
from typing import NamedTuple

import numpy as np

from zoo.data.features.image_features import FORMAT, encode_images, hash_encoder
from zoo.data.images.decode import explain
from zoo.files import aside


class PhotoIndex(NamedTuple):
    """Photographs that can be read, with their features.

    Attributes:
        paths: List of paths.
        features: float32 `(images, features)`.
        skipped: Dict from the path of a photograph that cannot be read to the reason.
        num_encoded: How many are new, or had changed.
        num_removed: How many were in the index and are not there any more.
    """

    paths: list
    features: np.ndarray
    skipped: dict
    num_encoded: int
    num_removed: int


def index_photos(encoder, paths, file):
    """Brings an index up to date.

    A photograph is known by its path, length and time of change; what could not be read is tried
    again only when it has changed. A killed run goes on with the shard it was in. Features are
    kept in half precision.

    Args:
        encoder: `keras.Model` from float32 RGB in 0..255 `(batch, size, size, 3)` to features
            `(batch, features)`. With another encoder all are encoded anew.
        paths: List of paths, all that the index is to hold; none twice.
        file: Path of the index, `.npz`; made if missing.

    Returns:
        `PhotoIndex`, in the order of `paths`.
    """
    paths = [os.path.abspath(path) for path in paths]
    key = f"{FORMAT} {hash_encoder(encoder)}"
    states = [_state(path) for path in paths]
    width = encoder.output_shape[-1]
    known = _load(file, key, width)
    features, readable = np.zeros((len(paths), width), np.float16), np.zeros(len(paths), bool)
    todo = []
    for row, (path, state) in enumerate(zip(paths, states, strict=True)):
        earlier = known.get(path)
        if earlier is not None and earlier[0] == state:
            features[row], readable[row] = earlier[1:]
        else:
            todo.append(row)
    num_removed = len(known.keys() - set(paths))
    os.makedirs(os.path.dirname(os.path.abspath(file)), exist_ok=True)
    if todo:
        size, shards = encoder.input_shape[1], f"{file}.shards"
        found, seen = encode_images(encoder, [paths[row] for row in todo], size, shards)
        features[todo], readable[todo] = found[:, 0], seen
    if todo or num_removed:
        with aside(file) as part, open(part, "wb") as stream:
            np.savez(
                stream,
                key=np.array(key),
                paths=np.array([os.fsencode(path).hex() for path in paths], dtype=str),
                states=np.array(states, np.int64).reshape(-1, 2),
                features=features,
                readable=readable,
            )
        shutil.rmtree(f"{file}.shards", ignore_errors=True)
    bad = [path for path, good in zip(paths, readable, strict=True) if not good]
    return PhotoIndex(
        [path for path, good in zip(paths, readable, strict=True) if good],
        features[readable].astype("float32"),
        {path: explain(path) or "cannot be read" for path in bad},
        int(readable[todo].sum()),
        num_removed,
    )


def _state(path):
    try:
        status = os.stat(path)
    except OSError:
        return (-1, -1)
    return status.st_size, status.st_mtime_ns


def _load(file, key, width):
    """Dict from path to state, features and whether it could be read; empty where all is new."""
    if not os.path.exists(file):
        return {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            if str(arrays["key"]) != key:
                return {}
            paths = [os.fsdecode(bytes.fromhex(name)) for name in arrays["paths"].tolist()]
            states = [tuple(state) for state in arrays["states"].tolist()]
            features, readable = arrays["features"], arrays["readable"]
        if features.shape != (len(paths), width):
            raise ValueError(f"features of shape {features.shape}")
        return dict(zip(paths, zip(states, features, readable, strict=True), strict=True))
    except Exception as error:  # whatever is wrong with it, it can be made again
        warnings.warn(f"{file} is damaged ({error}); indexing again.", stacklevel=3)
        return {}
