"""Statistics of training videos: usual videos pass, others are marked, bad files are refused."""

import numpy as np
import pytest

from zoo.models.feature_statistics import FeatureStatistics, TrainingDistance, summarize

NUM_FEATURES = 6


def make_videos(count, seed, center=10.0, spread=1.0):
    """Features of videos of eight frames: a mean for each video, and noise over time."""
    random = np.random.default_rng(seed)
    means = random.normal(center, 1.0, (count, 1, NUM_FEATURES))
    return list(means + random.normal(0, 0.3 * spread, (count, 8, NUM_FEATURES)))


@pytest.fixture(scope="module")
def statistics():
    return FeatureStatistics.fit(make_videos(400, seed=0))


def share_marked(statistics, videos):
    return np.mean([statistics.compare(video).is_unlike for video in videos])


def test_one_in_twenty_videos_like_those_of_the_training_is_marked(statistics):
    assert 0.02 < share_marked(statistics, make_videos(1000, seed=1)) < 0.08


def test_videos_with_another_content_are_marked(statistics):
    assert share_marked(statistics, make_videos(100, seed=2, center=14.0)) > 0.95


def test_videos_that_change_more_over_time_are_marked(statistics):
    assert share_marked(statistics, make_videos(100, seed=3, spread=5.0)) > 0.95


def test_videos_in_a_direction_without_training_videos_are_marked():
    """Each feature has a usual value, but they do not go together."""
    random = np.random.default_rng(9)
    centers = np.where(np.arange(40)[:, None] % 2, [1.0, 0.0, 5.0], [0.0, 1.0, 5.0])
    videos = [center + random.normal(0, 0.05, (8, 3)) for center in centers]
    statistics = FeatureStatistics.fit(videos, groups=[f"clip{n}" for n in range(40)])
    both = [np.array([1.0, 1.0, 5.0]) + random.normal(0, 0.05, (8, 3)) for _ in range(10)]
    assert share_marked(statistics, both) == 1


def test_distance_is_the_larger_one_of_its_two_parts():
    settings = {"mean": [1, 0, 0, 0], "scale": [2, 1, 1, 1], "neighbors": [[2.0, 0.0]]}
    video = np.array([[4.0, 5.0], [6.0, 5.0]])  # means 5 and 5, standard deviations 1 and 0
    score = np.sqrt(np.mean(np.square([(5 - 1) / 2, 5, 1, 0])))
    nearest = 1 - np.sqrt(0.5)  # 45 degrees
    for usual, expected in (([2.0, 1.0], score / 2), ([100.0, 0.1], nearest / 0.1)):
        statistics = FeatureStatistics(**settings, usual=usual, threshold=1.2, num_frames=2)
        distance = statistics.compare(video)
        assert distance.distance == pytest.approx(expected, rel=1e-5) and distance.is_unlike
    assert not TrainingDistance(1.5, 1.5).is_unlike


def test_threshold_is_the_95th_percentile_of_held_out_videos():
    videos = make_videos(40, seed=4)
    summaries = np.stack([np.r_[video.mean(0), video.std(0)] for video in videos])
    np.testing.assert_allclose(summarize(videos[3]), summaries[3])
    parts = []
    for start in range(0, 40, 4):  # ten folds of neighbors in the list
        others = np.delete(summaries, range(start, start + 4), axis=0)
        for summary in summaries[start : start + 4]:
            scores = (summary - others.mean(0)) / others.std(0)
            ours, theirs = summary[:NUM_FEATURES], others[:, :NUM_FEATURES]
            cosines = theirs @ ours / np.linalg.norm(theirs, axis=1) / np.linalg.norm(ours)
            parts.append([np.sqrt((scores**2).mean()), 1 - cosines.max()])
    usual = np.quantile(parts, 0.95, axis=0)
    expected = np.quantile((parts / usual).max(1), 0.95)
    statistics = FeatureStatistics.fit(videos)
    assert statistics.threshold == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(statistics.usual, usual, rtol=1e-5)


def test_clips_of_one_group_are_held_out_together():
    """Else each clip would have its like among the others, and the threshold would be too low."""
    scenes = make_videos(10, seed=5)
    clips = [scene + 0.01 * n for n in range(10) for scene in scenes]  # neighbors differ
    groups = [f"scene{n}" for _ in range(10) for n in range(10)]
    torn = FeatureStatistics.fit(clips)
    kept = FeatureStatistics.fit(clips, groups)
    assert (kept.usual * kept.threshold > 1.1 * torn.usual * torn.threshold).all()
    np.testing.assert_array_equal(kept.mean, torn.mean)


def test_saved_statistics_are_the_loaded_ones(statistics, tmp_path):
    statistics.save(tmp_path / "statistics.npz")
    loaded = FeatureStatistics.load(tmp_path / "statistics.npz")
    video = make_videos(1, seed=6)[0]
    assert loaded.compare(video) == pytest.approx(statistics.compare(video), rel=1e-3)
    assert (loaded.num_frames, loaded.feature_dim) == (8, NUM_FEATURES)
    assert [file.name for file in tmp_path.iterdir()] == ["statistics.npz"]


def test_file_that_holds_no_statistics_is_named(statistics, tmp_path):
    path = tmp_path / "statistics.npz"
    statistics.save(path)
    whole = path.read_bytes()
    for content in (b"", b"no statistics", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"statistics\.npz holds no feature statistics"):
            FeatureStatistics.load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean", np.array([{"an": "object"}], dtype=object)),  # would be unpickled
        ("mean", np.zeros(3)),
        ("neighbors", np.ones((2, 3))),
        ("neighbors", np.ones((0, 1))),
        ("neighbors", np.array([[np.inf]])),
        ("usual", np.ones(3)),
        ("mean", np.array([0.0, np.nan])),
        ("scale", np.array([1.0, 0.0])),
        ("threshold", np.array(-1.0)),
        ("threshold", np.array([1.0, 2.0])),
        ("num_frames", np.array(0)),
    ],
)
def test_file_with_impossible_values_is_refused(name, value, tmp_path):
    arrays = {"mean": np.zeros(2), "scale": np.ones(2), "neighbors": np.ones((1, 1))}
    arrays |= {"usual": np.ones(2), "threshold": 1.0, "num_frames": 8}
    np.savez(tmp_path / "statistics.npz", **{**arrays, name: value})
    with pytest.raises(ValueError, match="holds no feature statistics"):
        FeatureStatistics.load(tmp_path / "statistics.npz")


def test_too_few_videos_or_groups_are_refused():
    with pytest.raises(ValueError, match="at least 20 training videos. Received: 19"):
        FeatureStatistics.fit(make_videos(19, seed=7))
    with pytest.raises(ValueError, match="at least two groups"):
        FeatureStatistics.fit(make_videos(20, seed=8), groups=["one"] * 20)


@pytest.mark.parametrize("shape", [(8, 5), (0, 6), (6,)])
def test_features_of_another_shape_are_refused(statistics, shape):
    with pytest.raises(ValueError, match=r"Expected features \(frames, 6\)"):
        statistics.compare(np.zeros(shape))
