"""Batches of described videos hold what they say, in an order that only seed and epoch decide."""

import functools

import numpy as np
import pytest

from zoo.data.batches.captions import WHOLE, Share
from zoo.data.batches.videos import pack_features, role_batches, sequence_batches, video_batches
from zoo.data.sources.arrays import ClipArray

LENGTHS = [3, 6, 1, 9, 4, 5]  # frames of each video
CAPTIONS = np.array([[5, 0, 0], [6, 7, 8], [8, 6, 0], [9, 5, 7], [7, 0, 0], [5, 6, 0]], "int32")
VIDEO_OF = np.array([0, 0, 1, 3, 2, 3])  # of each caption; videos 4 and 5 have none
LABELS = np.array([[0, 1], [1, 2], [2, 0], [3, 1], [4, 2], [5, 0]], "int32")


def numbered_clips():
    """Pixels that tell where they come from: red the video, green row and frame, blue the column.

    A crop shows rows that follow one another, so that its first row says where it lies.
    """
    clips = [np.zeros((length, 10, 12, 3), "uint8") for length in LENGTHS]
    for video, clip in enumerate(clips):
        clip[..., 0] = 10 * video
        clip[..., 1] = 16 * np.arange(len(clip))[:, None, None] + np.arange(10)[:, None]
        clip[..., 2] = np.arange(12)
    return clips


@pytest.fixture(scope="module")
def source():
    return ClipArray(numbered_clips())


@pytest.fixture(scope="module")
def packed():
    """Features that say where they come from, video and frame."""
    return pack_features([[numbered_features(n)] for n in range(6)], max_frames=5)


def numbered_features(video):
    frames = 1 + np.arange(LENGTHS[video])
    return np.stack([np.full(len(frames), video + 1), frames], axis=1).astype("float16")


def arrays(batches):
    """What comes out as nested lists of NumPy arrays, inputs as dicts."""
    return list(batches.as_numpy_iterator())


def captions(packed, seed=3, epoch=0, first_batch=0, share=WHOLE):
    return arrays(sequence_batches(*packed, VIDEO_OF, CAPTIONS, 2, seed, epoch, first_batch, share))


def roles(packed, seed=3, epoch=0, first_batch=0, share=WHOLE):
    return arrays(role_batches(*packed, LABELS, 2, seed, epoch, first_batch, share))


def videos(
    source,
    rows=range(6),
    targets=LABELS,
    seed=3,
    epoch=0,
    first_batch=0,
    share=WHOLE,
    max_frames=6,
    size=8,
):
    arguments = (rows, (10, 12), size, max_frames, targets, 2, seed, epoch, first_batch, share)
    return arrays(video_batches(source, *arguments))


def test_features_of_videos_are_packed_with_their_lengths_and_zeros_behind_the_end():
    other_view = np.full((9, 2), 99, "float16")
    features = [[numbered_features(n), other_view] for n in (0, 2, 3)]
    packed, num_frames = pack_features(features, max_frames=4)
    assert packed.dtype == np.float16 and num_frames.dtype == np.int32
    assert num_frames.tolist() == [3, 1, 4]
    assert packed[..., 0].tolist() == [[1, 1, 1, 0], [3, 0, 0, 0], [4, 4, 4, 4]]
    # All over the nine frames of the long one.
    assert packed[..., 1].tolist() == [[1, 2, 3, 0], [1, 0, 0, 0], [1, 4, 6, 9]]
    assert pack_features(features, max_frames=20)[0].shape == (3, 9, 2)


def test_every_caption_comes_once_an_epoch_with_the_features_of_its_video(packed):
    seen = []
    for inputs, targets, weights in captions(packed):
        assert set(inputs) == {"features", "num_frames", "token_ids"}
        features, num_frames = inputs["features"], inputs["num_frames"]
        assert features.dtype == np.float32 and num_frames.dtype == np.int32
        for frames, count, before, target, weight in zip(
            features, num_frames, inputs["token_ids"], targets, weights, strict=True
        ):
            words = target[target != 0].tolist()
            (caption,) = np.flatnonzero([c[c != 0].tolist() == words for c in CAPTIONS])
            seen.append(caption)
            video = VIDEO_OF[caption]
            assert count == min(LENGTHS[video], 5)
            np.testing.assert_array_equal(
                frames[:, 0], (np.arange(len(frames)) < count) * (video + 1)
            )
            assert frames[count - 1, 1] == LENGTHS[video]
            assert before.tolist() == [0, *target[:-1]]
            assert weight.tolist() == (np.arange(len(target)) <= len(words)).tolist()
    assert sorted(seen) == list(range(6))


def test_captions_of_a_batch_are_no_longer_than_its_longest_and_its_end(packed):
    for _, targets, _ in captions(packed):
        words = (targets != 0).sum(axis=1).max()
        assert targets.shape == (2, min(words + 1, 3))


def test_videos_of_a_batch_are_no_longer_than_its_longest(packed):
    for kind in (captions, roles):
        batches = [batch[0] for epoch in range(5) for batch in kind(packed, epoch=epoch)]
        lengths = [inputs["features"].shape[1] for inputs in batches]
        assert lengths == [inputs["num_frames"].max() for inputs in batches]
        assert min(lengths) < max(lengths) == 5


def test_every_video_comes_once_an_epoch_with_its_labels(packed):
    seen = []
    for inputs, labels in roles(packed):
        assert set(inputs) == {"features", "num_frames"} and labels.dtype == np.int32
        rows = inputs["features"][:, 0, 0].astype(int) - 1
        np.testing.assert_array_equal(labels, LABELS[rows])
        np.testing.assert_array_equal(inputs["num_frames"], np.minimum(LENGTHS, 5)[rows])
        seen += rows.tolist()
    assert sorted(seen) == list(range(6))


