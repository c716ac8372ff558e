"""What every reader returns, and the checks that every reader makes."""

import json
import os
import pathlib
from typing import NamedTuple


class CaptionedImage(NamedTuple):
    """A picture and what people said about it.

    Attributes:
        image_id: Name or number of the picture in its data set, string or integer.
        path: Where the picture should be. No reader looks whether it is there: that is the
            business of `zoo.inference.audit` and of whoever decodes it.
        captions: List of sentences, as written but for white space at the ends.
        num_human: The first `num_human` captions were written by people, the others by a
            program. None if people wrote all of them.
    """

    image_id: str | int
    path: str
    captions: list[str]
    num_human: int | None = None


class EmptySplitError(ValueError):
    """A data set has no examples for the split that was requested."""


def split_name(split, where=""):
    """Returns `"train"`, `"val"` or `"test"`; `"dev"` is another word for `"val"`."""
    name = {"dev": "val"}.get(split, split)
    if name not in ("train", "val", "test"):
        raise ValueError(f'{where}A split is "train", "val" (or "dev") or "test", got {split!r}.')
    return name


def existing(path, what):
    """Returns `path` if that file exists.

    Raises:
        FileNotFoundError: If it does not, with `what` to say what the file is for.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"Expected {what} at {path}, but there is no such file.")
    return path


def inside(folder, name, where, what="picture"):
    """Joins the name of a picture to its folder, and refuses names that lead out of it.

    Args:
        folder: Folder of the pictures.
        name: Name from somebody's list, `/` between folders.
        where: File and line of the name, for the message.
        what: What it is the name of, for the message.

    Example:
        >>> inside("coco", "val2014/1.jpg", "dataset.json")
        'coco/val2014/1.jpg'
        >>> inside("coco", "../secret.jpg", "dataset.json")
        Traceback (most recent call last):
        ValueError: dataset.json: expected the name of a picture inside coco, got '../secret.jpg'.
    """
    parsed = pathlib.PureWindowsPath(name)  # knows both / and \, so that no list is unsafe there
    if not parsed.parts or parsed.anchor or ".." in parsed.parts or "\0" in name:
        raise ValueError(f"{where}: expected the name of a {what} inside {folder}, got {name!r}.")
    return os.path.join(folder, name)


def lines_of(path):
    """Yields `(line number, text)` for the lines of a UTF-8 file that are not blank."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}, line {number}: expected UTF-8 text, got {line!r:.80} ({error.reason} "
                    f"at byte {error.start}). Convert the file to UTF-8."
                ) from error
            if text.strip():
                yield number, text


def parsed_json(path):
    """Returns what a JSON file holds.

    Raises:
        ValueError: If it is not JSON, with file, line and column.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}, line {error.lineno}, column {error.colno}: expected JSON, got something "
            f"else ({error.msg}). Is the file complete?"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8 text ({error}). Convert the file.") from error


def field(entry, name, kind, where):
    """Returns `entry[name]` of a JSON object, checked to be of type `kind`.

    Args:
        entry: What the JSON file holds at the place `where`.
        name: Name of the field.
        kind: Type, or tuple of types, that the value must have.
        where: File and place, for the message.

    Raises:
        ValueError: If `entry` is no object, has no such field or one of another type.
    """
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        words = " or ".join({str: "text", int: "an integer", list: "a list"}[k] for k in kinds)
        raise ValueError(f'{where}: expected {words} as "{name}", got {entry!r:.200}.')
    return value


def not_empty(examples, source, split, what="pictures"):
    """Returns `examples`, or raises a ValueError if `source` has none for the split."""
    if not examples:
        raise EmptySplitError(f'{source}: expected {what} for the split "{split}", found none.')
    return examples
