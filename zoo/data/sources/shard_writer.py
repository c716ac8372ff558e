"""Videos are prepared for training: decoded once, and kept as JPEG frames in TFRecord files."""

import collections
import contextlib
import glob
import hashlib
import json
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf
from tqdm import tqdm

from zoo.data.sources.parts import part_of
from zoo.data.sources.shards import INDEX, SKIPPED, VideoShards, shard_name
from zoo.data.sources.video_records import (
    FRAMING,
    MODALITIES,
    QUALITY,
    encode_video,
    id_of,
    make_record,
)
from zoo.data.videos.reading import VideoError
from zoo.files import aside

__all__ = ["VideoShards", "prepare"]

FORMAT = 1  # raise it when decoding, resizing, flow or the files change
VIDEOS_A_SHARD = 32  # what a killed run may have to do again


def prepare(
    videos,
    class_names,
    folder,
    rate=None,
    frame_size=None,
    modality="rgb",
    workers=2,
    quality=QUALITY,
    part=(0, 1),
):
    """Decodes videos once, so that training reads only the frames that it needs.

    The folder gets a TFRecord file for every `VIDEOS_A_SHARD` videos, with a
    `tf.train.SequenceExample` for each video: `video/id`, `video/path`, `video/label`,
    `video/group`, `video/rate` (0 where it was left as it is), `video/height`, `video/width` and
    `num_frames` in its context, and the feature list `image/encoded`, a JPEG a frame. A JSON file
    beside it says where each frame lies. `skipped.json` names the videos that could not be read
    to their end; delete a shard's files to have it tried again. A killed run, given again, goes on
    with the shard it was in. Whatever the number of workers, the files are the same to the byte.

    Several processes, on one machine or on several that share the folder, each write a part of the
    shards. Whichever ends last completes the folder. A part that is given twice is written twice,
    and comes out whole.

    Args:
        videos: List of `zoo.data.datasets.LabelledVideo`.
        class_names: List of names; its index is the label.
        folder: Folder to write; made if missing.
        rate: Frames per second, see `zoo.data.videos.reading.read_frames`.
        frame_size: `(height, width)` to which frames are resized, or None to leave them.
        modality: `"rgb"`, or `"flow"` for flow images, one fewer than there are frames.
        workers: Videos that are decoded at a time.
        quality: Quality of the JPEGs, 1 to 100.
        part: Which of several processes this is, from 0, and how many there are.

    Returns:
        `VideoShards` of the folder; None as long as shards of other parts are missing.

    Raises:
        ValueError: If two videos have one id, a label has no class, a setting makes no sense, the
            folder was begun with other settings, or none of the videos can be read.
    """
    settings = _settings(videos, class_names, rate, frame_size, modality, quality)
    os.makedirs(folder, exist_ok=True)
    _begin(folder, settings)
    starts = range(0, len(videos), VIDEOS_A_SHARD)
    runs = [videos[start : start + VIDEOS_A_SHARD] for start in starts]
    mine = part_of(range(len(runs)), part)
    todo = [number for number in mine if not _is_whole(folder, number)]
    if todo:
        ahead = [video for number in todo for video in runs[number]]
        total = sum(len(runs[number]) for number in mine)
        stop = threading.Event()

        def encode(video):
            try:
                return encode_video(video.path, settings, stop)
            except VideoError as error:
                return error

        with (
            tqdm(
                total=total,
                initial=total - len(ahead),
                desc="preparing videos",
                unit=" videos",
            ) as bar,
            contextlib.closing(_in_order(encode, ahead, workers, stop)) as encoded,
        ):
            for number in todo:
                _write_shard(folder, number, runs[number], encoded, settings, bar)
    if not all(_is_whole(folder, number) for number in range(len(runs))):
        return None  # whoever writes the last of them finds them all
    return _finish(folder, settings)


