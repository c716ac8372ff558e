"""Reader for TACoS Multilevel: cooking videos with sentences and their semantic roles."""

import math
import os
import zipfile

import numpy as np

from zoo.data.datasets.described.described_video import NONE, DescribedVideo
from zoo.data.datasets.example import existing, inside, lines_of, not_empty, split_name

ROLES = ("activity", "object", "tool", "source", "target")  # Rohrbach et al., 2014
COLUMNS = ("video", "start", "end", *ROLES, "sentence")
SUM_TOLERANCE = 1e-3  # room for probabilities that were stored in float16


def tacos(root, split):
    """Reads a split of TACoS Multilevel.

    The layout is ours, not that of the published corpus: bring the corpus into it by writing a
    line for each of its sentences, with the video, the times and the tuple of the segment that
    the sentence describes. Times that are numbers of frames have to be divided by the frames per
    second of the video.

    ```
    s13-d21<TAB>12.5<TAB>17<TAB>cut<TAB>carrot<TAB>knife<TAB>none<TAB>none<TAB>He cuts a carrot.
    ```

    Args:
        root: Folder with the videos, `videos/<name>.avi`; with `tacos_multilevel.tsv`, its fields
            separated by tabs: name of the video, start and end in seconds, activity, object,
            tool, source, target, sentence, with `none` or nothing for a role that is not filled;
            and with the lists `train.txt`, `val.txt` and `test.txt`, the name of a video a line.
        split: `"train"`, `"val"` (or `"dev"`) or `"test"`.

    Returns:
        List of `DescribedVideo`, one for each segment: videos in the order of the list, segments
        in the order of the file. `video_id` is `<name>_<start>_<end>`. Sentences of one segment
        are its captions; `labels` has all five roles.

    Raises:
        FileNotFoundError: If one of the two files is not there.
        ValueError: If a line is malformed or gives a segment another tuple than a line before, if
            a listed video has no segments or comes twice, or if a list is empty.

    Source:
        Rohrbach et al., 2014. https://arxiv.org/abs/1403.6173
    """
    list_file = os.path.join(root, f"{split_name(split)}.txt")
    existing(list_file, f'the list of videos of the split "{split}" of TACoS Multilevel')
    path = os.path.join(root, "tacos_multilevel.tsv")
    segments = _read_segments(existing(path, "the sentences of TACoS Multilevel"), root)
    names = {}
    for number, line in lines_of(list_file):
        where = f"{list_file}, line {number}"
        name = line.strip()
        if name in names:
            raise ValueError(f"{where}: expected each video once, {name!r} is in {names[name]}.")
        if name not in segments:
            raise ValueError(
                f"{where}: expected a video with sentences in {path}, but that has none for "
                f"{name!r:.80}. Is the file complete?"
            )
        names[name] = where
    videos = [video for name in names for video in segments[name].values()]
    return not_empty(videos, list_file, split, "videos")


def _read_segments(path, root):
    """All segments, `{name of the video: {(start, end): DescribedVideo}}`."""
    folder = os.path.join(root, "videos")
    segments = {}
    for number, line in lines_of(path):
        where = f"{path}, line {number}"
        fields = [text.strip() for text in line.split("\t")]
        if len(fields) != len(COLUMNS) or not fields[-1]:
            raise ValueError(
                f"{where}: expected `{'<TAB>'.join(COLUMNS)}`, none of them missing, got "
                f"{line!r:.200}."
            )
        name, start, end, *labels, sentence = fields
        span = _seconds(start), _seconds(end)
        if not 0 <= span[0] < span[1] < math.inf:
            raise ValueError(
                f"{where}: expected a start and a later end in seconds, got {start!r:.40} and "
                f"{end!r:.40}."
            )
        labels = {role: label or NONE for role, label in zip(ROLES, labels, strict=True)}
        video_path = inside(folder, f"{name}.avi", where, "video")
        new = DescribedVideo(f"{name}_{start}_{end}", video_path, [], labels, *span)
        segment = segments.setdefault(name, {}).setdefault(span, new)
        if segment.labels != labels:
            raise ValueError(
                f"{where}: expected the tuple that {segment.video_id!r} has in a line before, "
                f"{segment.labels}, got {labels}."
            )
        segment.captions.append(sentence)
    return segments


def _seconds(text):
    try:
        return float(text)
    except ValueError:
        return math.nan  # which is neither before nor after anything


def label_probabilities(path, video_ids, roles):
    """Reads the probabilities of labels that a CRF, or another model, gave to videos.

    Args:
        path: An `.npz` file with `video_ids`, strings, and for each role a float array of its
            name, `(videos, labels)`, whose rows sum to 1.
        video_ids: Ids of the videos to look up.
        roles: Dict from role to list of labels, in the order of the columns, such as from
            `zoo.data.datasets.roles_of`.

    Returns:
        float32 array `(len(video_ids), labels of all roles)`: the roles one beside another, in
        the order of `roles`.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If the file lacks a video or a role, an array is of another shape or type, or
            a row holds no probabilities.

    Example:
        With the rows `[0.9, 0.1]` for the activity and `[0.2, 0.3, 0.5]` for the tool of a video,
        it has the row `[0.9, 0.1, 0.2, 0.3, 0.5]`.
    """
    ids, arrays = _read_arrays(existing(path, "the probabilities of labels, an .npz,"), roles)
    rows = {video_id: row for row, video_id in enumerate(ids)}
    if len(rows) != len(ids):
        raise ValueError(f'{path}: expected each video once in "video_ids", got some twice.')
    missing = [video_id for video_id in video_ids if video_id not in rows]
    if missing:
        raise ValueError(
            f"{path}: expected probabilities for {len(video_ids)} videos, but {len(missing)} are "
            f"missing, the first is {missing[0]!r}."
        )
    for role, labels in roles.items():
        array = arrays[role]
        if array.shape != (len(ids), len(labels)) or array.dtype.kind != "f":
            raise ValueError(
                f'{path}: expected floats of shape {(len(ids), len(labels))} as "{role}", for '
                f"{len(ids)} videos and {len(labels)} labels, got {array.dtype} of shape "
                f"{array.shape}."
            )
        sums = array.sum(axis=1, dtype=np.float64)
        good = (array >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM_TOLERANCE)  # false for NaN
        if not good.all():
            row = int(np.argmin(good))
            raise ValueError(
                f'{path}: expected rows of probabilities that sum to 1 as "{role}", got '
                f"{array[row]!s:.200} for the video {ids[row]!r}."
            )
    wanted = [rows[video_id] for video_id in video_ids]
    return np.concatenate([arrays[role][wanted] for role in roles], axis=1).astype(np.float32)


def _read_arrays(path, roles):
    """The ids of the videos, a list, and the arrays of the roles."""
    try:
        # A pickle could run anything: the file may be somebody else's.
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("video_ids", *roles) if name in archive}
    except (AttributeError, EOFError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: expected an .npz with arrays of strings and floats, got something else "
            f"({error})."
        ) from error
    missing = [name for name in ("video_ids", *roles) if name not in arrays]
    if missing:
        raise ValueError(
            f'{path}: expected "video_ids" and an array for each of the roles {", ".join(roles)}, '
            f"but {', '.join(missing)} is missing."
        )
    ids = arrays["video_ids"]
    if ids.ndim != 1 or ids.dtype.kind != "U":
        raise ValueError(
            f'{path}: expected a list of strings as "video_ids", got {ids.dtype} of shape '
            f"{ids.shape}."
        )
    return ids.tolist(), arrays
