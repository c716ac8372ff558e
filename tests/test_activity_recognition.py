"""The recipe for activities, from videos on disk to a model, its scores and their fusion."""

import json
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from made_videos import grey, write_video

import zoo
from recipes import activity_recognition as recipe
from zoo.cli import main as cli
from zoo.data.sources.video_records import jpeg_frames
from zoo.evaluation.activity_scores import load_scores
from zoo.models.backbones import image_encoder

NAMES = ["falls", "rises"]
SCOPE = "This model only tells videos that grow darker from others."


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Videos that grow brighter or darker: one frame alone does not tell which."""
    folder, random = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        for label, name in enumerate(NAMES):
            videos = folder / "clips" / split / name
            videos.mkdir(parents=True)
            for n in range(count):
                ramp = random.integers(20, 60) + 14 * np.arange(8 + n % 3)
                ramp = ramp[::-1] if label == 0 else ramp
                write_video(videos / f"{n}.mp4", grey(ramp), rate=10)
    (folder / "clips" / "train" / "falls" / "broken.mp4").write_bytes(b"no video")
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 4, strides=4)])
    image_encoder(network, (1 / 255, 0.0)).save(folder / "encoder.keras")
    return folder


def settings(data, run):
    return [
        "train", "--dataset", "clip_folder", "--data", str(data / "clips"), "--run", str(run),
        "--encoder", str(data / "encoder.keras"), "--frame-size", "20x24", "--clip-length", "6",
        "--lstm-units", "8", "--dropout", "0", "--batch-size", "8", "--clips-a-video", "4",
        "--learning-rate", "0.03", "--single-epochs", "1", "--epochs", "6",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "tiny"
    recipe.main([*settings(data, run), "--fine-tune-epochs", "1", "--scope", SCOPE])
    return run


def test_lrcn_tells_what_the_single_frame_cannot(run):
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["top_1"] == 1.0 and metrics["num_videos"] == 8
    baseline = json.loads((run / "baseline-metrics.json").read_text())
    assert baseline["top_1"] < 0.9


def test_run_leaves_pictures_scores_and_models_with_the_names_of_the_classes(run):
    for name in ("curves.png", "confusion.png", "scores.npz", "baseline-scores.npz"):
        assert (run / name).stat().st_size > 0
    model = zoo.from_preset(run / "model")
    assert model.class_names == NAMES and model.lstm is not None
    assert zoo.from_preset(run / "baseline").lstm is None
    frames = model.metadata["frames"]
    assert frames["size"] == [20, 24] and frames["clip_length"] == 6


def test_run_leaves_scope_and_statistics_of_its_training_videos(run, capsys):
    for folder in ("model", "baseline"):
        model = zoo.from_preset(run / folder)
        assert model.metadata["scope"] == SCOPE
        counted = model.metadata["unlike_training"]
        assert counted["held_out_videos"] == 8 and 0 <= counted["held_out_marked"] <= 8
        noise = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3))
        assert model.compare_with_training(noise).is_unlike


def test_statistics_are_added_to_a_preset_that_has_none(run, data, tmp_path, capsys):
    bare = zoo.from_preset(run / "model")
    expected, bare.feature_statistics = bare.feature_statistics, None
    del bare.metadata["scope"]
    bare.save_to_preset(tmp_path / "bare", bare.metadata)
    recipe.main(["statistics", "--model", str(tmp_path / "bare"), "--dataset", "clip_folder",
                 "--data", str(data / "clips"), "--out", str(tmp_path / "new"),
                 "--scope", "Another scope."])  # fmt: skip
    assert "of 8 held-out videos are marked" in capsys.readouterr().out
    new = zoo.from_preset(tmp_path / "new")
    assert new.metadata["scope"] == "Another scope." and new.class_names == NAMES
    np.testing.assert_allclose(new.feature_statistics.mean, expected.mean, atol=1e-5)
    assert new.feature_statistics.threshold == pytest.approx(expected.threshold, rel=1e-3)
    for one, other in zip(new.get_weights(), bare.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_evaluate_gives_what_training_reported(run, data, tmp_path):
    out = tmp_path / "again.json"
    where = ["--dataset", "clip_folder", "--data", str(data / "clips"), "--out", str(out)]
    recipe.main(["evaluate", "--model", str(run), *where])
    assert json.loads(out.read_text()) == json.loads((run / "metrics.json").read_text())
    np.testing.assert_allclose(
        load_scores(tmp_path / "again-scores.npz").probabilities,
        load_scores(run / "scores.npz").probabilities,
        atol=1e-3,
    )


def test_ten_crops_and_three_folds_give_a_mean(run, data, tmp_path):
    out = tmp_path / "folds.json"
    where = ["--dataset", "clip_folder", "--data", str(data / "clips"), "--out", str(out)]
    recipe.main(["evaluate", "--model", str(run), str(run), "--fold", "1", "2", "--crops", "10",
                 *where])  # fmt: skip
    folds = [json.loads((tmp_path / f"folds-fold{n}.json").read_text()) for n in (1, 2)]
    assert json.loads(out.read_text())["top_1"] == np.mean([fold["top_1"] for fold in folds])


def test_fusion_weighs_the_scores_of_saved_files(run, tmp_path, capsys):
    files = [str(run / "scores.npz"), str(run / "baseline-scores.npz")]
    out = tmp_path / "fused.json"
    recipe.main(["fuse", "--scores", *files, "--weights", "1", "2", "--out", str(out),
                 "--compare", files[1]])  # fmt: skip
    one, other = (load_scores(file).probabilities for file in files)
    fused = load_scores(tmp_path / "fused-scores.npz").probabilities
    np.testing.assert_allclose(fused, (one + 2 * other) / 3, atol=1e-6)
    assert "rises" in capsys.readouterr().out


def test_unreadable_video_is_skipped_and_named(data, tmp_path, capsys):
    recipe.main([*settings(data, tmp_path / "run"), "--epochs", "1"])
    err = capsys.readouterr().err
    assert "1 videos were left out" in err and "broken.mp4" in err


def test_run_goes_on_to_the_same_weights_after_a_kill(run, data, tmp_path):
    """Killed without warning while it trains the LRCN, and begun again."""
    copy = tmp_path / "run"
    arguments = [*settings(data, copy), "--fine-tune-epochs", "1", "--checkpoint-seconds", "0"]
    program = [sys.executable, "-m", "recipes.activity_recognition", *arguments]
    house = pathlib.Path(__file__).parents[1]
    killed = subprocess.Popen(program, cwd=house, stdout=subprocess.PIPE, text=True)
    for line in killed.stdout:
        if line.startswith("lrcn:"):
            break
    while not (copy / "lrcn" / "checkpoint.npz").exists():
        assert killed.poll() is None
    killed.kill()
    killed.wait()
    done = subprocess.run(program, cwd=house, capture_output=True, text=True)
    assert done.returncode == 0 and "goes on where it was" in done.stdout, done.stderr[-2000:]
    expected, found = (zoo.from_preset(folder / "model").get_weights() for folder in (run, copy))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_flow_is_prepared_once_and_trained_on(data, tmp_path, capsys):
    arguments = [*settings(data, tmp_path / "run"), "--modality", "flow", "--epochs", "1"]
    recipe.main(arguments)
    model = zoo.from_preset(tmp_path / "run" / "model")
    assert model.metadata["frames"]["modality"] == "flow"
    # Of RGB frames: of flow, which is the same all over these videos, they would hold nothing.
    assert model.feature_statistics.scale[: model.feature_dim].max() > 0.01
    assert len(list((tmp_path / "frame_features").glob("flow-*"))) == 2
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["num_videos"] == 8


def test_paper_setting_is_the_authors_solver():
    options = recipe.parse(["train", "--dataset", "ucf101", "--data", "x", "--run", "y", "--paper"])
    assert options.encoder == "caffenet_hybrid" and options.feature_layer == "fc6"
    assert options.input_dropout == 0.9 and options.dropout == 0.5
    assert options.fine_tune_epochs * 9537 // 24 >= 30_000
    flow = recipe.parse(
        ["train", "--dataset", "ucf101", "--data", "x", "--run", "y", "--paper", "--modality",
         "flow", "--lstm-units", "512"]
    )  # fmt: skip
    assert flow.lstm_units == 512  # what is given counts more
    assert flow.fine_tune_epochs * 9537 // 24 >= 69_900


def prepare(data, out):
    """Runs `lrcn prepare` on both halves."""
    for split in ("train", "val"):
        with pytest.raises(SystemExit) as stopped:
            cli(["prepare", str(out / split), "--dataset", "clip_folder", "--split", split,
                 "--data", str(data / "clips"), "--frame-size", "20x24"])  # fmt: skip
        assert stopped.value.code == 0


def test_training_on_shards_gives_what_training_on_files_gives(run, data, tmp_path):
    prepare(data, tmp_path / "frames")
    arguments = settings(data, tmp_path / "run")
    arguments[2], arguments[4] = "shards", str(tmp_path / "frames")
    recipe.main([*arguments, "--fine-tune-epochs", "1"])
    found, expected = (
        json.loads((folder / "metrics.json").read_text()) for folder in (tmp_path / "run", run)
    )
    assert found["top_1"] == expected["top_1"] == 1.0
    probabilities = [
        load_scores(folder / "scores.npz").probabilities for folder in (tmp_path / "run", run)
    ]
    np.testing.assert_allclose(*probabilities, atol=0.05)  # frames were JPEGs in between


def test_mirrored_strategy_gives_the_weights_of_none(run, data, tmp_path):
    arguments = [*settings(data, tmp_path / "run"), "--fine-tune-epochs", "1"]
    recipe.main([*arguments, "--strategy", "mirrored"])
    weights = [
        zoo.from_preset(folder / "model").get_weights() for folder in (tmp_path / "run", run)
    ]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=2e-3)


def test_class_folders_are_split_at_random_only_when_told_to_and_by_group(data, tmp_path, capsys):
    folder = tmp_path / "all"
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        for n, video in enumerate(sorted((data / "clips" / "train" / name).glob("[0-9]*.mp4"))):
            (folder / name / f"v_{name}_g{n // 3:02}_c{n % 3:02}.mp4").hardlink_to(video)
    arguments = settings(data, tmp_path / "run")
    arguments[4] = str(folder)
    arguments += ["--epochs", "1"]
    with pytest.raises(SystemExit, match="random_split"):
        recipe.main(arguments)
    recipe.main([*arguments, "--random-split", "0.3"])
    videos = json.loads((tmp_path / "run" / "data.json").read_text())["videos"][1]
    held_out = load_scores(tmp_path / "run" / "scores.npz").video_ids.tolist()
    assert len(videos) + len(held_out) == 24 and held_out

    def groups(ids):
        return {re.search(r"v_\w+_g\d+", name)[0] for name in ids}

    assert not groups(videos) & groups(held_out)


def test_papers_solver_runs(data, tmp_path):
    arguments = [
        "train", "--dataset", "clip_folder", "--data", str(data / "clips"), "--paper",
        "--run", str(tmp_path / "run"), "--encoder", str(data / "encoder.keras"),
        "--feature-layer", "features", "--frame-size", "20x24", "--clip-length", "6",
        "--lstm-units", "8", "--single-fine-tune-epochs", "1", "--fine-tune-epochs", "1",
    ]  # fmt: skip
    encoder = keras.models.load_model(data / "encoder.keras")
    arguments[arguments.index("features")] = encoder.layers[-1].name
    recipe.main(arguments)
    log = (tmp_path / "run" / "lrcn_fine_tuned" / "log.csv").read_text().splitlines()
    assert len(log) == 2 and 0 < float(log[1].split(",")[1]) < 2
    assert zoo.from_preset(tmp_path / "run" / "model").lstm.units == 8


def test_export_of_a_run_answers_for_its_videos(run, data, tmp_path, capsys):
    capsys.readouterr()
    recipe.main(["export", "--model", str(run), "--saved-models", str(tmp_path)])
    version = pathlib.Path(capsys.readouterr().out.strip())
    assert version == tmp_path / "lrcn_activity_recognizer" / "1"
    served = tf.saved_model.load(str(version)).signatures["serving_default"]
    video = data / "clips" / "val" / "rises" / "0.mp4"
    frames = [jpeg for jpeg, _ in jpeg_frames(video, None, (20, 24))]
    answer = served(frames=tf.constant([frames[:6]]), num_frames=tf.constant([6]))
    assert answer["labels"].numpy()[0, 0] == b"rises"
    assert (version / "assets" / "classes.txt").read_text().split() == NAMES