def _settings(videos, class_names, rate, frame_size, modality, quality):
    """Checks what was asked for, and gives it as JSON will give it back."""
    if modality not in MODALITIES:
        raise ValueError(f"modality is one of {', '.join(MODALITIES)}; got {modality!r}.")
    if frame_size is not None and (len(frame_size) != 2 or min(frame_size) < 1):
        raise ValueError(f"frame_size is (height, width) in pixels, or None; got {frame_size}.")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is that of a JPEG, from 1 to 100; got {quality}.")
    if rate is not None and not 0 < rate < math.inf:
        raise ValueError(f"rate is a number of frames per second above 0, or None; got {rate}.")
    paths = {}
    for video in videos:
        name = id_of(video)
        if name in paths:
            raise ValueError(f"Two videos have the id {name!r}: {paths[name]} and {video.path}.")
        paths[name] = video.path
        if not 0 <= video.label < len(class_names):
            raise ValueError(
                f"{video.path} has the label {video.label}; expected one of the "
                f"{len(class_names)} classes, counted from 0."
            )
    listed = [[id_of(video), int(video.label), video.group] for video in videos]
    return {
        "format": FORMAT,
        "modality": modality,
        "rate": None if rate is None else float(rate),
        "frame_size": None if frame_size is None else [int(side) for side in frame_size],
        "quality": int(quality),
        "class_names": list(class_names),
        "videos": hashlib.sha256(json.dumps(listed).encode()).hexdigest(),
        "num_shards": -(-len(videos) // VIDEOS_A_SHARD),
    }


def _begin(folder, settings):
    """Notes the settings in the folder; where there are some already, they must be the same."""
    index = os.path.join(folder, INDEX)
    if not os.path.exists(index):
        _write_json(index, {**settings, "complete": False})
    with open(index, encoding="utf-8") as file:
        before = json.load(file)
    changed = [name for name in settings if before.get(name) != settings[name]]
    if changed:
        raise ValueError(
            f"{folder} was begun with other settings: "
            + "; ".join(_change(name, before.get(name), settings[name]) for name in changed)
            + ". Give the same ones to go on with it, or write to another folder."
        )


def _change(name, before, now):
    if name in ("videos", "class_names"):
        return f"{name} are not the same"
    return f"{name} was {before} and is now {now}"


def _is_whole(folder, number):
    shard = os.path.join(folder, shard_name(number))
    try:
        with open(f"{shard}.json", encoding="utf-8") as file:
            return os.path.getsize(f"{shard}.tfrecord") == json.load(file)["bytes"]
    except FileNotFoundError:
        return False


def _in_order(function, items, workers, stop):
    """Yields `function(item)` of all items in order, some of them computed ahead."""
    with ThreadPoolExecutor(workers) as pool:  # FFmpeg and OpenCV work outside of Python's lock
        ahead = collections.deque()
        try:
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            stop.set()
            for future in ahead:
                future.cancel()


def _write_shard(folder, number, videos, encoded, settings, bar):
    """Writes the records of some videos, and then the JSON file that says they are there."""
    file = os.path.join(folder, shard_name(number))
    rows, skipped, end = [], {}, 0
    try:
        with aside(f"{file}.tfrecord") as path, tf.io.TFRecordWriter(path) as writer:
            for video in videos:
                encoded_video = next(encoded)
                if isinstance(encoded_video, VideoError):
                    skipped[os.fspath(video.path)] = encoded_video.reason
                else:
                    record, row = make_record(video, encoded_video, settings["rate"])
                    writer.write(record)
                    row["offsets"] = [end + FRAMING[0] + offset for offset in row["offsets"]]
                    end += FRAMING[0] + len(record) + FRAMING[1]
                    rows.append(row)
                bar.update()
        _write_json(f"{file}.json", {"bytes": end, "videos": rows, "skipped": skipped})
    except FileNotFoundError:
        if not _is_whole(folder, number):  # else another process wrote it, and cleared up
            raise


def _finish(folder, settings):
    """Lists the skipped videos, and marks the folder as complete."""
    skipped, num_videos = {}, 0
    for number in range(settings["num_shards"]):
        with open(os.path.join(folder, f"{shard_name(number)}.json"), encoding="utf-8") as file:
            shard = json.load(file)
        skipped |= shard["skipped"]
        num_videos += len(shard["videos"])
    _write_json(os.path.join(folder, SKIPPED), skipped)
    if num_videos == 0:
        path, reason = next(iter(skipped.items()), ("", "the list is empty"))
        raise ValueError(
            f"None of the {len(skipped)} videos can be read. The first one: {path}: {reason}."
        )
    _write_json(os.path.join(folder, INDEX), {**settings, "complete": True})
    for left in glob.glob(os.path.join(glob.escape(os.fspath(folder)), "shard-*.part")):
        with contextlib.suppress(FileNotFoundError):  # of killed processes; there may be gigabytes
            os.remove(left)
    return VideoShards(folder)


def _write_json(path, content):
    with aside(path) as part, open(part, "w", encoding="utf-8") as file:
        json.dump(content, file)
