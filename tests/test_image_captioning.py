"""The recipe as a user runs it: all stages, killed and begun again, on pictures made up here."""

import contextlib
import csv
import gzip
import itertools
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageDraw

from zoo import training
from zoo.data.batches.captions import image_batches
from zoo.decoding import Sampling
from zoo.models.backbones import image_encoder
from zoo.text.vocabulary import Vocabulary
from zoo.training.cider import CiderTraining
from zoo.training.resume import keep_settings

RECIPES = pathlib.Path(__file__).parents[1] / "recipes"
sys.path.insert(0, str(RECIPES))

import image_captioning as recipe  # noqa: E402  the recipes are scripts, no package

SMALL = {
    "variant": "1u",  # half the time to compile
    "embedding-dim": 8,
    "lstm-units": 12,
    "projection-dim": 8,
    "batch-size": 8,
    "learning-rate": 0.02,
    "fine-tune-rate": 0.01,
    "cider-rate": 0.01,
    "epochs": 3,
    "fine-tune-epochs": 1,
    "cider-epochs": 1,
}
STAGES = ("stage1", "stage2", "stage3")


def tiny_encoder():
    """A network in a network, with what makes training differ from prediction."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(6, 5, strides=2, activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.2),
        keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
    ]
    network = keras.Sequential([keras.Input((32, 32, 3)), *layers])
    return image_encoder(network, (1 / 127.5, -1), name="tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folder with `captions.json`, its pictures, and `tiny.keras`."""
    folder = tmp_path_factory.mktemp("shapes")
    entries = []
    for n in range(15):
        colour, shape = ("red", "green", "blue")[n % 3], ("square", "circle")[n % 2]
        image = Image.new("RGB", (40, 36), "white")
        draw = ImageDraw.Draw(image)
        where = (n, 4, n + 18, 24)
        draw.rectangle(where, colour) if shape == "square" else draw.ellipse(where, colour)
        image.save(folder / f"{n}.png")
        held_out = n >= 12
        captions = [f"A {colour} {shape}.", f"the {shape} is {colour}"]
        captions += ["a zebra " * 5] if held_out else []
        split = "val" if held_out else "train"
        entries.append({"file_path": f"{n}.png", "captions": captions, "split": split})
    (folder / "broken.png").write_bytes(b"no picture")
    entries.append({"file_path": "broken.png", "captions": ["a red square"], "split": "train"})
    (folder / "captions.json").write_text(json.dumps(entries))
    tiny_encoder().save(folder / "tiny.keras")
    return folder


def arguments(data, run, *more):
    options = {
        "data": f"own={data / 'captions.json'}",
        "encoder": data / "tiny.keras",
        "run": run,
        "cache": run.parent / f"features of {run.name}",
        **SMALL,
    }
    flags = [str(text) for name, value in options.items() for text in (f"--{name}", value)]
    return ["train", *flags, *more]


