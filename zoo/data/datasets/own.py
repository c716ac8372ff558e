"""Readers for captions of one's own, for pictures or videos, in one JSON file."""

import os

from zoo.data.datasets.described.described_video import NONE, DescribedVideo
from zoo.data.datasets.example import (
    CaptionedImage,
    EmptySplitError,
    existing,
    field,
    parsed_json,
    split_name,
)


def own(json_path, split):
    """Reads a split of your own pictures and captions.

    The file is a list with an entry for each picture:

    ```json
    [
      {"file_path": "pictures/1.jpg", "captions": ["a dog runs", "a brown dog"], "split": "train"},
      {"file_path": "pictures/2.jpg", "captions": ["two men talk"], "split": "val", "image_id": 7}
    ]
    ```

    If a program wrote some of the captions, put the captions of people first and add their number
    to the entry: `"num_human": 2`.

    Args:
        json_path: The JSON file. A `file_path` is relative to its folder. It is your own file, so
            unlike a downloaded list's it may also be absolute or lead out of that folder.
        split: `"train"`, `"val"` (or `"dev"`) or `"test"`: the entries with this `"split"`. An
            entry without one is of the split `"train"`, so that nothing is ever trained on and
            tested on because a word was forgotten.

    Returns:
        List of `CaptionedImage` in the order of the file; `image_id` is the entry's, or its
        `file_path` as written.

    Raises:
        FileNotFoundError: If the file is not there.
        EmptySplitError: If no entry is of the split.
        ValueError: If it is not in this form.
    """
    entries = _entries_of(json_path, split, "file_path", "image_id", "pictures")
    return [
        CaptionedImage(image_id, path, captions, _num_human(entry, len(captions), where))
        for image_id, path, captions, entry, where in entries
    ]


def _num_human(entry, num_captions, where):
    """Returns how many captions of an entry people wrote; None for all of them."""
    if "num_human" not in entry:
        return None
    num_human = field(entry, "num_human", int, where)
    if not 0 <= num_human <= num_captions:
        raise ValueError(
            f'{where}: expected 0 to {num_captions} as "num_human", the number of captions that '
            f"people wrote. Received: {num_human}."
        )
    return num_human


def own_videos(json_path, split):
    """Reads a split of your own videos, with captions and, if you like, labels.

    The file is a list with an entry for each video:

    ```json
    [
      {"video": "a.mp4", "captions": ["he cuts a carrot"], "split": "train",
       "labels": {"activity": "cut", "object": "carrot"}},
      {"video": "b.mp4", "captions": ["she peels it"], "split": "val", "video_id": "peel"}
    ]
    ```

    Args:
        json_path: The JSON file. A `video` is relative to its folder, or absolute, as in `own`.
        split: `"train"`, `"val"` (or `"dev"`) or `"test"`. An entry without one is of the split
            `"train"`, as in `own`.

    Returns:
        List of `DescribedVideo` in the order of the file; `video_id` is the entry's as a string,
        or its `video` as written; `labels` is None for an entry without.

    Raises:
        FileNotFoundError: If the file is not there.
        EmptySplitError: If no entry is of the split.
        ValueError: If it is not in this form.
    """
    entries = _entries_of(json_path, split, "video", "video_id", "videos")
    return [
        DescribedVideo(str(video_id), path, captions, _labels_of(entry, where))
        for video_id, path, captions, entry, where in entries
    ]


def _entries_of(json_path, split, path_field, id_field, what):
    """Yields `(id, path, captions, entry, where)` for the entries of a split."""
    split = split_name(split)
    entries = parsed_json(existing(json_path, f"a JSON file with your {what} and captions"))
    if not isinstance(entries, list):
        raise ValueError(
            f'{json_path}: expected a list, [{{"{path_field}": ..., "captions": [...]}}, ...], got '
            f"{entries!r:.200}."
        )
    found = False
    for number, entry in enumerate(entries):
        where = f"{json_path}, entry {number}"
        name = field(entry, path_field, str, where)
        captions = field(entry, "captions", list, where)
        if not all(isinstance(caption, str) for caption in captions):
            raise ValueError(f'{where}: expected a list of texts as "captions", got {captions!r}.')
        entry_id = field(entry, id_field, (str, int), where) if id_field in entry else name
        entry_split = field(entry, "split", str, where) if "split" in entry else "train"
        if split_name(entry_split, f"{where}: ") == split:
            found = True
            path = os.path.join(os.path.dirname(json_path), name)
            yield entry_id, path, [caption.strip() for caption in captions], entry, where
    if not found:
        raise EmptySplitError(
            f'{json_path}: expected {what} for the split "{split}", found none. Mark some '
            f'entries with "split": "{split}" (entries without a "split" are for "train").'
        )


def _labels_of(entry, where):
    if "labels" not in entry:
        return None
    labels = entry["labels"]
    if not isinstance(labels, dict) or not all(isinstance(text, str) for text in labels.values()):
        raise ValueError(
            f'{where}: expected texts by their role, {{"activity": "cut"}}, as "labels", got '
            f"{labels!r:.200}."
        )
    return {role: label.strip() or NONE for role, label in labels.items()}
