"""Features of every frame on disk: a frozen encoder sees each frame and view once, never again."""

import hashlib
import os

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from zoo.data.features.image_features import hash_encoder
from zoo.data.videos.clips import VIEWS, resize_frames, view_frames
from zoo.data.videos.reading import VideoError
from zoo.files import aside

FORMAT = 1  # raise it when decoding, resizing or a view changes: old files are then not found


def encode_videos(encoder, source, frame_size, cache_dir, views=("center",), batch_size=32):
    """Gives the features of all frames of all videos: from disk, or else from the encoder.

    The cache has a file for each video and view, named by a hash of the encoder (configuration
    and weights), the view, the sizes, and what the source says of the video. A killed run goes on
    with the video it was at.

    Args:
        encoder: `keras.Model` from float32 RGB in 0..255 `(batch, size, size, 3)` to features
            `(batch, features)`.
        source: `zoo.data.sources.files.VideoFiles` or `zoo.data.sources.shard_writer.VideoShards`.
        frame_size: Height and width in pixels to which frames are brought before they are cropped.
        cache_dir: Folder of the cache; made if missing.
        views: Names out of `zoo.data.videos.clips.VIEWS`.
        batch_size: Squares that go through the encoder at once.

    Returns:
        A pair: list of the videos' features, each a list of a `FeatureFile`, float16 `(num_frames,
        features)`, for each view; None for a video that turned out to be damaged. And a dict from
        the row of such a video to the reason.

    Raises:
        ValueError: If a view is unknown.
    """
    if not views or not set(views) <= set(VIEWS):
        raise ValueError(f"views are names out of {', '.join(VIEWS)}; got {list(views)}.")
    os.makedirs(cache_dir, exist_ok=True)
    encoder_hash = hash_encoder(encoder)
    size = encoder.input_shape[1]
    files = []
    for row in range(len(source.num_frames)):
        key = f"{FORMAT} {encoder_hash} {size} {tuple(frame_size)} {source.modality} "
        key += source.identity(row)
        names = [hashlib.sha256(f"{key} {view}".encode()).hexdigest()[:32] for view in views]
        files.append([os.path.join(cache_dir, f"{name}.npy") for name in names])
    todo = [row for row, paths in enumerate(files) if not all(map(os.path.exists, paths))]
    damaged = {}
    if todo:
        _encode(encoder, source, frame_size, views, batch_size, todo, files, damaged)
    features = [
        None if row in damaged else [FeatureFile(path) for path in paths]
        for row, paths in enumerate(files)
    ]
    return features, damaged


class FeatureFile:
    """An array on disk, of which only what is asked for is read.

    It holds no file open: a data set has more videos than a process may have open files.

    Args:
        path: File `.npy`.

    Attributes:
        shape: Of the array.
    """

    def __init__(self, path):
        self._path = path
        self.shape = np.load(path, mmap_mode="r").shape

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        return np.array(np.load(self._path, mmap_mode="r")[index])

    def __array__(self, dtype=None, copy=None):
        return np.asarray(np.load(self._path), dtype)


def _encode(encoder, source, frame_size, views, batch_size, todo, files, damaged):
    size = encoder.input_shape[1]

    def frames():
        for row in todo:
            try:
                for frame in source.frames(row):
                    yield row, frame
            except VideoError as error:
                damaged[row] = str(error)

    def look(row, frame):
        squares = view_frames(resize_frames(frame[None], frame_size), size, views, source.modality)
        return tf.fill((len(views),), row), squares[:, 0]

    @tf.function(
        input_signature=[tf.TensorSpec((None, size, size, 3), tf.float32)],
        autograph=False,
        jit_compile=False,
    )
    def run(squares):
        return tf.cast(encoder(squares, training=False), tf.float16)

    spec = (tf.TensorSpec((), tf.int64), tf.TensorSpec((None, None, 3), tf.uint8))
    squares = tf.data.Dataset.from_generator(frames, output_signature=spec)
    squares = squares.map(look, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    squares = squares.unbatch().batch(batch_size).prefetch(2)
    total = int(source.num_frames[todo].sum()) * len(views)
    collected = {}  # video -> what has come of it so far; only the last one is not whole
    with tqdm(total=total, desc="encoding frames", unit=" views") as bar:
        for rows, batch in squares:
            rows, vectors = rows.numpy(), run(batch).numpy()
            for row in dict.fromkeys(rows.tolist()):
                for whole in [other for other in collected if other != row]:
                    _save(files[whole], collected.pop(whole), damaged.get(whole))
                collected.setdefault(row, []).append(vectors[rows == row])
            bar.update(len(rows))
    for row, parts in collected.items():
        _save(files[row], parts, damaged.get(row))


def _save(paths, parts, reason):
    if reason:
        return
    vectors = np.concatenate(parts).reshape(-1, len(paths), parts[0].shape[-1])
    for view, path in enumerate(paths):
        with aside(path) as part, open(part, "wb") as file:
            np.save(file, vectors[:, view])