def run_recipe(argv, log):
    """Runs in a process of its own, which had TensorFlow imported before it was forked."""
    with open(log, "wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.argv = ["image_captioning.py", *argv]
    recipe.main(argv)


@pytest.fixture(scope="module")
def start():
    """`start(argv, log) -> multiprocessing.Process`; importing TensorFlow once serves them all."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["image_captioning"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(RECIPES), os.getenv("PYTHONPATH", "")]))
        patch.setenv("PATH", os.path.dirname(sys.executable))  # METEOR's Java takes 10 seconds

        def begin(argv, log):
            process = server.Process(target=run_recipe, args=(argv, log), daemon=True)
            process.start()
            return process

        yield begin


def finish(process, log):
    process.join(300)
    text = log.read_text()
    assert process.exitcode == 0, text[-3000:]
    return text


@pytest.fixture(scope="module")
def finished(data, start, tmp_path_factory):
    """Folder of a run that nothing disturbed, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    log = folder / "log"
    options = ("--patience", "1", "--checkpoint-seconds", "1000")
    return folder / "run", finish(start(arguments(data, folder / "run", *options), log), log)


def variables(run):
    """What a run leaves: weights, optimizer and seeds of every stage, and the model."""
    found = {}
    for stage in STAGES:
        with np.load(run / stage / "checkpoint.npz") as arrays:
            found |= {f"{stage} {name}": arrays[name] for name in arrays if name != "progress"}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            found[f"model {name}"] = item[()]

    with h5py.File(run / "model" / "model.weights.h5") as file:
        file.visititems(note)
    return found


def assert_same_weights(run, other, tolerance=1e-6):
    ours, theirs = variables(run), variables(other)
    assert list(ours) == list(theirs)
    assert any("model" in name for name in ours)
    for name, value in ours.items():
        value, other_value = (np.asarray(v, "float64") for v in (value, theirs[name]))
        np.testing.assert_allclose(value, other_value, rtol=0, atol=tolerance, err_msg=name)


def progress(run, stage):
    path = run / stage / "checkpoint.npz"
    if not path.exists():
        return None
    with np.load(path) as arrays:
        return json.loads(arrays["progress"].tobytes())


def test_a_run_leaves_all_that_was_promised(finished):
    run, text = finished
    for name in ("model", "metrics.json", "predictions.json", "curves.png", "gallery.html"):
        assert (run / name).exists(), name
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"bleu_4", "cider", "rouge_l", "perplexity", "tokenisation"} <= set(metrics)
    assert metrics["num_images"] == 3
    predictions = json.loads((run / "predictions.json").read_text())
    assert [p["image_id"] for p in predictions] == ["12.png", "13.png", "14.png"]
    assert (run / "gallery.html").read_text().count("data:image") == 3
    settings = json.loads((run / "settings.json").read_text())
    assert settings["dropout"] == 0.4 and settings["seed"] == 1
    metadata = json.loads((run / "model" / "metadata.json").read_text())
    assert metadata["scores"] == metrics
    prior = np.load(run / "model" / "assets" / "prior_features.npy")  # of all training images
    assert prior.shape == (12, 8) and prior.dtype == np.float16
    assert list((run / "tensorboard" / "stage2" / "train").iterdir())
    assert "1 images were left out" in text.splitlines()[-3]
    assert "dev CIDEr 0.00 after 3 epochs: too few photographs" in text.splitlines()[-2]
    assert "broken.png: not an image" in text
    assert str(run / "model") in text.splitlines()[-1]
    assert "Warning" not in text


@pytest.fixture(scope="module")
def mixed(data, start, tmp_path_factory):
    """Folder of a run on two data sets, the second without a dev split, and on sentences."""
    folder = tmp_path_factory.mktemp("mixed")
    entries = json.loads((data / "captions.json").read_text())
    mine = []
    for entry in entries[:12]:
        captions = ["a zebra", *entry["captions"]]
        mine.append({"file_path": str(data / entry["file_path"]), "captions": captions})
        mine[-1] |= {"image_id": entry["file_path"], "num_human": 1}
    (folder / "mine.json").write_text(json.dumps(mine))
    with gzip.open(folder / "text.txt.gz", "wt") as file:
        file.write("A giraffe eats.\n...\n" * 6)
    log = folder / "log"
    more = ["--data", f"own={folder / 'mine.json'}", "--text", str(folder / "text.txt.gz")]
    more += ["--fine-tune-epochs", "0", "--cider-epochs", "0", "--machine-weight", "0.5"]
    more += ["--text-epochs", "1", "--no-repeat-ngram", "3"]
    return folder / "run", finish(start(arguments(data, folder / "run", *more), log), log)


def test_several_data_sets_train_one_model_with_one_vocabulary(mixed):
    run, text = mixed
    words = (run / "model" / "assets" / "vocabulary.txt").read_text().split()
    assert {"zebra", "giraffe", "red"} <= set(words)
    assert "mine.json has no dev split: 2 of its training images are held out" in text
    assert "22 images, 54 captions" in text
    assert progress(run, "stage0")["epoch"] == 1
    with open(run / "stage1" / "log.csv") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        scores = [float(row[f"val_cider_{name}"]) for name in ("own", "own_2")]
        assert float(row["val_cider"]) == pytest.approx(np.mean(scores))
    metadata = json.loads((run / "model" / "metadata.json").read_text())
    assert "12 of own and 10 of own_2 training images" in metadata["data"]
    assert "20 of 54 captions are machine-written" in metadata["data"]
    assert metadata["decoding"] == {"beam_size": 5, "length_penalty": 0.0, "no_repeat_ngram": 3}


