"""`lrcn describe` on real videos: by a trained model, by a captioner, over time, as subtitles."""

import json
import re

import keras
import numpy as np
import pytest
from made_videos import grey, write_video
from PIL import Image

from recipes import video_description as recipe
from zoo.cli import main
from zoo.cli.arguments import CAPTIONER
from zoo.data.videos.reading import read_frames
from zoo.models.backbones import image_encoder
from zoo.serving.local_server.process import serving

MSVD = ("3qqEKTPxLNs_1_15", "UXs3eq68ZjE_250_255", "WTf5EgVY5uU_124_128")


@pytest.fixture(scope="module")
def clips(real_data):
    """The three clips of MSVD and three of surveillance, which have two activities."""
    found = [real_data / "msvd_mini" / "YouTubeClips" / f"{name}.avi" for name in MSVD]
    fights = real_data / "surveillance_fights"
    return found + [sorted((fights / name).rglob("*.mp4"))[0] for name in ("fight", "noFight")]


@pytest.fixture(scope="module")
def data(clips, tmp_path_factory):
    """Real videos with sentences and labels of ours: what counts is that they go all the way."""
    folder = tmp_path_factory.mktemp("real")
    told = [("cooks", "onion"), ("plays", "guitar"), ("walks", "none"), ("fights", "man")]
    entries = [
        {
            "video": str(clip),
            "video_id": clip.stem + split,
            "captions": [f"somebody {activity} a {thing} .", f"a person {activity}"],
            "labels": {"activity": activity, "object": thing},
            "split": split,
        }
        for split in ("train", "val", "test")
        for clip, (activity, thing) in zip(clips, [*told, told[2]], strict=True)
    ]
    (folder / "videos.json").write_text(json.dumps(entries))
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(8, 8, strides=8)])
    image_encoder(network, (1 / 255, -0.5)).save(folder / "encoder.keras")
    return folder


def train(data, run, seen):
    recipe.main([
        "train", "--dataset", "own", "--data", str(data / "videos.json"), "--run", str(run),
        "--encoder", str(data / "encoder.keras"), "--frame-size", "40x48", "--rate", "4",
        "--max-frames", "8", "--min-count", "1", "--embedding-dim", "8", "--lstm-units", "16",
        "--projection-dim", "0", "--role-units", "8", "--batch-size", "4", "--role-epochs", "2",
        "--epochs", "3", "--input", seen,
        "--fine-tune-epochs" if seen == "frames" else "--role-fine-tune-epochs", "1",
    ])  # fmt: skip
    return str(run)


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    return train(data, tmp_path_factory.mktemp("runs") / "frames", "frames")


@pytest.fixture(scope="module")
def labels_model(data, tmp_path_factory):
    return train(data, tmp_path_factory.mktemp("runs") / "labels", "labels-max")


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["describe", *map(str, arguments)])
    out, err = capsys.readouterr()
    code = stopped.value.code
    return (1, out, err + code) if isinstance(code, str) else (code, out, err)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model", "labels_model"])
def test_real_videos_go_from_files_through_training_and_a_server_to_sentences(
    name, request, data, clips, tmp_path, capsys
):
    model = request.getfixturevalue(name)
    where = ["--dataset", "own", "--data", str(data / "videos.json")]
    out = tmp_path / "test.json"
    recipe.main(["evaluate", "--model", model, *where, "--split", "test", "--out", str(out)])
    assert json.loads(out.read_text())["num_images"] == len(clips)
    capsys.readouterr()
    code, out, _ = run(capsys, "--model", model, "--json", *clips)
    here = json.loads(out)
    assert code == 0 and [r["file"] for r in here] == list(map(str, clips))
    recipe.main(["export", "--model", model, "--saved-models", str(tmp_path / "saved_models")])
    with serving(tmp_path / "saved_models", tmp_path / "log") as (_, address):
        capsys.readouterr()
        code, out, _ = run(capsys, "--server", address, "--json", *clips)
    assert code == 0
    for one, other in zip(here, json.loads(out), strict=True):
        ((one,), (other,)) = one["segments"], other["segments"]
        assert one["start"] == other["start"] == 0 and one["end"] == other["end"] > 1
        # The frames were JPEGs on their way.
        np.testing.assert_allclose(one["log_prob"], other["log_prob"], rtol=0.05)


def test_captioner_describes_the_mean_of_each_segment_and_says_so(clips, tmp_path, capsys):
    srt = tmp_path / "out.srt"
    arguments = ["--captioner", CAPTIONER, "--segments", "5s", "--srt", srt]
    code, out, err = run(capsys, *arguments, clips[0])
    method = "the mean of the features of the frames of each segment of 5 s"
    assert code == 0 and f"described by {CAPTIONER}: {method}" in err
    lines = out.splitlines()
    assert len(lines) == 3 and all(str(clips[0]) in line for line in lines)
    blocks = srt.read_text().strip().split("\n\n")
    assert [block.split("\n")[0] for block in blocks] == ["1", "2", "3"]
    assert blocks[1].split("\n")[1] == "00:00:05,000 --> 00:00:10,000"
    for block, line in zip(blocks, lines, strict=True):
        sentence = block.split("\n")[2]
        described = line.removesuffix("  (unsure)")
        assert described.endswith(sentence) and re.fullmatch(r"[a-z ]+", sentence)