@pytest.mark.parametrize("kind", [captions, roles, videos])
def test_rest_of_an_epoch_is_the_same_as_when_nothing_was_killed(kind, packed, source):
    make = functools.partial(kind, source if kind is videos else packed)

    def same(one, other):
        one, other = (_flat(batches) for batches in (one, other))
        return len(one) == len(other) and all(map(np.array_equal, one, other))

    whole = make(epoch=1)
    assert len(whole) == 3 and same(whole, make(epoch=1))
    for first_batch in (1, 2):
        assert same(whole[first_batch:], make(epoch=1, first_batch=first_batch))
    assert not same(whole, make(epoch=2))
    assert not same(whole, make(epoch=1, seed=4))


@pytest.mark.parametrize("kind", [captions, roles, videos])
def test_workers_read_the_rows_of_every_batch_between_them(kind, packed, source):
    make = functools.partial(kind, source if kind is videos else packed, epoch=1)
    workers = [make(share=Share(n, workers=2)) for n in range(2)]
    for whole, *own in zip(make(), *workers, strict=True):
        for row, part in enumerate(own):  # of each two rows a worker reads one
            for one, other in zip(_flat([whole]), _flat([part]), strict=True):
                # No more padding than it needs itself.
                there = one[row : row + 1][tuple(map(slice, other.shape))]
                np.testing.assert_array_equal(there, other)


def _flat(batches):
    inputs = [batch[0][name] for batch in batches for name in sorted(batch[0])]
    return inputs + [part for batch in batches for part in batch[1:]]


def test_frames_are_those_of_the_video_whose_labels_come_with_them(source):
    rows = [4, 0, 5, 2]
    targets = LABELS[rows]
    seen = []
    for inputs, labels in videos(source, rows, targets):
        frames, num_frames = inputs["frames"], inputs["num_frames"]
        assert frames.dtype == np.float32 and num_frames.dtype == np.int32
        assert frames.shape == (2, num_frames.max(), 8, 8, 3)
        for clip, count, label in zip(frames, num_frames, labels, strict=True):
            video = int(clip[0, 0, 0, 0]) // 10
            assert (clip[..., 0] == 10 * video).all()
            assert count == LENGTHS[video] and label.tolist() == LABELS[video].tolist()
            seen.append(video)
    assert sorted(seen) == [0, 2, 4, 5]


def test_all_frames_of_a_video_are_cropped_at_one_place_and_never_mirrored(source):
    corners = set()
    for epoch in range(4):
        for inputs, _ in videos(source, epoch=epoch):
            for clip in inputs["frames"]:
                rows, columns = clip[..., 1] % 16, clip[..., 2]
                assert (rows == rows[:1, :, :1]).all() and (columns == columns[:1, :1]).all()
                assert (np.diff(columns, axis=-1) == 1).all()
                corners.add((int(rows[0, 0, 0]), int(columns[0, 0, 0])))
    assert {top for top, _ in corners} == {0, 1, 2}
    assert {left for _, left in corners} == {0, 1, 2, 3, 4}


def test_long_video_is_spread_and_behind_the_end_the_last_frame_stands_still(source):
    expected = {  # video -> frames of it, of at most four
        0: [0, 1, 2],
        1: [0, 2, 3, 5],
        2: [0],
        3: [0, 3, 5, 8],
        4: [0, 1, 2, 3],
        5: [0, 1, 3, 4],
    }
    for inputs, _ in videos(source, max_frames=4):
        for clip, count in zip(inputs["frames"], inputs["num_frames"], strict=True):
            frames = expected[int(clip[0, 0, 0, 0]) // 10]
            assert count == len(frames)
            padded = frames + frames[-1:] * (len(clip) - count)
            assert (clip[:, 0, 0, 1] // 16).tolist() == padded


def test_captions_of_a_video_are_taught_together_and_missing_ones_get_no_weight(source):
    groups = np.zeros((6, 2, 4), "int32")
    groups[:, 0, 0] = 5 + np.arange(6)
    groups[:, 0, 1] = 20
    groups[3, 1, :3] = 30, 31, 32
    lengths = set()
    for inputs, targets, weights in videos(source, targets=groups):
        rows = inputs["frames"][:, 0, 0, 0, 0].astype(int) // 10
        words = targets.shape[2]
        np.testing.assert_array_equal(targets, groups[rows, :, :words])
        np.testing.assert_array_equal(inputs["token_ids"][..., 1:], targets[..., :-1])
        assert not inputs["token_ids"][..., 0].any()
        for row, weight in zip(rows, weights, strict=True):
            second = 4 if row == 3 else 0
            assert weight.sum(axis=1).tolist() == [3, second]  # the words and the end
        assert words == (4 if 3 in rows else 3)
        lengths.add(words)
    assert lengths == {3, 4}


def test_videos_of_another_size_are_brought_to_one_size():
    clips = [np.full((2, 20, 16, 3), 70, "uint8"), np.full((3, 10, 12, 3), 90, "uint8")]
    ((inputs, _),) = videos(ClipArray(clips), range(2), LABELS[:2])
    assert inputs["frames"].shape == (2, 3, 8, 8, 3)
    assert sorted(inputs["frames"][:, 0, 0, 0, 0].round().tolist()) == [70, 90]


def test_crop_larger_than_the_frames_is_refused(source):
    with pytest.raises(ValueError, match="square of 11 pixels does not fit into frames of 10 x 12"):
        videos(source, size=11)