def test_each_data_set_is_scored_and_the_mean_too(mixed):
    run, _ = mixed
    metrics = json.loads((run / "metrics.json").read_text())
    parts = [json.loads((run / f"metrics-{n}.json").read_text()) for n in ("own", "own_2")]
    assert metrics["bleu_1"] == pytest.approx(np.mean([part["bleu_1"] for part in parts]))
    assert metrics["own_2/bleu_1"] == parts[1]["bleu_1"]
    assert metrics["num_images"] == 5
    assert (run / "metrics-own-gallery.html").exists()


def test_a_run_started_from_a_preset_keeps_its_words(mixed, data, start, tmp_path):
    log = tmp_path / "log"
    more = ["--from", str(mixed[0]), "--min-count", "1", "--learning-rate", "1e-6"]
    more += ["--variant", "4f"]  # that of the preset is taken
    argv = arguments(data, tmp_path / "run", *more)
    text = finish(start(argv, log), log)
    vocabulary = "model/assets/vocabulary.txt"
    before = (mixed[0] / vocabulary).read_text().split()
    after = (tmp_path / "run" / vocabulary).read_text().split()
    assert after[: len(before)] == before
    assert f"{len(after) - len(before)} words are new to it" in text
    assert "before training: dev CIDEr" in text
    metadata = json.loads((tmp_path / "run" / "model" / "metadata.json").read_text())
    assert metadata["about"].startswith("LRCN-1u captioner")


def test_a_run_that_is_finished_early_keeps_its_best_weights(data, start, tmp_path):
    run, log = tmp_path / "run", tmp_path / "log"
    argv = arguments(data, run, "--epochs", "400", "--checkpoint-seconds", "0")
    wait_and_kill(start(argv, log), lambda: (run / "stage1" / "best.weights.h5").exists(), log)
    text = finish(start([*argv, "--finish"], log), log)
    assert "step - loss" not in text
    with h5py.File(run / "stage1" / "best.weights.h5") as file:
        best = file["layers/caption_decoder/logits/vars/0"][()]
    with h5py.File(run / "model" / "model.weights.h5") as file:
        kept = file["layers/caption_decoder/logits/vars/0"][()]
    np.testing.assert_array_equal(kept, best.astype("float16"))


def test_a_data_set_is_named_with_its_path(capsys):
    with pytest.raises(SystemExit):
        recipe.parse(["train", "--run", "a", "--data", "flickr9k=photos"])
    assert "NAME=PATH, where NAME is one of flickr8k," in capsys.readouterr().err


def test_words_come_from_the_training_split_alone(finished, data):
    words = (finished[0] / "model" / "assets" / "vocabulary.txt").read_text().split()
    entries = json.loads((data / "captions.json").read_text())
    captions = [c for e in entries if e["split"] == "train" for c in e["captions"]]
    assert tuple(words) == Vocabulary.from_captions(captions[:-1], min_count=5).words
    assert "red" in words and "zebra" not in words


def test_a_stage_that_does_not_gain_ends_early(finished):
    state = progress(finished[0], "stage1")
    assert state["epoch"] == min(state["best_epoch"] + 1, 3)
    with open(finished[0] / "stage1" / "log.csv") as file:
        assert len(list(csv.DictReader(file))) == state["epoch"]


def test_evaluating_a_run_gives_its_metrics(finished, data, start, tmp_path):
    run, log = finished[0], tmp_path / "log"
    split = ["--data", f"own={data / 'captions.json'}", "--split", "dev"]
    out = tmp_path / "again" / "metrics.json"
    argv = ["evaluate", "--model", str(run), *split, "--out", str(out)]
    finish(start(argv, log), log)
    ours, theirs = (json.loads(path.read_text()) for path in (out, run / "metrics.json"))
    assert ours == pytest.approx(theirs, abs=1e-6)
    assert (out.parent / "predictions.json").read_text() == (run / "predictions.json").read_text()


