"""`lrcn classify` names what moves in a video, over time, and says what it cannot read."""

import json

import av
import keras
import numpy as np
import pytest
from made_videos import grey, write_video
from PIL import Image

import zoo
from zoo.cli import main
from zoo.models.backbones import image_encoder
from zoo.models.feature_statistics import FeatureStatistics
from zoo.presets import from_preset

LENGTH, STRIDE = 4, 2


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """Tells by hand-made weights whether a frame is bright."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(1, 1)])
    encoder = image_encoder(network, (1 / 255, -0.5))
    encoder.set_weights([np.full((1, 1, 3, 1), 10.0), np.zeros(1)])
    model = zoo.single_frame_recognizer(encoder, 2)
    model.get_layer("logits").set_weights([np.array([[-1.0, 1.0]]), np.zeros(2)])
    model.class_names = ["dark", "bright"]
    frames = {"modality": "rgb", "rate": None, "size": [16, 20]}
    frames |= {"clip_length": LENGTH, "stride": STRIDE}
    folder = tmp_path_factory.mktemp("preset") / "tiny"
    model.save_to_preset(folder, {"frames": frames})
    return str(folder)


SCOPE = "This model only tells bright rooms from dark ones."


@pytest.fixture(scope="module")
def scoped(preset, tmp_path_factory):
    """The same model with a scope; its training videos were grey and did not change."""
    model = from_preset(preset)
    # The one feature of a frame is its brightness, -15 for black and 15 for white.
    model.feature_statistics = FeatureStatistics(
        mean=[0, 0], scale=[0.5, 0.1], neighbors=[[1]], usual=[1, 1], threshold=2
    )
    folder = tmp_path_factory.mktemp("scoped") / "tiny"
    model.save_to_preset(folder, {**model.metadata, "scope": SCOPE})
    return str(folder)


@pytest.fixture
def usual(tmp_path):
    return str(write_video(tmp_path / "usual.mp4", grey([135] * 8), rate=10))


@pytest.fixture
def video(tmp_path):
    return str(write_video(tmp_path / "dusk.mp4", grey([230] * 7 + [20] * 4), rate=10))


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    code = stopped.value.code
    return (1, out, err + code) if isinstance(code, str) else (code, out, err)


def test_timeline_follows_what_is_seen_and_the_last_clip_ends_with_the_video(preset, video, capsys):
    code, out, _ = run(capsys, "classify", "--model", preset, "--json", video)
    (result,) = json.loads(out)
    assert code == 0 and result["file"] == video
    shown = [(clip["start"], clip["end"], clip["label"]) for clip in result["timeline"]]
    assert [label for *_, label in shown] == ["bright", "bright", "bright", "dark", "dark"]
    np.testing.assert_allclose([start for start, *_ in shown], [0, 0.2, 0.4, 0.6, 0.7], atol=1e-6)
    np.testing.assert_allclose([end for _, end, _ in shown], [0.4, 0.6, 0.8, 1.0, 1.0], atol=1e-6)


def test_answer_is_the_mean_over_the_clips_that_training_scores(preset, video, capsys):
    _, out, _ = run(capsys, "classify", "--model", preset, "--json", video)
    bright = {x["label"]: x["probability"] for x in json.loads(out)[0]["labels"]}["bright"]
    model = from_preset(preset)
    seen = np.array([230.0] * 7 + [20.0] * 4)
    frames = np.broadcast_to(seen[:, None, None, None], (11, 16, 16, 3))
    votes = model.classify(frames[None])[0][:, 1]
    expected = np.mean([votes[s : s + LENGTH].mean() for s in (0, 2, 4, 6, 7)])
    assert abs(bright - expected) < 0.01  # the codec changes the pixels a little


def test_video_shorter_than_a_clip_is_classified(preset, tmp_path, capsys):
    video = str(write_video(tmp_path / "short.mp4", grey([230]), rate=10))
    code, out, _ = run(capsys, "classify", "--model", preset, "--top", 1, video)
    assert code == 0 and out.split() == [video, "100.0%", "bright"]


def test_folder_of_frames_is_a_video(preset, tmp_path, capsys):
    for n in range(5):
        Image.new("RGB", (20, 16), (250, 250, 250)).save(tmp_path / f"frame{n}.png")
    code, out, _ = run(capsys, "classify", "--model", preset, tmp_path)
    assert code == 0 and "bright" in out.splitlines()[1]


def test_what_is_no_video_is_named_and_the_others_are_classified(preset, video, tmp_path, capsys):
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    code, out, err = run(capsys, "classify", "--model", preset, text, video)
    assert code == 0 and str(text) in err and video in out
    assert run(capsys, "classify", "--model", preset, text)[0] == 1


def test_timeline_and_annotated_video_can_be_looked_at(preset, video, tmp_path, capsys):
    picture, copy = tmp_path / "timeline.png", tmp_path / "annotated.mp4"
    options = ["--timeline", picture, "--annotate", copy]
    assert run(capsys, "classify", "--model", preset, *options, video)[0] == 0
    assert Image.open(picture).width > 500
    with av.open(str(copy)) as file:
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert len(frames) == 11
    assert frames[0].std() > 5 > frames[0][20:].std()  # the label stands at the top


def test_captioner_is_refused(capsys, video):
    name = "lrcn_captioner_efficientnet_lite0_flickr8k"
    code, _, err = run(capsys, "classify", "--model", name, video)
    assert code == 1 and "one for activity_recognition is needed here" in err


def test_scope_is_printed_with_every_answer(scoped, preset, video, usual, capsys):
    _, out, _ = run(capsys, "classify", "--model", scoped, video, usual)
    assert out.count(SCOPE) == 2
    _, out, _ = run(capsys, "classify", "--model", scoped, "--json", usual)
    assert json.loads(out)[0]["scope"] == SCOPE
    _, out, _ = run(capsys, "classify", "--model", preset, "--json", usual)
    assert json.loads(out)[0]["scope"] is None


def test_video_unlike_the_training_videos_is_marked(scoped, video, usual, capsys):
    _, out, _ = run(capsys, "classify", "--model", scoped, video, usual)
    ours, others = out.split(usual)
    assert "warning: this video is unlike the training videos (distance " in ours
    assert "threshold 2.00); do not trust the label" in ours and "warning" not in others


def test_json_carries_distance_and_threshold(scoped, preset, video, usual, capsys):
    _, out, _ = run(capsys, "classify", "--model", scoped, "--json", video, usual)
    first, second = (result["unlike_training"] for result in json.loads(out))
    assert first["is_unlike"] and not second["is_unlike"]
    assert first["distance"] > 2 > second["distance"] and first["threshold"] == 2
    brightness = 30 * (np.array([230] * 7 + [20] * 4) / 255 - 0.5)
    sampled = brightness[[0, 1, 3, 4, 6, 7, 9, 10]]
    expected = np.hypot(sampled.mean() / 0.5, sampled.std() / 0.1) / np.sqrt(2)
    assert first["distance"] == pytest.approx(expected, rel=0.05)  # the codec changes pixels
    _, out, _ = run(capsys, "classify", "--model", preset, "--json", video)
    assert json.loads(out)[0]["unlike_training"] is None


def test_label_written_into_an_unlike_video_has_a_question_mark(
    scoped, video, tmp_path, capsys, monkeypatch
):
    from PIL import ImageDraw

    labels = []
    draw = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda *args, **kwargs: labels.append(args[2]) or draw(*args, **kwargs),
    )
    run(capsys, "classify", "--model", scoped, "--annotate", tmp_path / "copy.mp4", video)
    assert len(labels) == 11 and labels[0].startswith("bright? ")
