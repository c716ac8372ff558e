"""Reader for videos of one's own: a list of `path label` lines, or a folder for every class."""

import os

from zoo.data.datasets.activities.clip_list import read_class_names, read_clip_list
from zoo.data.datasets.activities.labeled_video import LabelledVideo, group_of, two_way_split
from zoo.data.datasets.activities.random_split import is_held_out
from zoo.data.datasets.example import split_name

VIDEO_FILES = (
    *(".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"),
    *(".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
)
PICTURE_FILES = (".bmp", ".jpeg", ".jpg", ".png")  # of which a folder of raw frames consists
SPLITS = ("train", "val", "test")


def clip_folder(root, split=None, list_file=None, classes=None, random_split=None, seed=0):
    """Reads videos of your own, each a file or a folder of raw frames.

    With a list, its lines name the videos. Without, `root` holds a folder for every class, or the
    folders `train/`, `val/` and `test/` (or two of them) with a folder for every class.

    Args:
        root: Folder of the videos.
        split: `"train"`, `"val"` (or `"dev"`) or `"test"`; None for all videos that there are:
            with a list, all that it names. Where there are only two parts, both `"val"` and
            `"test"` are the second one.
        list_file: File with a line `path label` for each video, its path relative to `root`, its
            label an id that counts from 0, or the name of a class. The path may hold blanks.
        classes: File with the names of the classes, one a line in the order of their ids; or
            these names in a list, such as a trained model's. Without, the classes are the class
            folders, or the list's names, in the order of the alphabet. If a list gives ids, and
            the first folders of its paths match them one to one, `fight/1.mp4 1`, these folders
            are the names; else the ids are.
        random_split: Share of the videos to hold out, such as 0.2, where nothing else splits
            them: `"train"` gives the others, `"val"` and `"test"` these. Clips of a group, `_g01_`
            in their names as in UCF101's, stay together. Without such names clips of one scene
            may fall on both sides, and the score then says too much.
        seed: Integer. The same seed and videos give the same random split.

    Returns:
        List of `LabelledVideo`, in the order of the list, or of the alphabet; and the names of
        the classes, index = label.

    Raises:
        FileNotFoundError: If the folder or a file is not there.
        ValueError: If a line is malformed, names a video that is not there or a class that is
            none, or a video twice with two labels; if a class folder holds no video; or if a split
            is asked for that nothing describes.

    Warns:
        UserWarning: If a list names a video twice. It is read once.
    """
    if not os.path.isdir(root):
        raise FileNotFoundError(f"Expected a folder of videos at {root}, but there is none.")
    if isinstance(classes, str | os.PathLike):
        classes = read_class_names(classes)
    parts = [] if list_file else _split_folders(root)
    if split is not None and not parts and random_split is None:
        raise ValueError(
            f'Nothing says which videos of {list_file or root} are the split "{split}". Give a '
            "list for each split and no split's name, or make the folders train and val with the "
            "class folders in them, or ask for a random split: random_split=0.2."
        )
    if random_split is not None and (parts or not 0 < random_split < 1):
        raise ValueError(
            "Expected random_split to be a share between 0 and 1, of videos that are not split "
            f"into the folders train, val and test; got {random_split} for {root}."
        )
    if list_file:
        videos, class_names = read_clip_list(root, list_file, classes)
    else:
        videos, class_names = _read_folders(root, _chosen(parts, split, root), parts, classes)
    if split is not None and random_split is not None:
        held_out = is_held_out(videos, random_split, seed)
        wanted = two_way_split(split) == "test"
        videos = [v for v, out in zip(videos, held_out, strict=True) if out == wanted]
    if not videos:
        part = "" if split is None else f' for the split "{split}"'
        raise ValueError(f"{list_file or root}: expected videos{part}, found none.")
    return videos, class_names


def _folders(path):
    """Names of the folders in a folder, but for hidden ones, in the order of the alphabet."""
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")


def _split_folders(root):
    """`["train", "val"]`, where all folders of `root` are called like splits; else nothing."""
    names = _folders(root)
    return names if set(names) <= set(SPLITS) else []


def _chosen(parts, split, root):
    """Which of the folders of `root` to read: `["train"]`, or `[""]` where it is not split."""
    if split is None or not parts:
        return parts or [""]
    name = split_name(split)
    if name not in parts and name != "train":
        name = {"val": "test", "test": "val"}[name]
    if name not in parts:
        raise ValueError(
            f'Expected a folder for the split "{split}" in {root}, found {", ".join(parts)}.'
        )
    return [name]


def _read_folders(root, chosen, parts, class_names):
    folders = sorted({n for part in parts or [""] for n in _folders(os.path.join(root, part))})
    class_names = class_names or folders
    unknown = sorted(set(folders) - set(class_names))
    if unknown:
        raise ValueError(
            f"{root} has folders for classes that are none: {', '.join(unknown)}. Expected only "
            f"{', '.join(class_names)}."
        )
    videos = []
    for part in chosen:
        for name in _folders(os.path.join(root, part)):
            folder = os.path.join(part, name)
            videos.extend(
                LabelledVideo(
                    os.path.join(root, video_id), class_names.index(name), group, video_id
                )
                for video_id, group in _videos_in(root, folder)
            )
    return videos, class_names


def _videos_in(root, folder):
    with os.scandir(os.path.join(root, folder)) as entries:
        names = sorted(entry.name for entry in entries if _is_video(entry))
    if not names:
        raise ValueError(
            f"{os.path.join(root, folder)}: expected the videos of a class, files ending in "
            f"{', '.join(VIDEO_FILES)} or folders of pictures, found none."
        )
    return [(os.path.join(folder, name), group_of(name)) for name in names]


def _is_video(entry):
    if entry.name[0] == ".":
        return False
    if entry.is_dir():
        with os.scandir(entry.path) as frames:
            return any(frame.name.lower().endswith(PICTURE_FILES) for frame in frames)
    return entry.name.lower().endswith(VIDEO_FILES)
