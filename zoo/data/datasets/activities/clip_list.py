"""Reads a list of videos, `path label` a line, and the names of the classes."""

import collections
import os
import warnings

from zoo.data.datasets.activities.labeled_video import LabelledVideo, group_of
from zoo.data.datasets.example import existing, inside, lines_of


def read_class_names(path):
    """Reads the names of the classes, one a line in the order of their ids.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If it is empty, a line between names is, or a name comes twice.
    """
    names = []
    for number, line in lines_of(existing(path, "the names of the classes, one a line,")):
        name = line.strip()
        if number != len(names) + 1 or name in names:
            raise ValueError(
                f"{path}, line {number}: expected the name of class {len(names)}, one not seen "
                f"before and no empty line before it, got {name!r:.80}."
            )
        names.append(name)
    if not names:
        raise ValueError(f"{path}: expected the names of the classes, one a line, found none.")
    return names


def read_clip_list(root, list_file, class_names=None):
    """Reads a list of videos: see `zoo.data.datasets.activities.clip_folder`.

    Returns:
        List of `LabelledVideo` in the order of the list, and the names of the classes.
    """
    existing(list_file, "a list of videos, `path label` a line,")
    rows = {}  # video_id -> (path, label as written, where)
    repeated = []
    for number, line in lines_of(list_file):
        where = f"{list_file}, line {number}"
        fields = line.strip().rsplit(maxsplit=1)
        if len(fields) != 2:
            raise ValueError(f"{where}: expected `path label`, got {line!r:.200}.")
        name, label = fields
        path = inside(root, os.path.normpath(name), where, "video")
        if not os.path.exists(path):
            raise ValueError(
                f"{where}: expected a video at {path}, but there is none. Paths in the list are "
                f"relative to {root}."
            )
        row = rows.setdefault(os.path.normpath(name), (path, label, where))
        if row[1] != label:
            raise ValueError(f"{where}: {name!r} has the label {label}, but {row[1]} in {row[2]}.")
        if row[2] != where:
            repeated.append(where)
    if repeated:
        warnings.warn(
            f"Each video is read once, though named again: {len(repeated)} times, first in "
            f"{repeated[0]}.",
            stacklevel=3,
        )
    class_names = class_names or _names_from(rows, list_file)
    videos = [
        LabelledVideo(path, _id_of(label, class_names, where), group_of(video_id), video_id)
        for video_id, (path, label, where) in rows.items()
    ]
    return videos, class_names


def _id_of(label, class_names, where):
    if label in class_names and not label.isdecimal():
        return class_names.index(label)
    if not label.isdecimal() or int(label) >= len(class_names):
        raise ValueError(
            f"{where}: expected a label from 0 to {len(class_names) - 1}, or one of "
            f"{', '.join(class_names):.200}; got {label!r:.80}."
        )
    return int(label)


def _names_from(rows, list_file):
    labels = {label for _, label, _ in rows.values()}
    ids = sorted({int(label) for label in labels if label.isdecimal()})
    if not ids:
        return sorted(labels)
    if ids[-1] != len(ids) - 1:
        raise ValueError(
            f"{list_file}: expected labels that count from 0 without a gap, got {ids}. Give the "
            "names of all classes, one a line in the order of their ids: classes=FILE."
        )
    folders = collections.defaultdict(set)
    for video_id, (_, label, _) in rows.items():
        folder, slash, _ = video_id.partition(os.sep)
        folders[label].add(folder if slash else None)
    names = [name for label in map(str, ids) for name in folders.get(label, ())]
    one_to_one = len(names) == len(set(names)) == len(ids) == len(labels) and None not in names
    return names if one_to_one else list(map(str, ids))
