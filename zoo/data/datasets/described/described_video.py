"""What every reader of videos with sentences returns, and the roles that their labels fill."""

from typing import NamedTuple

import numpy as np

NONE = "none"  # the label of a role that nothing fills


class DescribedVideo(NamedTuple):
    """A video, or a part of one, and what people said about it.

    Attributes:
        video_id: Name of the video or part, the only one of this name in its data set.
        path: Where the video should be. No reader looks whether it is there.
        captions: List of sentences, as written but for white space at the ends.
        labels: Dict from semantic role to label, `{"activity": "cut", "object": "carrot"}`; None
            where the data set has none.
        start: Where the part begins, in seconds within the file; None: at its beginning.
        end: Where it ends; None: at the file's end.
    """

    video_id: str
    path: str
    captions: list[str]
    labels: dict[str, str] | None = None
    start: float | None = None
    end: float | None = None

    @property
    def image_id(self):
        """The video's id, under the name by which COCO's results call what is described."""
        return self.video_id


def is_part(example):
    """Says whether an example is a part of a file and not the whole."""
    return getattr(example, "start", None) is not None or getattr(example, "end", None) is not None


def place_of(example):
    """Says where an example is: its path, and which part of it where it is not the whole.

    >>> place_of(DescribedVideo("1", "a.avi", [], start=2.0, end=3.5))
    'a.avi (2.0 to 3.5 s)'

    Args:
        example: `DescribedVideo`, `LabelledVideo` or `CaptionedImage`.
    """
    if is_part(example):
        return f"{example.path} ({example.start} to {example.end} s)"
    return example.path


def roles_of(videos):
    """Collects the semantic roles of the training videos, and the labels that fill them.

    Args:
        videos: List of `DescribedVideo`.

    Returns:
        Dict from role to list of labels: `"none"`, then the others in the order of the alphabet.
        The role `"activity"` comes first if there is one, then the others as they first appear.
        Empty where no video has labels.

    Raises:
        ValueError: If some videos have labels and others have none.

    Example:
        >>> roles_of([DescribedVideo("1", "1.avi", [], {"tool": "knife", "activity": "cut"})])
        {'activity': ['none', 'cut'], 'tool': ['none', 'knife']}
    """
    bare = [video.video_id for video in videos if video.labels is None]
    if bare and len(bare) < len(videos):
        raise ValueError(
            f"Expected labels for all videos or for none, but {len(bare)} of {len(videos)} have "
            f"none, the first is {bare[0]!r}. A video in which nothing fills a role has the labels "
            "{}."
        )
    labels = {}
    for video in videos:
        for role, label in (video.labels or {}).items():
            labels.setdefault(role, set()).add(label)
    roles = sorted(labels, key=lambda role: role != "activity")  # else they stay in their order
    return {role: [NONE, *sorted(labels[role] - {NONE})] for role in roles}


def label_ids(videos, roles, unknown=0):
    """Gives the labels of videos as numbers.

    Args:
        videos: List of `DescribedVideo`.
        roles: Dict from role to list of labels, from `roles_of` the training videos.
        unknown: What stands for a label that training did not have: 0, which is `"none"`, to be
            trained on; -1, which no prediction equals, where predictions are scored.

    Returns:
        int32 array `(videos, roles)`: the index of each label; 0 where a video lacks the role.
        And how many labels of these
        videos are of no use because training did not have them, or not even their role.

    Raises:
        ValueError: If there are roles but a video has no labels.

    Example:
        >>> roles = {"activity": ["none", "cut", "peel"], "tool": ["none", "knife"]}
        >>> labels = {"activity": "peel", "tool": "peeler"}
        >>> label_ids([DescribedVideo("1", "1.avi", [], labels)], roles)
        (array([[2, 0]], dtype=int32), 1)
    """
    index = {role: {label: i for i, label in enumerate(labels)} for role, labels in roles.items()}
    ids = np.zeros((len(videos), len(roles)), np.int32)
    num_unknown = 0
    for row, video in zip(ids, videos, strict=True):
        if roles and video.labels is None:
            raise ValueError(
                f"Expected labels for the roles {', '.join(roles)}, but the video "
                f"{video.video_id!r} has none."
            )
        labels = video.labels or {}
        row[:] = [index[role].get(labels.get(role, NONE), unknown) for role in roles]
        num_unknown += sum(
            label != NONE and label not in index.get(role, ()) for role, label in labels.items()
        )
    return ids, num_unknown