def test_an_exported_run_captions_what_the_run_captioned(finished, data, tmp_path, capsys):
    run, saved_models = finished[0], tmp_path / "saved_models"
    argv = ["export", "--model", run, "--saved-models", saved_models, "--name", "shapes"]
    recipe.main([str(a) for a in argv])
    version = saved_models / "shapes" / "1"
    assert capsys.readouterr().out.splitlines()[-1] == str(version)
    assert (version / "README.md").read_text().startswith("# run\n")
    served = tf.saved_model.load(version).signatures["serving_default"]
    predictions = json.loads((run / "predictions.json").read_text())
    images = [(data / prediction["image_id"]).read_bytes() for prediction in predictions]
    captions = served(image_bytes=tf.constant(images))["caption"].numpy()
    expected = [prediction["caption"] for prediction in predictions]
    assert [caption.decode() for caption in captions] == expected


def test_a_finished_run_is_not_trained_again(finished, data, start, tmp_path):
    run, log = finished[0], tmp_path / "log"
    before = variables(run)
    changed = {stage: (run / stage / "checkpoint.npz").stat().st_mtime_ns for stage in STAGES}
    text = finish(start(arguments(data, run, "--patience", "1"), log), log)
    assert text.count("was done before") == 3
    assert "step - loss" not in text and "encoding pictures" not in text
    for stage in STAGES:
        assert (run / stage / "checkpoint.npz").stat().st_mtime_ns == changed[stage]
    for name, value in variables(run).items():
        np.testing.assert_array_equal(value, before[name])


def being_written(run, stage, batches):
    """Whether a checkpoint of a stage is being written, after so many batches."""
    if not (run / stage / "checkpoint.part").exists():
        return False
    state = progress(run, stage)
    return state is not None and state["epoch"] == 0 and state["batch"] >= batches


def wait_and_kill(process, moment, log):
    """Sends SIGKILL at a moment: the process is stopped first, to see that it is that moment."""
    deadline = time.monotonic() + 300
    while True:
        assert process.is_alive() and time.monotonic() < deadline, log.read_text()[-3000:]
        if moment():
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(0.02)
            if moment():
                break
            os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.0005)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.slow
def test_a_run_that_was_killed_ends_with_the_same_weights(finished, data, start, tmp_path):
    run, log = tmp_path / "run", tmp_path / "log"
    argv = arguments(data, run, "--patience", "1", "--checkpoint-seconds", "0")
    epochs = progress(finished[0], "stage1")["epoch"]
    # In mid-epoch, while a checkpoint is being written.
    wait_and_kill(start(argv, log), lambda: being_written(run, "stage1", 1), log)
    # Between the stages.
    wait_and_kill(start(argv, log), lambda: progress(run, "stage1")["epoch"] == epochs, log)
    assert progress(run, "stage2") is None
    # In the stage that trains the CNN.
    wait_and_kill(start(argv, log), lambda: being_written(run, "stage2", 2), log)
    assert not (run / "model").exists()
    text = finish(start(argv, log), log)
    assert "stage2 goes on where it was: 0 of 1 epochs" in text
    assert_same_weights(run, finished[0])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_run_killed_again_and_again_ends_with_the_same_weights(precision, data, start, tmp_path):
    argv = {
        name: arguments(
            data, tmp_path / name, "--precision", precision, "--variant", "2f", *seconds
        )
        for name, *seconds in (
            ("calm", "--checkpoint-seconds", "1000"),
            ("shaken", "--checkpoint-seconds", "0"),
        )
    }
    log = tmp_path / "log"
    finish(start(argv["calm"], log), log)
    chance = random.Random(precision)
    for patience in itertools.count(5, 2):  # seconds; more each time, so that it ends some day
        process = start(argv["shaken"], log)
        process.join(chance.uniform(2, patience))
        if process.exitcode is not None:
            break
        process.kill()
        process.join()
    assert process.exitcode == 0, log.read_text()[-3000:]
    assert_same_weights(tmp_path / "calm", tmp_path / "shaken")


TWO_DEVICES = """
import sys
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, sys.argv.pop(1))
import image_captioning

image_captioning.main(sys.argv[1:])
"""


