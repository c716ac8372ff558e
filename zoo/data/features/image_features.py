"""Features on disk: a frozen encoder runs once over each picture and view, and never again."""

import hashlib
import json
import os
import re
import warnings

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from zoo.data.images.decode import decode_image, explain, read_each
from zoo.data.images.views import VIEWS, view_images
from zoo.files import aside

SHARD = 512  # pictures in a file of the cache: what a killed run may have to do again
FORMAT = 1  # raise it when decoding, resizing or a view changes: old files are then not found


def encode_images(encoder, paths, size, cache_dir, views=("full",), batch_size=32):
    """Gives the features of pictures: from disk if they are there, else from the encoder.

    The cache has a file for every view of every `SHARD` pictures, named by a hash of the encoder
    (configuration and weights), the view, the size, and each picture's path, length and time of
    change. So whatever has changed is encoded anew, and a killed run goes on with the shard it
    was in. A picture that occurs twice in `paths` is encoded once.

    Args:
        encoder: `keras.Model` from float32 RGB in 0..255 `(batch, size, size, 3)` to features
            `(batch, features)`.
        paths: List of paths of pictures.
        size: Side in pixels of the squares that the encoder sees.
        cache_dir: Folder of the cache; made if missing. Old files in it are never deleted.
        views: Names out of `zoo.data.images.views.VIEWS`; `"full"` is the whole picture.
        batch_size: Squares that go through the encoder at once.

    Returns:
        A pair of features, float32 `(num_paths, num_views, features)`, and readable, bool
        `(num_paths,)`. The features of an unreadable picture are zeros;
        `zoo.data.images.decode.explain` says what is wrong with it.

    Raises:
        ValueError: If a view is unknown, or if the encoder gives more than one vector a picture.
    """
    if not views or not set(views) <= set(VIEWS):
        raise ValueError(f"views are names out of {', '.join(VIEWS)}; got {list(views)}.")
    shape = encoder.compute_output_shape((None, size, size, 3))
    if len(shape) != 2:
        raise ValueError(
            f"encode_images expects an encoder with features (batch, features); this one gives "
            f"{tuple(shape)}. Wrap it with zoo.models.backbones.image_encoder."
        )
    os.makedirs(cache_dir, exist_ok=True)
    names = [os.path.abspath(path) for path in paths]
    pictures = list(dict.fromkeys(names))
    features = np.zeros((len(pictures), len(views), shape[1]), np.float32)
    readable = np.zeros(len(pictures), bool)

    encoder_hash = hash_encoder(encoder)
    todo = []  # (slice of the pictures, {place in views: file to write})
    for start in range(0, len(pictures), SHARD):
        shard = slice(start, min(start + SHARD, len(pictures)))
        pictures_hash = _hash_files(pictures[shard])
        missing = {}
        for place, view in enumerate(views):
            key = f"{FORMAT} {encoder_hash} {view} {size} {pictures_hash}"
            file = os.path.join(cache_dir, hashlib.sha256(key.encode()).hexdigest()[:32] + ".npz")
            found = _load(file, pictures[shard], shape[1])
            if found is None:
                missing[place] = file
            else:
                features[shard, place], readable[shard] = found
        if missing:
            todo.append((shard, missing))

    if todo:
        squares = sum((shard.stop - shard.start) * len(missing) for shard, missing in todo)
        encode = _encoding(encoder, size, batch_size)
        with tqdm(total=squares, desc="encoding pictures", unit=" views") as bar:
            for shard, missing in todo:
                chosen = tuple(views[place] for place in missing)
                vectors, seen = encode(pictures[shard], chosen, bar)
                readable[shard] = seen
                for column, (place, file) in enumerate(missing.items()):
                    features[shard, place] = vectors[:, column]
                    _save(file, features=vectors[:, column], readable=seen)

    if len(pictures) < len(names):
        row = {name: row for row, name in enumerate(pictures)}
        rows = [row[name] for name in names]
        features, readable = features[rows], readable[rows]
    return features, readable


def _encoding(encoder, size, batch_size):
    """Gives the function from a shard's paths to its features and which ones were readable."""

    @tf.function(
        input_signature=[tf.TensorSpec((None, size, size, 3), tf.float32)],
        autograph=False,
        jit_compile=False,
    )
    def run(squares):
        return tf.cast(encoder(squares, training=False), tf.float32)

    width = run.get_concrete_function().output_shapes[1]
    readers = {}  # traced once for all shards

    def encode(paths, views, bar):
        if views not in readers:
            readers[views] = _reader(size, views)
        vectors = np.zeros((len(paths), len(views), width), np.float32)
        seen = np.zeros(len(paths), bool)
        for rows, columns, squares in read_each(paths, readers[views]).unbatch().batch(batch_size):
            vectors[rows.numpy(), columns.numpy()] = run(squares).numpy()
            seen[rows.numpy()] = True
            bar.update(len(rows))
        bar.update(int(np.sum(~seen)) * len(views))
        return vectors, seen

    return encode


def _reader(size, views):
    """Gives the function that decodes a picture once and cuts all its views."""

    @tf.function(autograph=False)
    def read(index, path):
        squares = view_images(decode_image(tf.io.read_file(path)), size, views)
        return tf.fill((len(views),), index), tf.range(len(views)), squares

    return read


def hash_encoder(encoder):
    """Hashes what an encoder computes: its configuration and weights, but not its layers' names.

    Keras numbers the names of layers as they are made, so that two equal encoders differ there.
    """
    config = encoder.get_config()
    text = json.dumps(config, sort_keys=True)
    for number, name in enumerate(dict.fromkeys([config.get("name"), *_layer_names(config)])):
        text = text.replace(f'"{name}"', f'"#{number}"')
    text = re.sub('"trainable": (true|false)', "", text)  # says nothing about features
    digest = hashlib.sha256(text.encode())
    for weight in encoder.get_weights():
        digest.update(f"{weight.dtype} {weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _layer_names(config):
    for layer in config.get("layers", []):
        yield layer["config"]["name"]
        yield from _layer_names(layer["config"])


def _hash_files(paths):
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = os.stat(path)
            state = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:
            state = "missing"
        digest.update(os.fsencode(path) + b"\0" + state.encode() + b"\n")
    return digest.hexdigest()


def _load(file, pictures, width):
    """Loads a shard of one view; None where it is missing, damaged, or out of date."""
    if not os.path.exists(file):
        return None
    try:
        with np.load(file, allow_pickle=False) as arrays:
            features, readable = arrays["features"], arrays["readable"]
        if features.shape != (len(pictures), width) or readable.shape != (len(pictures),):
            raise ValueError(f"features of shape {features.shape}")
    except Exception as error:  # whatever is wrong with it, it can be made again
        warnings.warn(f"{file} is damaged ({error}); encoding it again.", stacklevel=3)
        return None
    # A picture may have failed for want of memory or of permission: that leaves no trace in it.
    failed = np.flatnonzero(~readable)
    if any(explain(pictures[row]) is None for row in failed):
        return None
    return features, readable


def _save(file, **arrays):
    with aside(file) as part, open(part, "wb") as stream:
        np.savez(stream, **arrays)
