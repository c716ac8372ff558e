"""`lrcn features` fills, part by part, the cache in which the recipes then find everything."""

import json
import pathlib
import re
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from made_videos import grey, write_video
from PIL import Image

from recipes import activity_recognition, image_captioning, video_description
from zoo import training
from zoo.cli import main
from zoo.data import datasets
from zoo.data.features import image_features
from zoo.data.sources import shard_writer
from zoo.models.backbones import image_encoder

SIZE = ["--frame-size", "20x24"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 4, strides=4)])
    path = tmp_path_factory.mktemp("encoder") / "encoder.keras"
    image_encoder(network, (1 / 255, 0.0)).save(path)
    return str(path)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for name in ("falls", "rises"):
        (folder / "train" / name).mkdir(parents=True)
        for n in range(4):
            frames = grey(20 + 5 * n + 14 * np.arange(6 + n))
            write_video(folder / "train" / name / f"{n}.mp4", frames, rate=10)
    (folder / "train" / "falls" / "broken.mp4").write_bytes(b"no video")
    return folder


def features(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main(["features", *map(str, arguments)])
    assert stopped.value.code == 0, stopped.value.code


def in_parts(cache, *arguments, parts=3):
    for number in range(1, parts + 1):
        features(cache, *arguments, "--shard", f"{number}/{parts}")


def sabotaged(path, encoders=()):
    """The encoder as a recipe loads it, which must not be asked."""
    encoder = training.load_encoder(path, encoders)
    encoder.call = lambda *_, **__: pytest.fail("the encoder was asked")
    return encoder


def own_file(folder, field, paths):
    entries = [{field: str(path), "captions": ["a dog runs"]} for path in paths]
    (folder / "own.json").write_text(json.dumps(entries))
    return folder / "own.json"


def test_recipe_for_activities_finds_every_frame_encoded(encoder, clips, tmp_path, capsys):
    data = ["--dataset", "clip_folder", "--data", clips, "--encoder", encoder, *SIZE]
    in_parts(tmp_path, *data, "--split", "train")
    out, err = capsys.readouterr()
    counts = [int(re.search(r"features of (\d) videos", line)[1]) for line in out.splitlines()]
    assert sorted(counts) == [2, 3, 3]
    assert "broken.mp4: not a video" in err
    options = activity_recognition.parse(["train", "--run", "x", *map(str, data)])
    source = activity_recognition.open_source(options, "train", None, tmp_path)
    views = ("center", "mirror_center")
    found, *_ = activity_recognition.encode(
        sabotaged(encoder), source, options.frame_size, tmp_path, views
    )
    assert [len(one) for one in found] == [2] * 8


def test_recipe_finds_the_frames_of_prepared_shards_encoded(
    encoder, clips, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(shard_writer, "VIDEOS_A_SHARD", 2)
    out = str(tmp_path / "frames" / "train")
    prepare = ["prepare", out, "--dataset", "clip_folder", "--data", str(clips), *SIZE]
    with pytest.raises(SystemExit):
        main([*prepare, "--split", "train"])
    data = ["--dataset", "shards", "--data", tmp_path / "frames", "--encoder", encoder, *SIZE]
    in_parts(tmp_path / "cache", *data, "--split", "train", "--no-mirror", parts=9)
    assert capsys.readouterr().out.count("the features of 0 videos") == 1  # it is the ninth of 8
    options = activity_recognition.parse(["train", "--run", "x", *map(str, data)])
    source = activity_recognition.open_source(options, "train", None, None)
    found, *_ = activity_recognition.encode(
        sabotaged(encoder), source, options.frame_size, tmp_path / "cache"
    )
    assert len(found) == 8


def test_recipe_for_descriptions_finds_every_frame_encoded(encoder, clips, tmp_path):
    data = own_file(tmp_path, "video", sorted(clips.glob("train/*/[0-9].mp4")))
    given = ["--data", data, "--encoder", encoder, *SIZE]
    in_parts(tmp_path / "cache", "--dataset", "own_videos", *given, "--split", "train", parts=2)
    options = ["train", "--run", "x", "--dataset", "own", *map(str, given)]
    options = video_description.parse(options)
    split = video_description.open_split(options, "train")
    video_description.encode(split, sabotaged(encoder), options, tmp_path / "cache")
    assert len(split.features) == 8


def test_recipe_for_captions_finds_every_photograph_encoded(encoder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(image_features, "SHARD", 2)
    for n in range(7):
        Image.new("RGB", (30, 20), (20 * n, 0, 0)).save(tmp_path / f"{n}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    data = own_file(tmp_path, "file_path", sorted(tmp_path.glob("*.png")))
    given = ["--dataset", "own", "--data", str(data), "--encoder", encoder]
    in_parts(tmp_path / "cache", *given, "--split", "train")
    assert "broken.png: not an image" in capsys.readouterr().err
    options = ["train", "--run", "x", "--data", f"own={data}", "--encoder", encoder]
    options = image_captioning.parse(options)
    [examples] = datasets.read_sources(options.data, "train").values()
    cache, views = tmp_path / "cache", image_captioning.VIEWS[options.views]
    monkeypatch.setattr(image_features, "_encoding", lambda *_: pytest.fail("something is missing"))
    found = image_captioning.photographs(examples, sabotaged(encoder), cache, views)
    assert found.features.shape == (7, 2, 4)


def test_other_settings_than_the_recipes_leave_it_something_to_encode(encoder, clips, tmp_path):
    data = ["--dataset", "clip_folder", "--data", clips, "--encoder", encoder]
    features(tmp_path, *data, "--frame-size", "24x24", "--split", "train")
    options = activity_recognition.parse(["train", "--run", "x", *map(str, [*data, *SIZE])])
    source = activity_recognition.open_source(options, "train", None, tmp_path)
    with pytest.raises(BaseException, match="the encoder was asked"):
        activity_recognition.encode(sabotaged(encoder), source, options.frame_size, tmp_path)


def test_processes_of_which_one_is_killed_leave_what_one_process_leaves(encoder, clips, tmp_path):
    data = ["--dataset", "clip_folder", "--data", clips, "--split", "train"]
    data = [*data, "--encoder", encoder, *SIZE]
    cache = tmp_path / "cache"
    command = [sys.executable, "-m", "zoo.cli", "features", cache, *data]
    started = [
        subprocess.Popen(list(map(str, [*command, "--shard", f"{number}/2"]))) for number in (1, 2)
    ]
    deadline = time.monotonic() + 120
    while not list(cache.glob("*")):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    started[0].kill()
    assert started[1].wait() == 0
    started[0].wait()
    features(cache, *data, "--shard", "1/2")
    features(tmp_path / "whole", *data)
    names = [path.name for path in sorted((tmp_path / "whole").glob("*"))]
    assert len(names) == 16
    assert names == [path.name for path in sorted(cache.glob("*.npy"))]
    for name in names:  # batches of the encoder hold other frames: the last bit may differ
        one, other = (np.load(pathlib.Path(folder, name)) for folder in (cache, tmp_path / "whole"))
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "x", "--rate", "3"], "go with --encoder"),
        (["--model", "x", "--encoder", "y"], "not allowed with"),
        (["--encoder", "resnet"], "--encoder is one of efficientnet_lite0, vgg16"),
        (["--dataset", "kinetics"], "one of clip_folder"),
    ],
)
def test_what_cannot_be_encoded_is_an_error_that_says_what_to_do(
    clips, tmp_path, capsys, more, message
):
    data = ["--dataset", "clip_folder", "--data", str(clips), "--split", "train"]
    with pytest.raises(SystemExit) as stopped:
        main(["features", str(tmp_path / "cache"), *data, *more])
    assert message in f"{stopped.value.code} {capsys.readouterr().err}"