@pytest.mark.slow
def test_two_devices_train_as_one_through_all_stages(data, start, tmp_path):
    # Without dropout, whose numbers the devices draw for halves of a batch.
    options = ["--dropout", "0"]
    still = keras.saving.load_model(data / "tiny.keras")
    for layer in still._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    folder = tmp_path / "still"
    shutil.copytree(data, folder)
    still.save(folder / "tiny.keras")
    finish(start(arguments(folder, tmp_path / "one", *options), tmp_path / "log"), tmp_path / "log")
    argv = arguments(folder, tmp_path / "two", *options, "--strategy", "mirrored")
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES, str(RECIPES), *argv],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same_weights(tmp_path / "one", tmp_path / "two", 1e-4)


def test_other_settings_are_refused(finished, data):
    run = finished[0]
    argv = arguments(data, run, "--patience", "1", "--dropout", "0.1")
    with pytest.raises(SystemExit, match="other settings: dropout=0.4, now 0.1. Give those again"):
        recipe.main(argv)


def test_settings_that_change_no_weights_may_change(tmp_path):
    argv = ["train", "--data", "own=a", "--run", "a"]
    path = tmp_path / "settings.json"
    keep_settings(path, vars(recipe.parse(argv)), recipe.MAY_CHANGE)
    argv = ["train", "--data", "own=b", "--run", "./a", "--cache", "c"]
    again = recipe.parse([*argv, "--checkpoint-seconds", "7"])
    keep_settings(path, vars(again), recipe.MAY_CHANGE)
    with pytest.raises(ValueError, match="seed=1, now 2"):
        keep_settings(path, vars(recipe.parse([*argv, "--seed", "2"])), recipe.MAY_CHANGE)


def test_paper_sets_its_numbers_where_no_others_are_given():
    argv = ["train", "--data", "coco2014=a", "--run", "a"]
    plain, paper = recipe.parse(argv), recipe.parse([*argv, "--paper"])
    assert {name: getattr(paper, name) for name in recipe.PAPER} == recipe.PAPER
    assert plain.lstm_units == 512 and not plain.paper
    mixed = recipe.parse([*argv, "--paper", "--lstm-units", "512", "--dropout", "0.5"])
    assert (mixed.lstm_units, mixed.dropout, mixed.embedding_dim) == (512, 0.5, 1000)
    assert recipe.parse(argv).lstm_units == 512


def test_paper_optimizer_halves_its_rate():
    paper = recipe.paper_optimizer(0.01, 10.0)
    rates = [float(paper._learning_rate(step)) for step in (0, 19_999, 20_000, 40_000)]
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.005, 0.0025], rtol=1e-5)