def test_without_options_each_shot_is_described_as_it_is_found(clips, tmp_path, capsys):
    first, second = (next(read_frames(clip)) for clip in clips[:2])
    height, width = 120, 160
    scenes = [Image.fromarray(frame).resize((width, height)) for frame in (first, second)]
    frames = [np.asarray(scene) for scene in scenes for _ in range(30)]
    film = write_video(tmp_path / "film.mp4", frames, rate=10)
    code, out, err = run(capsys, film)
    method = "the mean of the features of the frames of each shot"
    assert code == 0 and err.strip() == f"described by {CAPTIONER}: {method}"
    assert re.fullmatch(
        rf"({re.escape(str(film))} +\S+ to +\S+ s  [a-z ]+(  \(unsure\))?\n){{2}}", out
    )
    code, out, err = run(capsys, "--json", film)
    (result,) = json.loads(out)
    assert code == 0 and not err and result["described"] == f"{CAPTIONER}: {method}"
    assert [(s["start"], s["end"]) for s in result["segments"]] == [(0, 3), (3, 6)]
    assert all(s["sentence"] and s["log_prob"] < 0 for s in result["segments"])
    # Here the frames of a shot are all the same: so is what both ways say of them.
    code, out, err = run(capsys, "--pooling", "middle", "--json", film)
    (middle,) = json.loads(out)
    assert middle["described"] == f"{CAPTIONER}: the middle frame of each shot"
    for one, other in zip(result["segments"], middle["segments"], strict=True):
        assert one["sentence"] == other["sentence"]


def test_short_video_gets_one_sentence_and_a_long_one_several(model, tmp_path, capsys):
    short = write_video(tmp_path / "short.mp4", grey([40, 90, 200] * 10), rate=2)
    long = write_video(tmp_path / "long.mp4", grey([40, 90, 200] * 25), rate=2)
    code, out, _ = run(capsys, "--model", model, "--json", short, long)
    segments = [result["segments"] for result in json.loads(out)]
    assert [(s["start"], s["end"]) for s in segments[0]] == [(0, 15)]
    starts = [s["start"] for s in segments[1]]
    assert starts == [0, 10, 20, 30] and segments[1][-1]["end"] == 37.5
    assert all(s["sentence"] is not None for s in segments[0] + segments[1])


def test_what_is_no_video_is_named_and_the_others_are_described(model, clips, tmp_path, capsys):
    text, empty = tmp_path / "notes.mp4", tmp_path / "empty.mp4"
    text.write_text("no video")
    empty.touch()
    code, out, err = run(capsys, "--model", model, text, empty, tmp_path / "gone.avi", clips[1])
    assert code == 0 and out.startswith(str(clips[1])) and len(out.splitlines()) == 1
    assert "notes.mp4: not a video" in err and "empty.mp4: empty" in err and "gone.avi" in err
    code, out, _ = run(capsys, "--model", model, "--json", text)
    assert code == 1 and json.loads(out)[0]["error"].startswith("not a video")


def test_broken_video_is_named(model, clips, tmp_path, capsys):
    broken = tmp_path / "broken.avi"
    content = clips[0].read_bytes()
    broken.write_bytes(content[: len(content) * 2 // 3])
    code, out, err = run(capsys, "--model", model, "--segments", "2", broken)
    assert code == 1 and not out and f"{broken}: damaged: it breaks off after" in err


def test_what_cannot_be_asked_is_refused_with_the_way_out(clips, tmp_path, capsys):
    for arguments, complaint in (
        (["--model", CAPTIONER, clips[1]], "does not describe videos"),
        (["--captioner", "lrcn_activity_efficientnet_lite0_fights", clips[1]], "no captioner"),
        (["--segments", "0", clips[1]], "such as 4s"),
        (["--segments", "often", clips[1]], "such as 4s"),
        (["--srt", "a.srt", clips[0], clips[1]], "one video at a time"),
        (["--tls-root", "a.pem", clips[1]], "goes with --server"),
        (["--pooling", "middle", "--model", "x", clips[1]], "goes with a captioner"),
    ):
        code, _, err = run(capsys, *arguments)
        assert code in (1, 2) and complaint in err


@pytest.mark.parametrize("kind", ["model", "captioner"])
def test_memory_does_not_grow_with_the_length_of_a_video(kind, model, tmp_path, capsys):
    import tracemalloc

    peaks = []
    asked = ["--model", model, "--segments", "2s"] if kind == "model" else []
    for frames in (100, 400):
        rate = 25 if kind == "model" else 5  # parts of 10 seconds
        values = np.arange(frames) % 200
        path = write_video(tmp_path / f"{frames}.mp4", grey(values, 240, 320), rate=rate)
        tracemalloc.start()
        assert run(capsys, *asked, path)[0] == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
