"""Scores of activities: worked by hand, judged by scikit-learn, kept in files, fused, compared."""

import math
import zipfile

import numpy as np
import pytest

from zoo.evaluation.activity import (
    average_clips,
    confusion_matrix,
    evaluate,
    mean_class_accuracy,
    per_class_accuracy,
    top_k,
)
from zoo.evaluation.activity_scores import (
    Scores,
    compare_per_class,
    fuse,
    load_scores,
    save_scores,
)

# Three videos, three classes; guesses in order: 1 0 2, 0 1 2, 2 0 1.
THREE = np.array([[0.3, 0.5, 0.2], [0.6, 0.3, 0.1], [0.3, 0.1, 0.6]])


def random_scores(num_videos, num_classes, seed=0, better=1.0):
    """Probabilities that lean towards the labels, and the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, num_videos)
    logits = rng.normal(size=(num_videos, num_classes))
    logits[np.arange(num_videos), labels] += better
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=1, keepdims=True), labels


class TestMetrics:
    def test_top_k_counts_labels_among_the_best(self):
        labels = [0, 0, 1]
        assert top_k(THREE, labels, 1) == pytest.approx(1 / 3)
        assert top_k(THREE, labels, 2) == pytest.approx(2 / 3)
        assert top_k(THREE, labels, 3) == 1.0

    def test_model_that_says_nothing_scores_by_chance(self):
        uniform, labels = np.full((50, 10), 0.1), np.arange(50) % 10
        assert top_k(uniform, labels, 1) == pytest.approx(0.1)
        assert top_k(uniform, labels, 5) == pytest.approx(0.5)

    def test_confusion_matrix_has_true_classes_in_rows(self):
        matrix = confusion_matrix([0, 0, 0, 2], [0, 1, 1, 2], num_classes=3)
        assert matrix.tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]

    def test_class_without_videos_counts_in_no_mean(self):
        matrix = confusion_matrix([0, 0, 0, 2], [0, 1, 1, 2], num_classes=3)
        accuracy = per_class_accuracy(matrix)
        assert accuracy[[0, 2]].tolist() == [pytest.approx(1 / 3), 1.0]
        assert math.isnan(accuracy[1])
        assert mean_class_accuracy(matrix) == pytest.approx(2 / 3)  # top_1 is 2 / 4

    def test_metrics_of_a_rare_class_weigh_as_much_as_of_a_frequent_one(self):
        labels = [0] * 9 + [1]
        metrics = evaluate(np.tile([0.7, 0.3], (10, 1)), labels, ["often", "rare"])
        assert metrics == {"top_1": 0.9, "mean_class_accuracy": 0.5, "num_videos": 10}

    def test_top_5_is_left_out_where_it_would_always_be_1(self):
        for num_classes, there in ((2, False), (5, False), (6, True)):
            probabilities, labels = random_scores(20, num_classes)
            metrics = evaluate(probabilities, labels, [str(i) for i in range(num_classes)])
            assert ("top_5" in metrics) == there

    def test_metrics_are_plain_numbers(self):
        metrics = evaluate(*random_scores(20, 6), list("abcdef"))
        assert [type(value) for value in metrics.values()] == [float, float, float, int]

    @pytest.mark.parametrize("seed", range(3))
    def test_metrics_are_those_of_scikit_learn(self, seed):
        judge = pytest.importorskip("sklearn.metrics")
        probabilities, labels = random_scores(300, 11, seed)
        labels[:11] = np.arange(11)  # every class is there
        predictions = probabilities.argmax(axis=1)
        metrics = evaluate(probabilities.astype("float32"), labels, list("abcdefghijk"))
        assert metrics["top_1"] == pytest.approx(judge.accuracy_score(labels, predictions))
        top_5 = judge.top_k_accuracy_score(labels, probabilities, k=5)
        assert metrics["top_5"] == pytest.approx(top_5)
        mean = judge.balanced_accuracy_score(labels, predictions)
        assert metrics["mean_class_accuracy"] == pytest.approx(mean)
        matrix = confusion_matrix(labels, predictions, 11)
        np.testing.assert_array_equal(matrix, judge.confusion_matrix(labels, predictions))
        recall = judge.recall_score(labels, predictions, average=None)
        np.testing.assert_allclose(per_class_accuracy(matrix), recall)

    @pytest.mark.parametrize(
        ("probabilities", "labels", "message"),
        [
            (THREE * 20, [0, 1, 2], "softmax"),
            ([[1.5, -0.5]], [0], "softmax"),
            ([[math.nan, 1.0]], [0], "softmax"),
            (THREE[0], [0], "shape"),
            (np.zeros((0, 3)), [], "at least one video"),
            (THREE, [0, 1], r"`labels` of 3 videos. Received \(2,\)"),
            (THREE, [0, 1, 3], r"0..2. Received int64: \[3\]"),
            (THREE, [0, 1, -1], r"0..2. Received int64: \[-1\]"),
            (THREE, [0.0, 1.0, 2.0], "float64"),
            (THREE, ["a", "b", "c"], "whole numbers"),
        ],
    )
    def test_numbers_that_would_be_scored_wrongly_are_refused(self, probabilities, labels, message):
        with pytest.raises(ValueError, match=message):
            evaluate(probabilities, labels, ["a", "b", "c"][: np.shape(probabilities)[-1]])
        with pytest.raises(ValueError, match=message):
            top_k(probabilities, labels, 1)

    def test_names_of_other_classes_are_refused(self):
        with pytest.raises(ValueError, match="Expected 3 class names. Received 2"):
            evaluate(THREE, [0, 1, 2], ["a", "b"])

    def test_confusions_of_unknown_classes_are_refused(self):
        for labels, predictions, name in (([0, -1], [0, 1], "labels"), ([0], [2], "predictions")):
            with pytest.raises(ValueError, match=f"`{name}` to be whole numbers in 0..1"):
                confusion_matrix(labels, predictions, num_classes=2)
        with pytest.raises(ValueError, match="`predictions` of 2 videos"):
            confusion_matrix([0, 1], [0], num_classes=2)


class TestClips:
    def test_frames_of_two_clips_count_twice(self):
        frames = np.random.default_rng(0).dirichlet(np.ones(3), size=6)  # 6 frames of a video
        clips = np.stack([frames[0:4], frames[2:6]])  # 4 frames long, stride 2
        expected = (frames.sum(axis=0) + frames[2:4].sum(axis=0)) / 8
        np.testing.assert_allclose(average_clips(clips), expected)

    def test_crops_are_averaged_like_clips(self):
        crops = np.random.default_rng(0).dirichlet(np.ones(3), size=(10, 2, 4))
        np.testing.assert_allclose(average_clips(crops), crops.mean(axis=(0, 1, 2)))

    def test_padding_is_not_averaged_whatever_it_holds(self):
        clip = np.array([[[0.25, 0.75], [0.75, 0.25], [math.nan, math.nan]]])
        assert average_clips(clip, [[True, True, False]]).tolist() == [0.5, 0.5]

    def test_half_precision_does_not_add_up_errors(self):
        frames = np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 16)).astype("float16")
        expected = frames.astype("float64").mean(axis=(0, 1))
        np.testing.assert_allclose(average_clips(frames), expected, rtol=1e-12)

    def test_video_without_frames_is_refused(self):
        with pytest.raises(ValueError, match="at least one frame"):
            average_clips(np.zeros((0, 16, 3)))
        with pytest.raises(ValueError, match=r"\(1, 2\) frames, of which the mask keeps none"):
            average_clips(np.full((1, 2, 3), 1 / 3), np.zeros((1, 2), bool))


def of_three(probabilities=THREE, ids=("a.avi", "b.avi", "c.avi"), labels=(0, 0, 2), names="xyz"):
    return Scores(np.array(ids), np.array(probabilities), np.array(labels), list(names))


class TestFusion:
    def test_weights_are_those_of_the_paper(self):
        rgb, flow = of_three(), of_three([[0.9, 0.0, 0.1], [0.0, 0.0, 1.0], [0.5, 0.25, 0.25]])
        for weights in ((1 / 3, 2 / 3), (1, 2), (0.5, 1.0)):
            fused = fuse([rgb, flow], weights)
            assert fused.probabilities[0].tolist() == pytest.approx([0.7, 0.5 / 3, 0.4 / 3])
            np.testing.assert_allclose(fused.probabilities.sum(axis=1), 1)
        assert fused.video_ids.tolist() == ["a.avi", "b.avi", "c.avi"]
        assert fused.labels.tolist() == [0, 0, 2] and fused.class_names == ["x", "y", "z"]

    def test_videos_are_matched_by_id_not_by_row(self):
        turned = of_three(THREE[::-1], ("c.avi", "b.avi", "a.avi"), (2, 0, 0))
        fused = fuse([of_three(), turned], (1, 1))
        np.testing.assert_allclose(fused.probabilities, THREE)
        assert compare_per_class(of_three(), turned)[0].difference == 0

    def test_any_number_of_models_fuse(self):
        fused = fuse([of_three(), of_three(np.full((3, 3), 1 / 3)), of_three()], (1, 2, 1))
        np.testing.assert_allclose(fused.probabilities, THREE / 2 + 1 / 6)
        np.testing.assert_allclose(fuse([of_three()], [5]).probabilities, THREE)

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            ({"ids": ("a.avi", "b.avi", "d.avi")}, r"first only: c.avi; 1 .* other only: d.avi"),
            ({"labels": (0, 1, 2)}, "1 videos differ: b.avi"),
            ({"names": "xyw"}, "In one of them only: w, z"),
            ({"names": "xzy"}, "the order differs"),
            ({"ids": ("a.avi", "a.avi", "c.avi")}, "Twice or more: a.avi"),
            ({"probabilities": 10 * THREE}, "softmax"),
        ],
    )
    def test_scores_of_other_videos_or_classes_are_refused(self, other, message):
        for use in (lambda a, b: fuse([a, b], (1, 1)), compare_per_class):
            with pytest.raises(ValueError, match=message):
                use(of_three(), of_three(**other))

    def test_more_videos_on_one_side_are_refused(self):
        two = of_three(THREE[:2], ("a.avi", "b.avi"), (0, 0))
        for pair in ((two, of_three()), (of_three(), two)):
            with pytest.raises(ValueError, match="only: c.avi"):
                fuse(pair, (1, 1))

    @pytest.mark.parametrize("weights", [(1,), (1, 1, 1), (1, -1), (0, 0), (math.nan, 1)])
    def test_weights_that_are_none_are_refused(self, weights):
        with pytest.raises(ValueError, match="a weight for each of 2 models"):
            fuse([of_three(), of_three()], weights)


class TestComparison:
    def test_greatest_gain_comes_first(self):
        labels = np.array([0, 0, 1, 1, 2, 2, 2, 2])
        ours = np.eye(4)[[0, 0, 0, 1, 2, 2, 2, 0]]  # right: 2 of 2, 1 of 2, 3 of 4
        theirs = np.eye(4)[[0, 1, 1, 1, 2, 2, 2, 1]]  # right: 1 of 2, 2 of 2, 3 of 4
        ids, names = [str(i) for i in range(8)], ["jump", "run", "swim", "never seen"]
        rows = compare_per_class(
            Scores(ids, ours, labels, names), Scores(ids, theirs, labels, names)
        )
        assert [tuple(row) for row in rows] == [
            ("jump", 1.0, 0.5, 0.5),
            ("swim", 0.75, 0.75, 0.0),
            ("run", 0.5, 1.0, -0.5),
        ]


class TestFiles:
    def test_scores_come_back_as_they_were(self, tmp_path):
        probabilities, labels = random_scores(20, 7)
        ids = [f"Überfall/v {i}.avi" for i in range(20)]
        names = [f"class {i}, ü" for i in range(7)]
        path = tmp_path / "deep" / "scores.npz"
        save_scores(path, ids, probabilities.astype("float32"), labels, names)
        loaded = load_scores(path)
        assert loaded.video_ids.tolist() == ids and loaded.class_names == names
        np.testing.assert_array_equal(loaded.probabilities, probabilities.astype("float32"))
        np.testing.assert_array_equal(loaded.labels, labels)
        assert [file.name for file in path.parent.iterdir()] == ["scores.npz"]

    def test_file_holds_plain_arrays_under_the_name_it_was_given(self, tmp_path):
        save_scores(tmp_path / "scores", *of_three())
        with np.load(tmp_path / "scores", allow_pickle=False) as file:
            assert set(file) == {"video_ids", "probabilities", "labels", "class_names"}
            assert all(file[name].dtype.kind in "Ufi" for name in file)

    def test_failed_save_leaves_the_old_file(self, tmp_path):
        save_scores(tmp_path / "scores.npz", *of_three())
        before = (tmp_path / "scores.npz").read_bytes()
        with pytest.raises(ValueError, match="an id for each of 3 videos"):
            save_scores(tmp_path / "scores.npz", ["a"], THREE, [0, 0, 2], list("xyz"))
        with pytest.raises(ValueError, match="Twice or more: a"):
            save_scores(tmp_path / "scores.npz", ["a", "a", "b"], THREE, [0, 0, 2], list("xyz"))
        assert (tmp_path / "scores.npz").read_bytes() == before
        assert len(list(tmp_path.iterdir())) == 1

    def test_failed_save_leaves_nothing_aside(self, tmp_path):
        (tmp_path / "folder").mkdir()
        with pytest.raises(OSError):
            save_scores(tmp_path / "folder", *of_three())
        assert [file.name for file in tmp_path.iterdir()] == ["folder"]

    def test_files_of_two_streams_fuse(self, tmp_path):
        save_scores(tmp_path / "rgb.npz", *of_three())
        turned = of_three(THREE[::-1], ("c.avi", "b.avi", "a.avi"), (2, 0, 0))
        save_scores(tmp_path / "flow.npz", *turned)
        fused = fuse([load_scores(tmp_path / f"{name}.npz") for name in ("rgb", "flow")], (1, 2))
        np.testing.assert_allclose(fused.probabilities, THREE)

    def test_anything_else_is_refused_by_name(self, tmp_path):
        save_scores(tmp_path / "good.npz", *of_three())
        good = (tmp_path / "good.npz").read_bytes()
        (tmp_path / "empty.npz").write_bytes(b"")
        (tmp_path / "text.npz").write_text("a.avi 0.5 0.5")
        (tmp_path / "cut.npz").write_bytes(good[: len(good) // 2])
        (tmp_path / "damaged.npz").write_bytes(good[:150] + bytes(20) + good[170:])
        np.save(tmp_path / "array.npy", THREE)
        np.savez(tmp_path / "others.npz", features=THREE)
        pickled = np.array([{"a": 1}], dtype=object)
        np.savez(tmp_path / "pickled.npz", **{**of_three()._asdict(), "labels": pickled})
        np.savez(tmp_path / "logits.npz", **{**of_three()._asdict(), "probabilities": 9 * THREE})
        with zipfile.ZipFile(tmp_path / "zip.npz", "w") as file:
            for name in Scores._fields:
                file.writestr(name, "no array")
        for path in sorted(tmp_path.iterdir()):
            if path.name != "good.npz":
                with pytest.raises(ValueError, match=f"{path.name}: expected scores written by"):
                    load_scores(path)
        with pytest.raises(FileNotFoundError, match="absent.npz"):
            load_scores(tmp_path / "absent.npz")