def test_data_that_is_not_there_gives_one_clear_line(tmp_path):
    argv = ["train", "--data", "own=nowhere.json", "--run", "run"]
    done = subprocess.run(
        [sys.executable, RECIPES / "image_captioning.py", *argv],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "nowhere.json" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dataset", ["own", "flickr8k", "coco2014", "karpathy"])
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_every_reader_says_what_it_misses(dataset, command, tmp_path):
    where = {"train": ["--run", tmp_path / "run"], "evaluate": ["--model", "x", "--out", "y"]}
    with pytest.raises(SystemExit, match=str(tmp_path)):
        argv = [command, "--data", f"{dataset}={tmp_path}", *where[command]]
        recipe.main([str(a) for a in argv])


def test_a_model_that_is_not_there_is_named(data, tmp_path):
    own = ["--data", f"own={data / 'captions.json'}"]
    with pytest.raises(SystemExit, match="no_such_model"):
        recipe.main(["evaluate", "--model", "no_such_model", *own, "--out", str(tmp_path / "m")])
    with pytest.raises(SystemExit, match="no_such_model"):
        recipe.main(["export", "--model", "no_such_model", "--saved-models", str(tmp_path / "s")])
    assert not (tmp_path / "s").exists()


def test_an_encoder_is_a_name_or_a_file():
    with pytest.raises(ValueError, match=r"efficientnet_lite0.*file\.keras.*Received: resnet"):
        training.load_encoder("resnet", recipe.ENCODERS)


def test_a_mistaken_encoder_leaves_no_run_behind(data, tmp_path):
    argv = arguments(data, tmp_path / "run", "--encoder", "missing.keras")
    with pytest.raises(SystemExit, match="missing.keras"):
        recipe.main(argv)
    assert not (tmp_path / "run").exists()


def test_a_batch_is_shared_out_evenly():
    training.check_batch_size(7, devices=1, unit=4)
    training.check_batch_size(16, devices=4, unit=4)
    with pytest.raises(ValueError, match="multiple of 8. Received: 12"):
        training.check_batch_size(12, devices=2, unit=4)


def test_batch_statistics_stay_in_fine_tuning():
    encoder = tiny_encoder()
    encoder.trainable = True
    training.freeze_batch_statistics(encoder)
    assert len(encoder.trainable_variables) == 4  # kernels and biases of two convolutions
    norm = encoder.layers[2].layers[1]
    encoder(np.full((2, 32, 32, 3), 99.0), training=True)
    np.testing.assert_array_equal(norm.moving_mean, np.zeros(6))


@contextlib.contextmanager
def dtype_policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_trains_the_network_and_writes_captions(precision, data):
    paths = [str(data / f"{n}.png") for n in range(4)]
    token_ids = np.full((4, 2, 3), 5, "int32")
    options = recipe.parse(["train", "--data", "own=a", "--run", "a"])
    with dtype_policy(precision):
        encoder = keras.saving.load_model(data / "tiny.keras")
        captioner = recipe.zoo.lrcn_captioner(encoder, 7, lstm_units=6, embedding_dim=5)
        model = captioner.on_caption_groups()
        recipe.compile_teaching(model, options, 0.01, 10, 10.0)
        before = [np.array(v) for v in model.trainable_variables]
        batches = image_batches(paths, token_ids, 32, 2, 0, 0)
        loss = model.fit(batches, verbose=0, shuffle=False).history["loss"][0]
        assert loss == pytest.approx(np.log(7), abs=0.1)
        after = model.trainable_variables
        for was, now in zip(before, after, strict=True):
            assert now.dtype == "float32"
            assert np.abs(was - np.array(now)).max() > 1e-4, now.path
        features = np.ones((2, 8), "float32")
        captioner.generate(features, "beam", max_words=4)

        def reward(image_index, token_ids):
            return (token_ids == 5).mean(1).astype("float32")

        rewarded = CiderTraining(captioner.decoder, Sampling(num_samples=2, n_best=2), reward)
        rewarded.compile(recipe.cosine_adam(0.01, 10), jit_compile=False)
        weights = captioner.decoder.logits.kernel
        was = np.array(weights)
        uniforms = np.random.default_rng(0).random((2, 2, 4), "float32")
        rewarded.train_step(
            {"features": features, "image_index": np.arange(2), "uniforms": uniforms}
        )
        step = np.abs(np.array(weights) - was).max()
        assert 1e-4 < step <= 0.0101  # Adam's first step has the size of the rate


def test_captions_of_any_program_are_scored_from_a_file(data, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no Java: METEOR takes 10 seconds
    own = ["--data", f"own={data / 'captions.json'}"]
    examples = recipe.datasets.read("own", data / "captions.json", "dev")
    entries = [{"image_id": e.image_id, "caption": e.captions[0]} for e in examples]
    file = tmp_path / "results.json"
    file.write_text(json.dumps(entries))
    out = tmp_path / "others.json"
    recipe.main(["score", "--predictions", str(file), *own, "--out", str(out)])
    metrics = json.loads(out.read_text())
    assert metrics["bleu_1"] == pytest.approx(1) and metrics["num_images"] == len(entries)
    assert (tmp_path / "others-gallery.html").exists()
    file.write_text(json.dumps(entries[1:]))
    recipe.main(["score", "--predictions", str(file), *own, "--out", str(out)])
    assert json.loads(out.read_text())["num_missing"] == 1
    file.write_text(json.dumps([{"image_id": "stranger", "caption": "a"}]))
    with pytest.raises(SystemExit, match="1 images that the split lacks, such as ..stranger"):
        recipe.main(["score", "--predictions", str(file), *own, "--out", str(out)])
