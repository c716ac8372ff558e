"""Videos of one or two moving digits, one after the other, with the sentences that tell them."""

import numpy as np

from zoo.data.datasets.described.described_video import NONE, DescribedVideo
from zoo.data.datasets.example import split_name
from zoo.data.datasets.synthetic.moving_digits import (
    MOTIONS,
    SHARES,
    SPEEDS,
    digit_pictures,
    render,
)

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIRECTIONS = ("left", "right", "up", "down")
ROLES = {  # role -> its labels; the activity is the one that all others hang on
    "activity": [NONE, "moves", "moves and another follows"],
    "digit": [NONE, *DIGITS],
    "motion": [NONE, *DIRECTIONS],
    "next_digit": [NONE, *DIGITS],
    "next_motion": [NONE, *DIRECTIONS],
}
EVENT_FRAMES = (5, 11)  # fewest, and one more than the most, of one digit
SINGLE = 1 / 3  # share of the videos in which no second digit follows


def is_held_out(digit, motion, order):
    """Says whether no training video shows a digit with this motion at this place.

    >>> [is_held_out(3, motion, order=0) for motion in range(4)]
    [False, False, False, True]

    Args:
        digit: 0 to 9.
        motion: Index into `DIRECTIONS`.
        order: 0 for the first digit of a video, 1 for the one that follows.

    Returns:
        A boolean, True for 10 of the 80: one of each digit, each motion at both places.
    """
    return (motion, order) == (digit % 4, digit // 4 % 2)


def described_digits(split, num_videos, seed, size=32):
    """Makes videos of moving digits that are described in sentences and by semantic roles.

    A digit moves; in about two thirds of the videos another one follows, at another place. In each
    frame a digit's place is uniform, so that no single frame tells a motion, and the mean of the
    frames does not tell which digit came first. The pictures are split before videos are made,
    and so are the combinations of digit, motion and order: in the split `"test"` each video shows
    at least one that no video of the others does (see `is_held_out`).

    Args:
        split: `"train"`, `"val"` (or `"dev"`) or `"test"`.
        num_videos: Number of videos.
        seed: Integer. The same seed gives the same videos.
        size: Height and width of a frame in pixels.

    Returns:
        List of videos of 5 to 20 frames, uint8 RGB `(num_frames, size, size, 3)`, read only; and
        list of `DescribedVideo`, each with two captions and the labels of `ROLES`.

    Raises:
        ModuleNotFoundError: If scikit-learn is not installed.
        ValueError: If the split is unknown.
    """
    split = split_name(split)
    pictures, digits = digit_pictures(split)
    by_digit = [pictures[digits == digit] for digit in range(10)]
    random = np.random.default_rng([seed, 1 + list(SHARES).index(split)])
    clips, videos = [], []
    while len(clips) < num_videos:
        count = 1 if random.random() < SINGLE else 2
        events = [(int(random.integers(10)), int(random.integers(4))) for _ in range(count)]
        new = [is_held_out(*event, order) for order, event in enumerate(events)]
        if any(new) != (split == "test"):
            continue
        parts = []
        for digit, motion in events:
            step = random.choice(SPEEDS) * np.array(MOTIONS[DIRECTIONS[motion]])
            times = np.arange(random.integers(*EVENT_FRAMES))
            path = random.integers(size, size=2) + step * times[:, None]  # (frames, 2)
            parts.append(render(random.choice(by_digit[digit]), path, size))
        frames = np.concatenate(parts)[..., None]
        clips.append(np.broadcast_to(frames, (*frames.shape[:3], 3)))  # kept as one channel
        videos.append(DescribedVideo(f"{split}{len(videos)}", "", *_tell(events)))
    return clips, videos


def _tell(events):
    """Captions and labels of what happens.

    >>> _tell([(3, 0), (7, 2)])[0]
    ['a three moves left and then a seven moves up', 'first a three goes left , then a seven up']
    """
    (digit, motion), *following = [(DIGITS[d], DIRECTIONS[m]) for d, m in events]
    labels = {"activity": ROLES["activity"][len(events)], "digit": digit, "motion": motion}
    if not following:
        captions = [f"a {digit} moves {motion}", f"one sees a {digit} that goes {motion}"]
        return captions, {**labels, "next_digit": NONE, "next_motion": NONE}
    ((next_digit, next_motion),) = following
    captions = [
        f"a {digit} moves {motion} and then a {next_digit} moves {next_motion}",
        f"first a {digit} goes {motion} , then a {next_digit} {next_motion}",
    ]
    return captions, {**labels, "next_digit": next_digit, "next_motion": next_motion}
