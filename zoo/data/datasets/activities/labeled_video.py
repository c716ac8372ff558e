"""What every reader of videos returns, and what several of them do."""

import os
import re
from typing import NamedTuple

from zoo.data.datasets.example import split_name

GROUP = re.compile(r"(.+_g\d+)_")  # UCF101's way to name clips that were cut from one video


class LabelledVideo(NamedTuple):
    """A video and the activity in it.

    Attributes:
        path: Where the video should be: a file, or a folder of raw frames.
        label: Index of the activity in the data set's list of class names.
        group: Clips of one group show the same scene: a split must not tear them apart. None
            where nothing is known.
        video_id: Name of the video, the only one of this name in its data set.
    """

    path: str
    label: int
    group: str | None = None
    video_id: str = ""


def two_way_split(split):
    """Returns `"train"` or `"test"`; where there are only two, `"val"` is the second, too."""
    return "train" if split_name(split) == "train" else "test"


def check_fold(fold):
    """Raises a ValueError unless `fold` is 1, 2 or 3."""
    if fold not in (1, 2, 3):
        raise ValueError(f"A data set of three splits has the folds 1, 2 and 3, got {fold!r}.")


def group_of(path):
    """Gives the group that the name of a video carries, or None.

    Example:
        >>> group_of("Archery/v_Archery_g01_c02.avi")
        'v_Archery_g01'
    """
    match = GROUP.match(os.path.basename(path))
    return match and match[1]
