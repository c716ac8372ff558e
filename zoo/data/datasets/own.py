"""Reader for captions of one's own, in one JSON file."""

import os

from zoo.data.datasets.example import (
    CaptionedImage,
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
        ValueError: If it is not in this form, or no entry is of the split.
    """
    split = split_name(split)
    entries = parsed_json(existing(json_path, "a JSON file with your pictures and captions"))
    if not isinstance(entries, list):
        raise ValueError(
            f'{json_path}: expected a list, [{{"file_path": ..., "captions": [...]}}, ...], got '
            f"{entries!r:.200}."
        )
    examples = []
    for number, entry in enumerate(entries):
        where = f"{json_path}, entry {number}"
        file_path = field(entry, "file_path", str, where)
        captions = field(entry, "captions", list, where)
        if not all(isinstance(caption, str) for caption in captions):
            raise ValueError(f'{where}: expected a list of texts as "captions", got {captions!r}.')
        image_id = field(entry, "image_id", (str, int), where) if "image_id" in entry else file_path
        entry_split = field(entry, "split", str, where) if "split" in entry else "train"
        if split_name(entry_split, f"{where}: ") == split:
            path = os.path.join(os.path.dirname(json_path), file_path)
            captions = [caption.strip() for caption in captions]
            examples.append(CaptionedImage(image_id, path, captions))
    if not examples:
        raise ValueError(
            f'{json_path}: expected pictures for the split "{split}", found none. Mark some '
            f'entries with "split": "{split}" (entries without a "split" are for "train").'
        )
    return examples
