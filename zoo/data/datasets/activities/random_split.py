"""A random split of videos that keeps groups together and classes in proportion."""

import collections

import numpy as np


def is_held_out(videos, share, seed):
    """Says of every video whether it is held out.

    Groups are taken one after another, in random order; one is held out if this brings the
    number of videos held out of each class nearer to its share.

    Args:
        videos: List of `LabelledVideo`; one without a group is a group of its own.
        share: Share of each class to hold out, between 0 and 1.
        seed: Integer. The same seed gives the same split, in whatever order the videos come.

    Returns:
        List of booleans.
    """
    # The key says whether it is a group or an id, lest a group be called like another's video.
    keys = [(v.group is not None, v.group or v.video_id) for v in videos]
    num_classes = max((video.label for video in videos), default=-1) + 1
    members = collections.defaultdict(lambda: np.zeros(num_classes))  # videos of each class
    for key, video in zip(keys, videos, strict=True):
        members[key][video.label] += 1
    groups = sorted(members)
    missing = share * sum(members.values())
    held_out = set()
    for index in np.random.default_rng(seed).permutation(len(groups)):
        group = groups[index]
        if np.abs(missing - members[group]).sum() < np.abs(missing).sum():
            missing -= members[group]
            held_out.add(group)
    return [key in held_out for key in keys]
