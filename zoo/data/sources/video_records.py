"""A video as one record: its frames as JPEGs in a `tf.train.SequenceExample`."""

import os

import tensorflow as tf

from zoo.data.videos.flow import flow_image, optical_flow
from zoo.data.videos.packages import cv2
from zoo.data.videos.reading import VideoError, read_frames

MODALITIES = ("rgb", "flow")
QUALITY = 95  # of JPEGs
MAX_BYTES = 2**30  # JPEGs of one video; a record must stay below 2 GB
FRAMING = 12, 4  # bytes before and after a record in a file: its length and two checksums


def encode_video(path, settings, stop):
    """Gives the frames of a video as JPEGs.

    Args:
        path: Path of the video.
        settings: Dict of `rate`, `frame_size`, `modality` and `quality`, see
            `zoo.data.sources.shard_writer.prepare`.
        stop: `threading.Event`, at which what has been encoded is given up.

    Returns:
        List of bytes, and `(height, width)`.

    Raises:
        VideoError: If the video cannot be read to its end, has one frame where flow is wanted, or
            has too many.
    """
    jpegs, size, num_bytes = [], None, 0
    frames = jpeg_frames(
        path, settings["rate"], settings["frame_size"], settings["modality"], settings["quality"]
    )
    for jpeg, shape in frames:
        if stop.is_set():
            break
        jpegs.append(jpeg)
        size = shape
        num_bytes += len(jpeg)
        if num_bytes > MAX_BYTES:
            raise VideoError(path, f"too long: {len(jpegs)} frames make more than 1 GB")
    return jpegs, size


def jpeg_frames(path, rate, frame_size, modality="rgb", quality=QUALITY):
    """Reads the frames of a video, or its flow images, as JPEGs, in a stream.

    Args:
        path: Path of the video.
        rate: Frames per second, or None for the video's own.
        frame_size: Height and width in pixels, or None for the video's own.
        modality: `"rgb"` or `"flow"`; flow images are one fewer.
        quality: Of the JPEGs, 1 to 100.

    Yields:
        For each frame its JPEG, bytes, and `(height, width)`.

    Raises:
        VideoError: If the video cannot be read to its end, or has one frame where flow is wanted.
    """
    read = read_flow if modality == "flow" else _read_resized
    try:
        for frame in read(path, rate, frame_size):
            yield encode_jpeg(frame, None, quality, modality), frame.shape[:2]
    except cv2.error as error:  # no flow of less than 12 pixels, no JPEG of more than 65500
        raise VideoError(path, f"OpenCV refuses its frames: {error.err}") from None


def encode_jpeg(frame, frame_size=None, quality=QUALITY, modality="rgb"):
    """Encodes a frame, uint8 RGB `(height, width, 3)`, as JPEG; size None leaves its own."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if modality == "flow":  # the usual half resolution of colour would blur the motion
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    bgr = cv2.cvtColor(_resize(frame, frame_size), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, options)[1].tobytes()


def make_record(video, encoded, rate):
    """Serializes a video.

    Args:
        video: `zoo.data.datasets.LabelledVideo`.
        encoded: JPEGs and `(height, width)`, from `encode_video`.
        rate: Frames per second, or None for the video's own.

    Returns:
        The record, bytes; and a dict that says what is in it: `id`, `label`, `group`, `size`, and
        the `offsets` and `lengths` in bytes of the JPEGs.
    """
    jpegs, size = encoded
    context = {
        "video/id": _bytes(os.fsencode(id_of(video))),
        "video/path": _bytes(os.fsencode(video.path)),
        "video/label": _number(int(video.label)),
        "video/group": _bytes((video.group or "").encode()),
        "video/rate": tf.train.Feature(float_list=tf.train.FloatList(value=[rate or 0.0])),
        "video/height": _number(size[0]),
        "video/width": _number(size[1]),
        "num_frames": _number(len(jpegs)),
    }
    frames = tf.train.FeatureList(feature=[_bytes(jpeg) for jpeg in jpegs])
    example = tf.train.SequenceExample(
        context=tf.train.Features(feature=context),
        feature_lists=tf.train.FeatureLists(feature_list={"image/encoded": frames}),
    )
    record = example.SerializeToString(deterministic=True)
    offsets, end = [], 0
    for jpeg in jpegs:  # they lie in the record as they are, in their order
        offsets.append(record.index(jpeg, end))
        end = offsets[-1] + len(jpeg)
    return record, {
        "id": id_of(video),
        "label": int(video.label),
        "group": video.group,
        "size": size,
        "offsets": offsets,
        "lengths": [len(jpeg) for jpeg in jpegs],
    }


def id_of(video):
    """Gives the id of a `LabelledVideo`: its path where it has none of its own."""
    return video.video_id or os.fspath(video.path)


def read_flow(path, rate, frame_size):
    """Yields the flow images of a video, uint8 `(*frame_size, 3)`; one fewer than its frames.

    Raises:
        VideoError: If the video cannot be read to its end, or has one frame only.
    """
    flow = None
    for flow in optical_flow(_read_resized(path, rate, frame_size)):
        yield flow_image(flow)
    if flow is None:
        raise VideoError(path, "one frame only, in which nothing can move")


def _read_resized(path, rate, frame_size):
    return (_resize(frame, frame_size) for frame in read_frames(path, rate))


def _resize(frame, size):
    if size is None or frame.shape[:2] == tuple(size):
        return frame
    height, width = size
    shrinks = height <= frame.shape[0] and width <= frame.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(frame, (width, height), interpolation=method)


def _bytes(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _number(value):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
