"""The trained models that come with the package: they are there, documented, and good."""

import json

import numpy as np
import pytest

from recipes import activity_recognition
from zoo.data import datasets
from zoo.data.datasets.synthetic.described_digits import described_digits
from zoo.data.features.photographs import Photographs
from zoo.data.videos.sample_videos import write_digit_videos
from zoo.models.preset_folder import SHIPPED
from zoo.presets import from_preset, presets
from zoo.training.report import evaluate_captioner

CAPTIONER = "lrcn_captioner_efficientnet_lite2_flickr8k_coco"
FLICKR_CAPTIONER = "lrcn_captioner_efficientnet_lite0_flickr8k"
CAPTIONERS = (CAPTIONER, FLICKR_CAPTIONER)
RECOGNIZER = "lrcn_activity_efficientnet_lite0_fights"
DIGIT_ACTIVITY = "lrcn_activity_moving_digits"
DIGIT_DESCRIBERS = ("lrcn_describer_crf_moving_digits", "lrcn_describer_s2vt_moving_digits")
DIGITS = (DIGIT_ACTIVITY, *DIGIT_DESCRIBERS)


def test_every_preset_is_small_and_says_where_it_comes_from():
    assert set(presets()) == {*CAPTIONERS, RECOGNIZER, *DIGITS}
    for name, metadata in presets().items():
        limits = {CAPTIONER: 40, FLICKR_CAPTIONER: 25, RECOGNIZER: 15}
        most = limits.get(name, 5)
        assert metadata["megabytes"] <= most
        own = "frames" if metadata["task"] == "activity_recognition" else "decoding"
        for key in ("about", "data", "terms", "limits", "command", "seed", "scores", own):
            assert metadata[key], f"{name} lacks {key}"
        card = (SHIPPED / name / "README.md").read_text(encoding="utf-8")
        assert metadata["terms"] in card and metadata["command"] in card


def test_the_captioner_reached_what_was_asked_of_it():
    scores = presets()[FLICKR_CAPTIONER]["scores"]
    assert scores["bleu_4"] >= 0.195 and scores["cider"] >= 0.46
    scores = presets()[CAPTIONER]["scores"]
    assert scores["own/cider"] >= 0.65 and scores["flickr8k/cider"] >= 0.46


def test_the_captioner_has_a_scope_and_a_confidence():
    metadata = presets()[CAPTIONER]
    assert "photographs" in metadata["scope"]
    assert metadata["confidence"]["threshold"] == 0.5
    assert "machine-written" in metadata["data"]


def test_the_recognizer_reached_what_was_asked_of_it_and_says_what_it_is_not_for():
    metadata = presets()[RECOGNIZER]
    assert metadata["scores"]["top_1"] >= 0.8 and metadata["scores"]["num_videos"] == 60
    assert "must not be used" in metadata["limits"]


def test_the_recognizer_says_what_it_is_for():
    recognizer = from_preset(RECOGNIZER)
    assert (
        "fights" in recognizer.metadata["scope"] and "surveillance" in recognizer.metadata["scope"]
    )
    assert recognizer.feature_statistics.feature_dim == recognizer.feature_dim


def test_the_recognizer_marks_what_is_no_surveillance_footage(real_data):
    from zoo.inference.classify_video import compare_with_training

    recognizer = from_preset(RECOGNIZER)
    others = sorted((real_data / "msvd_mini" / "YouTubeClips").iterdir())
    assert [compare_with_training(recognizer, video).is_unlike for video in others] == [True] * 3
    folder = real_data / "surveillance_fights"
    lines = (folder / "val.txt").read_text().splitlines()[::6]
    usual = [folder / line.split()[0] for line in lines]
    marked = [compare_with_training(recognizer, video).is_unlike for video in usual]
    assert len(marked) == 10 and sum(marked) <= 1


@pytest.fixture(scope="module")
def digit_videos(tmp_path_factory):
    """Files of moving digits with what they show, from `lrcn digits`."""
    return write_digit_videos(tmp_path_factory.mktemp("videos"), num_videos=2, seed=1)


def test_presets_of_digits_say_that_they_know_nothing_else():
    for name in DIGITS:
        metadata = presets()[name]
        assert "shows the method and knows moving digits only" in metadata["limits"]
        assert "test" in metadata["data"] and "CC BY 4.0" in metadata["terms"]
        assert metadata["scores"].get("exact", metadata["scores"].get("top_1")) > 0.5


