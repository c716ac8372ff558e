"""The recipe for descriptions, from videos on disk to sentences, their scores and an export."""

import contextlib
import io
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from made_videos import grey, write_video

import zoo
from recipes import video_description as recipe
from zoo.models.backbones import image_encoder
from zoo.text.vocabulary import Vocabulary

SHORT = ["--epochs", "3"]  # that words learn to follow labels, test_video_describer.py shows
ROLES = {"activity": ["none", "falls", "rises"], "object": ["none", "box"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Videos that grow brighter or darker, of several lengths: one frame does not tell which."""
    folder, random = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    entries = []
    for split, count in (("train", 12), ("val", 4)):
        for name in ("falls", "rises"):
            for n in range(count):
                ramp = random.integers(20, 60) + 14 * np.arange(6 + n % 4)
                path = f"{split}-{name}-{n}.mp4"
                write_video(folder / path, grey(ramp[:: -1 if name == "falls" else 1]), rate=10)
                captions = [f"a grey box {name} .", f"now the box {name} again"][: 1 + n % 2]
                captions *= 4 if split == "train" else 1  # more steps in an epoch
                labels = {"activity": name, "object": "box"}
                entries.append(
                    {"video": path, "captions": captions, "labels": labels, "split": split}
                )
    (folder / "broken.mp4").write_bytes(b"no video")
    broken = {"video": "broken.mp4", "captions": ["a box"], "labels": {}, "split": "train"}
    (folder / "videos.json").write_text(json.dumps([*entries, broken]))
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 4, strides=4)])
    image_encoder(network, (1 / 255, 0.0)).save(folder / "encoder.keras")
    return folder


def settings(data, run, *more):
    return [
        "train", "--dataset", "own", "--data", str(data / "videos.json"), "--run", str(run),
        "--encoder", str(data / "encoder.keras"), "--frame-size", "20x24", "--rate", "10",
        "--max-frames", "8", "--min-count", "1", "--embedding-dim", "16", "--lstm-units", "32",
        "--projection-dim", "0", "--dropout", "0", "--role-units", "16", "--role-dropout", "0",
        "--batch-size", "8", "--learning-rate", "0.03", "--role-epochs", "20", "--epochs", "12",
        *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def said(data, tmp_path_factory):
    """A run, and what was written on stderr."""
    run, err = tmp_path_factory.mktemp("runs") / "frames", io.StringIO()
    with contextlib.redirect_stderr(err):
        recipe.main(settings(data, run, "--fine-tune-epochs", "1"))
    return run, err.getvalue()


@pytest.fixture(scope="module")
def run(said):
    return said[0]


@pytest.fixture(scope="module")
def labels_run(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "labels"
    arguments = ["--input", "label-probabilities", "--role-fine-tune-epochs", "1", *SHORT]
    recipe.main(settings(data, run, *arguments))
    return run


def metrics_of(run, name="metrics.json"):
    return json.loads((run / name).read_text())


def test_describer_tells_what_only_the_order_of_frames_tells(run):
    metrics = metrics_of(run)
    assert metrics["exact"] == 1.0 and metrics["bleu_4"] > 0.9 and metrics["num_images"] == 8
    for name in ("curves.png", "gallery.html", "predictions.json"):
        assert (run / name).stat().st_size > 0
    model = zoo.from_preset(run / "model")
    assert model.vocabulary.words[2:] and model.roles is None
    assert model.metadata["frames"]["max_frames"] == 8


def test_describer_on_labels_reads_what_its_recogniser_sees(labels_run, data, tmp_path):
    metrics = metrics_of(labels_run)
    assert metrics["accuracy_activity"] == metrics["exact_tuple"] == 1.0
    assert metrics["bleu_1"] > 0.5 and metrics["unknown_labels"] == 0
    model = zoo.from_preset(labels_run / "model")
    assert model.roles == model.recognizer.roles == ROLES
    recognizer = zoo.from_preset(labels_run / "recognizer" / "model")
    assert recognizer.metadata["scores"]["exact_tuple"] == 1.0
    for one, other in zip(recognizer.weights, model.recognizer.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_all_other_inputs_start_from_a_trained_recogniser_or_from_the_true_labels(
    labels_run, data, tmp_path, capsys
):
    recognizer = ["--recognizer", str(labels_run / "recognizer")]
    for name, arguments in {
        "a": ["--input", "labels-max", "--architecture", "encoder-decoder", *recognizer],
        "b": ["--input", "labels-max", *recognizer],
        "noisy": ["--input", "labels-max", "--label-noise", "0.5"],
    }.items():
        recipe.main(settings(data, tmp_path / name, *SHORT, *arguments))
    for name in ("a", "b"):
        assert metrics_of(tmp_path / name)["exact_tuple"] == 1.0
    noisy = metrics_of(tmp_path / "noisy")
    assert noisy["exact_tuple"] < 1
    assert zoo.from_preset(tmp_path / "noisy" / "model").recognizer is None
    capsys.readouterr()
    recipe.main(["compare", *(str(tmp_path / name) for name in ("a", "b", "noisy"))])
    table = capsys.readouterr().out.splitlines()
    assert len(table) == 5 and "| own | labels-max | decoder | 0.5 | 1 |" in table[3]
    again = tmp_path / "again.json"
    where = ["--dataset", "own", "--data", str(data / "videos.json"), "--out", str(again)]
    recipe.main(["evaluate", "--model", str(tmp_path / "noisy"), *where])
    assert json.loads(again.read_text()) == noisy


@pytest.mark.slow
def test_labels_from_a_file_need_no_videos(data, tmp_path):
    entries = json.loads((data / "videos.json").read_text())[:-1]
    (tmp_path / "videos.json").write_text(json.dumps(entries))  # the videos are not beside it
    places = [ROLES["activity"].index(entry["labels"]["activity"]) for entry in entries]
    np.savez(
        tmp_path / "labels.npz",
        video_ids=np.array([entry["video"] for entry in entries]),
        activity=np.eye(3, dtype="float32")[places] * 0.7 + 0.1,
        object=np.tile(np.array([[0.1, 0.9]], "float32"), (len(entries), 1)),
    )
    arguments = ["--input", "label-probabilities", *SHORT]
    arguments = settings(data, tmp_path / "run", *arguments)
    arguments[arguments.index("--data") + 1] = str(tmp_path / "videos.json")
    recipe.main([*arguments, "--label-probabilities", str(tmp_path / "labels.npz")])
    assert metrics_of(tmp_path / "run")["exact_tuple"] == 1.0
    where = ["--dataset", "own", "--data", str(tmp_path / "videos.json")]
    out = ["--out", str(tmp_path / "again.json")]
    with pytest.raises(SystemExit, match="reads labels from a file"):
        recipe.main(["evaluate", "--model", str(tmp_path / "run"), *where, *out])


def test_evaluate_gives_what_training_reported(run, data, tmp_path):
    out = tmp_path / "again.json"
    where = ["--dataset", "own", "--data", str(data / "videos.json"), "--out", str(out)]
    recipe.main(["evaluate", "--model", str(run), *where])
    assert json.loads(out.read_text()) == metrics_of(run)
    assert (tmp_path / "again-gallery.html").stat().st_size > 0
    with pytest.raises(SystemExit, match="sees frames: it takes no --label-probabilities"):
        recipe.main(["evaluate", "--model", str(run), *where, "--label-probabilities", "a.npz"])


def test_unreadable_video_is_left_out_and_named(said):
    assert "1 videos were left out" in said[1] and "broken.mp4" in said[1]


@pytest.mark.slow
def test_run_goes_on_to_the_same_weights_after_a_kill(run, data, tmp_path):
    """Killed without warning while it trains on features, and begun again."""
    copy = tmp_path / "run"
    arguments = settings(data, copy, "--fine-tune-epochs", "1", "--checkpoint-seconds", "0")
    program = [sys.executable, "-m", "recipes.video_description", *arguments]
    house = pathlib.Path(__file__).parents[1]
    killed = subprocess.Popen(program, cwd=house, stdout=subprocess.PIPE, text=True)
    while not (copy / "words" / "checkpoint.npz").exists():
        assert killed.poll() is None
    killed.kill()
    killed.wait()
    done = subprocess.run(program, cwd=house, capture_output=True, text=True)
    assert done.returncode == 0 and "goes on where it was" in done.stdout, done.stderr[-2000:]
    expected, found = (zoo.from_preset(folder / "model").get_weights() for folder in (run, copy))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_mirrored_strategy_trains_both_models(data, tmp_path):
    more = [
        "--strategy",
        "mirrored",
        "--epochs",
        "2",
        "--role-epochs",
        "2",
        "--input",
        "labels-max",
    ]
    recipe.main(settings(data, tmp_path / "run", *more))
    assert metrics_of(tmp_path / "run")["num_images"] == 8


def test_moving_digits_go_the_whole_way_and_other_data_without_labels_say_so(
    data, tmp_path, monkeypatch
):
    monkeypatch.setattr(recipe, "DIGIT_VIDEOS", {"train": 40, "val": 6, "test": 6})
    monkeypatch.setattr(recipe, "DIGIT_PICTURES", 128)
    few = ["--picture-epochs", "1", "--role-epochs", "1", "--epochs", "1"]
    run = tmp_path / "digits"
    digits = ["train", "--dataset", "moving_digits", "--run", str(run), *few]
    recipe.main([*digits, "--input", "label-probabilities"])
    assert set(metrics_of(run)) >= {"bleu_4", "exact", "exact_tuple", "accuracy_next_motion"}
    out = str(tmp_path / "test.json")
    recipe.main(["evaluate", "--model", str(run), "--dataset", "moving_digits", "--split", "test",
                 "--out", out])  # fmt: skip
    entries = json.loads((data / "videos.json").read_text())
    bare = [{key: entry[key] for key in ("captions", "split")} for entry in entries[:-1]]
    for entry, whole in zip(bare, entries, strict=False):
        entry["video"] = str(data / whole["video"])
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    arguments = settings(data, tmp_path / "bare", "--input", "labels-max")
    arguments[arguments.index("--data") + 1] = str(tmp_path / "bare.json")
    with pytest.raises(SystemExit, match="own has no labels: try --input frames"):
        recipe.main(arguments)


COLORS = {"red": (200, 30, 30), "green": (30, 160, 30), "blue": (30, 30, 200)}


@pytest.fixture(scope="module")
def captioner(data, tmp_path_factory):
    """A captioner of photographs of one color, which knows words that videos need, too."""
    keras.utils.set_random_seed(4)
    words = ["<eos>", "<unk>", "a", "box", "is", *COLORS]
    encoder = keras.saving.load_model(data / "encoder.keras")
    model = zoo.lrcn_captioner(encoder, len(words), embedding_dim=16, lstm_units=32)
    model.vocabulary = Vocabulary(words)
    random = np.random.default_rng(0)
    colors = random.integers(3, size=192)
    photographs = np.array(list(COLORS.values()))[colors][:, None, None]
    photographs = photographs + random.normal(0, 12, (192, 16, 16, 3))
    photographs = np.clip(photographs, 0, 255)
    features = model.encode(photographs)
    model.adapt(features)
    sentences = np.array([model.vocabulary.encode(f"a box is {color}") for color in COLORS])
    sentences = sentences[colors]
    before = np.pad(sentences, [(0, 0), (1, 0)])
    after = np.pad(sentences, [(0, 0), (0, 1)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    training = model.on_features()
    training.compile(keras.optimizers.Adam(0.02), loss, jit_compile=False)
    inputs = {"features": features, "token_ids": before}
    training.fit(inputs, after, batch_size=32, epochs=8, verbose=0)
    assert model.caption(features[:8]) == [f"a box is {list(COLORS)[n]}" for n in colors[:8]]
    folder = tmp_path_factory.mktemp("presets") / "captioner"
    model.save_to_preset(folder)
    return folder


@pytest.fixture(scope="module")
def colored(tmp_path_factory):
    """Few videos of one color with sentences: enough for a describer that knows the colors."""
    folder = tmp_path_factory.mktemp("colored")
    random = np.random.default_rng(1)
    entries = []
    for split, count in (("train", 2), ("val", 3)):
        for name, color in COLORS.items():
            for n in range(count):
                shades = np.clip(np.array(color) + random.integers(-25, 26, (6, 1)), 0, 255)
                frames = [np.full((32, 32, 3), shade, np.uint8) for shade in shades]
                path = f"{split}-{name}-{n}.mp4"
                write_video(folder / path, frames, rate=10)
                captions = [f"the box is {name}", f"a {name} box"]
                entries.append({"video": path, "captions": captions, "split": split})
    (folder / "videos.json").write_text(json.dumps(entries))
    return folder


def test_a_describer_that_starts_from_a_captioner_needs_fewer_videos(
    captioner, colored, data, tmp_path, capsys
):
    scores = {}
    for name, start in (
        ("scratch", ["--encoder", str(data / "encoder.keras"), "--frame-size", "16x16"]),
        ("from", ["--from", str(captioner)]),
    ):
        recipe.main([
            "train", "--dataset", "own", "--data", str(colored / "videos.json"),
            "--run", str(tmp_path / name), "--architecture", "decoder", "--rate", "10",
            "--max-frames", "8", "--min-count", "1", "--embedding-dim", "16", "--lstm-units", "32",
            "--projection-dim", "0", "--dropout", "0", "--batch-size", "4", "--epochs", "3",
            "--learning-rate", "0.01", *start,
        ])  # fmt: skip
        scores[name] = metrics_of(tmp_path / name)
    assert scores["from"]["cider"] > scores["scratch"]["cider"] + 0.5
    assert scores["from"]["exact"] >= scores["scratch"]["exact"]
    out = capsys.readouterr().out
    assert "weights copied, others: none; 1 words are new to it" in out  # "the"
    model = zoo.from_preset(tmp_path / "from" / "model")
    assert model.vocabulary.words[:8] == zoo.from_preset(captioner).vocabulary.words
    assert model.metadata["frames"]["size"] == [16, 16]  # of the captioner
    assert f"started from {captioner}" in model.metadata["about"]


def test_export_of_a_run_writes_a_version(labels_run, tmp_path):
    recipe.main(["export", "--model", str(labels_run), "--saved-models", str(tmp_path)])
    version = tmp_path / "lrcn_video_describer" / "1"
    assert (version / "saved_model.pb").stat().st_size > 0
    assert json.loads((version / "assets" / "roles.json").read_text()) == ROLES


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--dataset", "msvd"], "--data says where msvd lies"),
        (["--encoder", "digit_cnn"], "digit_cnn goes with --dataset moving_digits"),
        (["--label-noise", "0.1"], "go with --input labels-max"),
        (["--input", "labels-max", "--label-noise", "2"], "a share in 0..1, got 2.0"),
        (["--input", "labels-max", "--label-noise", "0", "--recognizer", "x"], "give one of"),
        (["--input", "labels-max", "--fine-tune-epochs", "1"], "goes with --input frames"),
        (["--role-fine-tune-epochs", "1"], "for a recogniser that is trained"),
        (["--from", "x", "--input", "labels-max"], "--from goes with --input frames"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_at_once(
    data, tmp_path, arguments, complaint, capsys
):
    given = settings(data, tmp_path / "run", *arguments)
    if "msvd" in arguments:
        given = ["train", "--run", str(tmp_path / "run"), *arguments]
    with pytest.raises(SystemExit):
        recipe.main(given)
    assert complaint in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_recogniser_of_another_kind_or_for_other_frames_is_refused(run, labels_run, data, tmp_path):
    wanted = ["--input", "labels-max", "--recognizer"]
    for name, arguments, complaint in (
        ("a", [*wanted, str(run)], "recognises no roles: expected RUN/recognizer"),
        ("b", [*wanted, str(labels_run), "--rate", "5"], "these would be .*'rate': 5.0"),
    ):
        with pytest.raises(SystemExit, match=complaint):
            recipe.main(settings(data, tmp_path / name, *arguments))
