"""Reader for UCF101 as its authors publish it."""

import os

from zoo.data.datasets.activities.labeled_video import (
    LabelledVideo,
    check_fold,
    group_of,
    two_way_split,
)
from zoo.data.datasets.example import existing, inside, lines_of, not_empty


def ucf101(root, split, fold=1):
    """Reads a split of UCF101.

    Args:
        root: Folder with `ucfTrainTestlist/` (`classInd.txt`, `trainlist01.txt`,
            `testlist01.txt`, ...) and the videos: `UCF-101/<Class>/`, or `<Class>/`.
        split: `"train"` or `"test"`. There are only these two: `"val"` and `"dev"` are other
            words for `"test"`.
        fold: 1, 2 or 3: which of the official splits.

    Returns:
        List of `LabelledVideo` in the order of the list, whether the files are there or not, and
        the names of the classes, index = label. The clips that one video was cut into, `_g01_`
        in their names, are a group.

    Raises:
        FileNotFoundError: If a list is not there.
        ValueError: If a line is malformed or contradicts the list of classes, or a list is empty.

    Source:
        Soomro, Zamir and Shah, 2012. https://arxiv.org/abs/1212.0402
    """
    name = two_way_split(split)
    check_fold(fold)
    lists = os.path.join(root, "ucfTrainTestlist")
    class_file = existing(os.path.join(lists, "classInd.txt"), "the classes of UCF101")
    class_names = read_class_index(class_file)
    list_file = os.path.join(lists, f"{name}list{fold:02}.txt")
    existing(list_file, f'the list of the split "{split}", fold {fold}, of UCF101')
    folder = os.path.join(root, "UCF-101")
    if not os.path.isdir(folder):
        folder = root
    ids = {name: label for label, name in enumerate(class_names)}
    videos = []
    for number, line in lines_of(list_file):
        where = f"{list_file}, line {number}"
        video_id, *given = line.split()  # the lists for training also say the class, from 1
        label = ids.get(video_id.split("/")[0])
        if "/" not in video_id or label is None or given not in ([], [str(label + 1)]):
            raise ValueError(
                f"{where}: expected `Class/video.avi`, or `Class/video.avi number`, with a class "
                f"and its number out of {class_file}, got {line!r:.200}."
            )
        path = inside(folder, video_id, where, "video")
        videos.append(LabelledVideo(path, label, group_of(video_id), video_id))
    return not_empty(videos, list_file, split, "videos"), class_names


def read_class_index(class_file):
    """Reads `classInd.txt`: the names of the classes, one a line after its number, from 1."""
    names = []
    for number, line in lines_of(class_file):
        fields = line.split()
        if len(fields) != 2 or fields[0] != str(len(names) + 1) or fields[1] in names:
            raise ValueError(
                f"{class_file}, line {number}: expected `{len(names) + 1} NameOfTheClass`, a name "
                f"not seen before, got {line!r:.200}."
            )
        names.append(fields[1])
    return names