def test_the_recognizer_of_digits_names_their_motion(digit_videos, capsys):
    from zoo.cli import main

    videos = [(path, shown) for path, shown in digit_videos if "activity" in path]
    with pytest.raises(SystemExit) as stopped:
        main(["classify", "--model", DIGIT_ACTIVITY, "--json", *[path for path, _ in videos]])
    assert stopped.value.code == 0
    for result, (_, shown) in zip(json.loads(capsys.readouterr().out), videos, strict=True):
        best = result["labels"][0]
        assert best["label"] == shown and best["probability"] > 0.5


def test_the_recognizer_of_digits_is_scored_on_clips_of_the_test_split(tmp_path, monkeypatch):
    monkeypatch.setattr(activity_recognition, "MOVING_DIGITS_CLIPS", {"train": 16, "val": 16})
    out = tmp_path / "metrics.json"
    activity_recognition.main(
        ["evaluate", "--model", DIGIT_ACTIVITY, "--dataset", "moving_digits", "--split", "test",
         "--out", str(out)]
    )  # fmt: skip
    assert json.loads(out.read_text())["top_1"] == 1.0


@pytest.mark.parametrize("name", DIGIT_DESCRIBERS)
def test_the_describers_of_digits_tell_what_moves_where(name, digit_videos, capsys):
    from zoo.cli import main

    videos = [path for path, _ in digit_videos if "described" in path]
    with pytest.raises(SystemExit) as stopped:
        main(["describe", "--model", name, "--json", *videos])
    assert stopped.value.code == 0
    _, examples = described_digits("test", len(videos), seed=1)
    for result, example in zip(json.loads(capsys.readouterr().out), examples, strict=True):
        (segment,) = result["segments"]
        assert segment["sentence"] in example.captions


def test_the_classify_command_tells_fights_from_none(real_data, capsys):
    from zoo.cli import main

    folder, found = real_data / "surveillance_fights", []
    lines = [line.split() for line in (folder / "val.txt").read_text().splitlines()]
    chosen = [*[x for x in lines if x[1] == "1"][:4], *[x for x in lines if x[1] == "0"][:4]]
    with pytest.raises(SystemExit) as stopped:
        main(["classify", "--json", *[str(folder / path) for path, _ in chosen]])
    assert stopped.value.code == 0
    for result, (_, label) in zip(json.loads(capsys.readouterr().out), chosen, strict=True):
        found.append((result["labels"][0]["label"] == "fight") == (label == "1"))
    assert sum(found) >= 5


@pytest.mark.slow
def test_the_recognizer_scores_what_its_card_says(real_data, tmp_path):
    folder = real_data / "surveillance_fights"
    out = tmp_path / "metrics.json"
    activity_recognition.main(
        ["evaluate", "--model", RECOGNIZER, "--dataset", "clip_folder", "--data", str(folder),
         "--list", str(folder / "val.txt"), "--out", str(out)]
    )  # fmt: skip
    expected = presets()[RECOGNIZER]["scores"]["top_1"]
    assert json.loads(out.read_text())["top_1"] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("name", CAPTIONERS)
def test_the_captioner_sees_what_is_in_a_picture(name, real_data):
    captioner = from_preset(name)
    size = captioner.image_encoder.input_shape[1]
    dev = datasets.read("flickr8k", real_data / "flickr8k", "dev")[:8]
    from zoo.data.images.decode import read_images

    paths = [example.path for example in dev]
    images = np.stack([image for _, image in read_images(paths, size).as_numpy_iterator()])
    ours = captioner.caption(images)
    assert len(set(ours)) > 4 and all(3 < len(caption.split()) < 20 for caption in ours)
    own = captioner.score(images, [example.captions[0] for example in dev])[0]
    others = captioner.score(images[::-1], [example.captions[0] for example in dev])[0]
    assert own.mean() > others.mean() + 2  # nats: a caption fits its own picture better


@pytest.mark.slow
@pytest.mark.parametrize("name", CAPTIONERS)
def test_the_captioner_scores_what_its_card_says(name, real_data, tmp_path):
    captioner = from_preset(name)
    dev = datasets.read("flickr8k", real_data / "flickr8k", "dev")
    photos = Photographs(dev, captioner.image_encoder, tmp_path)
    decoding = captioner.metadata["decoding"]
    scores = evaluate_captioner(captioner, photos, decoding, 20, tmp_path / "metrics.json")
    expected = captioner.metadata["scores"]
    prefix = "flickr8k/" if name == CAPTIONER else ""
    for score in ("bleu_1", "bleu_4", "cider", "rouge_l", "perplexity"):
        assert scores[score] == pytest.approx(expected[f"{prefix}{score}"], rel=2e-3)
