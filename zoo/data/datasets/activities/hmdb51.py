"""Reader for HMDB51 as its authors publish it."""

import os
import re

from zoo.data.datasets.activities.labeled_video import LabelledVideo, check_fold, two_way_split
from zoo.data.datasets.example import existing, inside, lines_of, not_empty

SPLIT_FILE = re.compile(r"(?P<name>.+)_test_split[123]\.txt")
MARKS = {"0": None, "1": "train", "2": "test"}  # 0: not used in this fold


def hmdb51(root, split, fold=1):
    """Reads a split of HMDB51.

    Args:
        root: Folder with the lists, `<class>_test_split1.txt`, ..., there or in
            `testTrainMulti_7030_splits/`, and the videos: `<class>/`, or `hmdb51_org/<class>/`.
        split: `"train"` or `"test"`. There are only these two: `"val"` and `"dev"` are other
            words for `"test"`.
        fold: 1, 2 or 3: which of the official splits.

    Returns:
        List of `LabelledVideo`, class by class in the order of the lists, whether the files are
        there or not, and the names of the classes in the order of the alphabet, index = label.
        Clips of one film, which stands before the class in their names, are a group.

    Raises:
        FileNotFoundError: If there are no lists, or the fold has none for a class.
        ValueError: If a line is malformed, or the split is empty.

    Source:
        Kuehne, Jhuang, Garrote, Poggio and Serre, 2011. https://doi.org/10.1109/ICCV.2011.6126543
    """
    name = two_way_split(split)
    check_fold(fold)
    lists = _folder(root, "testTrainMulti_7030_splits")
    matches = map(SPLIT_FILE.fullmatch, os.listdir(lists) if os.path.isdir(lists) else [])
    class_names = sorted({match["name"] for match in matches if match})
    if not class_names:
        raise FileNotFoundError(
            f"Expected the lists of HMDB51, such as wave_test_split1.txt, in {root} or in its "
            "folder testTrainMulti_7030_splits, but there are none."
        )
    folder = _folder(root, "hmdb51_org")
    videos = []
    for label, class_name in enumerate(class_names):
        list_file = os.path.join(lists, f"{class_name}_test_split{fold}.txt")
        existing(list_file, f'the list of the class "{class_name}" of HMDB51, fold {fold},')
        for file_name, mark, where in _marked(list_file):
            if mark == name:
                video_id = f"{class_name}/{file_name}"
                path = inside(folder, video_id, where, "video")
                film = file_name.rpartition(f"_{class_name}_")[0] or None
                videos.append(LabelledVideo(path, label, film, video_id))
    return not_empty(videos, lists, split, "videos"), class_names


def _folder(root, name):
    path = os.path.join(root, name)
    return path if os.path.isdir(path) else root


def _marked(list_file):
    for number, line in lines_of(list_file):
        where = f"{list_file}, line {number}"
        fields = line.split()
        if len(fields) != 2 or fields[1] not in MARKS:
            raise ValueError(
                f"{where}: expected `name.avi` and 0 (not used), 1 (train) or 2 (test), got "
                f"{line!r:.200}."
            )
        yield fields[0], MARKS[fields[1]], where
