"""Batches of clips hold what they say, in an order that only seed and epoch decide."""

import functools

import numpy as np
import pytest

from zoo.data.batches.captions import WHOLE, Share
from zoo.data.batches.clips import clip_batches, clip_feature_batches
from zoo.data.sources.arrays import ClipArray

NAMES = ["left", "right", "up"]


def numbered_clips(videos=5, time=6, height=10, width=12):
    """Pixels that tell where they come from: red the video, green the frame, blue the column."""
    clips = np.zeros((videos, time, height, width, 3), "uint8")
    clips[..., 0] = 10 * np.arange(videos)[:, None, None, None]
    clips[..., 1] = np.arange(time)[:, None, None]
    clips[..., 2] = np.arange(width)
    return clips


@pytest.fixture
def source():
    return ClipArray(numbered_clips(), [0, 1, 2, 0, 1], NAMES)


def arrays(batches):
    return [[part.numpy() for part in batch] for batch in batches]


def make(source, epoch=0, first_batch=0, clip_length=4, seed=3, mirror=True, share=WHOLE):
    return clip_batches(
        source, range(5), (10, 12), 8, mirror, clip_length, 2, 2, seed, epoch, first_batch, share
    )


def test_every_video_comes_as_often_as_asked_with_its_label(source):
    batches = arrays(make(source))
    assert len(batches) == 5
    videos = np.concatenate([frames[:, 0, 0, 0, 0] for frames, _, _ in batches]) / 10
    assert sorted(videos.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    labels = np.concatenate([labels for _, labels, _ in batches])
    assert (labels == source.labels[videos.astype(int)][:, None]).all()
    assert labels.shape == (10, 4)


def test_frames_of_a_clip_follow_one_another_and_share_crop_and_mirror(source):
    mirrored = set()
    for frames, _, weights in arrays(make(source)):
        assert frames.dtype == np.float32 and weights.all()
        steps = np.diff(frames[:, :, 0, 0, 1], axis=1)
        assert (steps == 1).all()
        assert (frames[..., 2] == frames[:, :1, :1, :, 2]).all()
        mirrored |= set(np.sign(np.diff(frames[:, 0, 0, :2, 2]))[:, 0].tolist())
    assert mirrored == {-1, 1}


def test_nothing_is_mirrored_where_left_and_right_are_different_activities(source):
    for frames, _, _ in arrays(make(source, mirror=False)):
        assert (np.diff(frames[..., 2], axis=3) == 1).all()


def test_short_video_is_padded_without_weight(source):
    for _, _, weights in arrays(make(source, clip_length=8)):
        assert weights.tolist() == [[1] * 6 + [0] * 2] * 2


@pytest.mark.parametrize("kind", ["frames", "features"])
def test_rest_of_an_epoch_and_rows_of_workers_are_those_of_the_whole(source, kind):
    if kind == "frames":
        make_batches = functools.partial(make, source)
    else:
        features = [[np.random.default_rng(n).random((6, 3)).astype("float16")] for n in range(5)]
        make_batches = functools.partial(clip_feature_batches, features, source.labels, 4, 2, 2, 3)
    whole = arrays(make_batches(epoch=1))
    rest = arrays(make_batches(epoch=1, first_batch=3))
    for expected, found in zip(whole[3:], rest, strict=True):
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one, other)
    other_epoch = arrays(make_batches(epoch=2))
    assert any((a[0] != b[0]).any() for a, b in zip(whole, other_epoch, strict=True))
    workers = [arrays(make_batches(epoch=1, share=Share(n, workers=2))) for n in range(2)]
    for expected, *own in zip(whole, *workers, strict=True):
        for one, *parts in zip(expected, *own, strict=True):
            np.testing.assert_array_equal(one, np.concatenate(parts))


def test_features_of_a_clip_are_those_of_its_frames_in_one_view():
    # A feature says where it comes from: video, view, frame.
    def vectors(video, view, time):
        return np.array([[video, view, t] for t in range(time)], "float16")

    features = [[vectors(v, 0, 5), vectors(v, 1, 5)] for v in range(4)] + [[vectors(4, 0, 2)]]
    labels, views = np.array([0, 1, 2, 1, 0]), set()
    for clips, targets, weights in arrays(clip_feature_batches(features, labels, 3, 5, 8, 0, 0)):
        for clip, target, weight in zip(clips, targets, weights, strict=True):
            video, there = int(clip[0, 0]), weight.astype(bool)
            assert (clip[:, 0] == video).all() and (target == labels[video]).all()
            assert len(set(clip[:, 1])) == 1
            assert there.sum() == (2 if video == 4 else 3)
            assert (np.diff(clip[there, 2]) == 1).all()
            views.add((video, int(clip[0, 1])))
    assert {view for video, view in views if video < 4} == {0, 1}
