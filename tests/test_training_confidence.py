"""Fitting a confidence: on a made problem whose true probabilities are known, and its command."""

import json
import pathlib
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from zoo import lrcn_captioner
from zoo.data import datasets
from zoo.data.features.photographs import Photographs
from zoo.decoding import whole_beam
from zoo.models.backbones import image_encoder
from zoo.models.confidence import FITTED, QUANTITIES
from zoo.presets import from_preset
from zoo.text.vocabulary import Vocabulary
from zoo.training.confidence import fit_confidence

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "recipes"))

import image_captioning as recipe  # the recipes are scripts, no package

WORDS = ["<eos>", "<unk>", "a", "red", "blue", "square", "dog", "on", "grass"]
COUNTS = {"easy": 500, "hard": 300}
BIAS = {"easy": 0.5, "hard": -0.5}  # of the logit: one set has more right captions
SLOPES = {"log_informative_prob": 1.5, "beam_range": -0.8}  # of the logit, for standardized values


def decode(captioner, images):
    return captioner.generate(images, whole_beam(captioner.sampler), batch_size=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with a preset, pictures, and for each set captions that are right by chance.

    A picture's caption is right with a probability that its quantities give: then the references
    repeat it, otherwise they have no word of it.
    """
    folder = tmp_path_factory.mktemp("made")
    keras.utils.set_random_seed(7)
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(6, 3, strides=2)])
    captioner = lrcn_captioner(image_encoder(network, (1 / 255, 0.0)), len(WORDS), lstm_units=8)
    for weight in captioner.decoder.trainable_variables:  # or all sentences would be alike
        weight.assign(np.array(weight) * 12)
    captioner.decoder.logits.bias.assign([-3.0] + [0.0] * (len(WORDS) - 1))  # not to end at once
    captioner.vocabulary = Vocabulary(WORDS)
    captioner.save_to_preset(folder / "preset", {"decoding": {"beam_size": 3}})
    captioner = from_preset(folder / "preset")  # of half precision

    rng = np.random.default_rng(0)
    truth = {}
    for name, count in COUNTS.items():
        (folder / name).mkdir()
        colors = rng.integers(0, 256, (count, 1, 1, 3))
        noise = rng.integers(-60, 61, (count, 8, 8, 3))
        pixels = np.clip(colors + noise, 0, 255).astype("uint8")
        for number, picture in enumerate(pixels):
            Image.fromarray(picture).save(folder / name / f"{number}.png")
        decoded = decode(captioner, pixels.astype("float32"))
        quantities = captioner.caption_quantities(pixels.astype("float32"), decoded, 100)
        logit = BIAS[name]
        for quantity, slope in SLOPES.items():
            values = quantities[quantity][:, 0]
            logit = logit + slope * (values - values.mean()) / values.std()
        truth[name] = 1 / (1 + np.exp(-logit))
        entries = []
        for number, is_right in enumerate(rng.random(count) < truth[name]):
            caption = captioner.vocabulary.decode(decoded.token_ids[number, 0])
            entry = {"file_path": f"{name}/{number}.png", "split": "dev"}
            entry["captions"] = [caption if is_right else f"zebra {number} sleeps tonight"]
            entries.append(entry)
        (folder / f"{name}.json").write_text(json.dumps(entries))
        np.save(folder / f"{name}.npy", truth[name])
    return folder


def read(folder, captioner, name):
    examples = datasets.read("own", folder / f"{name}.json", "dev")
    return Photographs(examples, captioner.image_encoder, folder / "features")


@pytest.fixture(scope="module")
def captioner(folder):
    return from_preset(folder / "preset")


@pytest.fixture(scope="module")
def photos(folder, captioner):
    return {name: read(folder, captioner, name) for name in COUNTS}


@pytest.fixture(scope="module")
def fit(captioner, photos):
    return fit_confidence(captioner, photos, seed=1)


def believed(captioner, photos, confidence):
    decoded = decode(captioner, photos.seen())
    return np.asarray(confidence(captioner.caption_quantities(photos.seen(), decoded)))[:, 0]


def test_the_made_captions_are_of_many_kinds(folder):
    truth = np.concatenate([np.load(folder / f"{name}.npy") for name in COUNTS])
    assert np.mean(truth < 0.2) > 0.1 and np.mean(truth > 0.8) > 0.1


def test_a_fit_recovers_the_probabilities_that_a_set_was_made_with(captioner, photos, folder):
    fit = fit_confidence(captioner, {"easy": photos["easy"]}, seed=1)
    truth = np.load(folder / "easy.npy")
    found = believed(captioner, photos["easy"], fit.confidence)
    assert np.abs(found - truth).mean() < 0.05
    assert np.corrcoef(found, truth)[0, 1] > 0.97


def test_the_report_is_of_images_not_fitted_on_and_has_each_set(fit, photos):
    report = fit.report
    assert json.loads(json.dumps(report)) == report
    assert list(report["sets"]) == ["easy", "hard"]
    assert [row["images"] for row in report["sets"].values()] == list(COUNTS.values())
    assert report["all"]["images"] == sum(COUNTS.values())
    assert report["all"]["auroc"] > 0.75 and report["all"]["brier"] < 0.21
    assert report["sets"]["easy"]["share_right"] > report["sets"]["hard"]["share_right"] + 0.1
    assert set(fit.confidence.quantities) <= set(FITTED)
    assert report["fitted_on_all"] == fit.confidence.get_config()


def test_the_seed_chooses_the_folds_and_not_what_is_stored(fit, captioner, photos):
    again = fit_confidence(captioner, photos, seed=1)
    other = fit_confidence(captioner, photos, seed=2)
    assert again == fit
    assert other.report["all"] != fit.report["all"] and other.confidence == fit.confidence


def test_the_table_of_reliability_is_near_the_diagonal(fit):
    rows = [row for row in fit.report["reliability"] if row["images"] >= 30]
    assert sum(row["images"] for row in fit.report["reliability"]) == sum(COUNTS.values())
    assert len(rows) >= 5
    for row in rows:
        assert row["from"] <= row["mean_confidence"] <= row["to"]
        error = np.sqrt(0.25 / row["images"])  # of a share, at most
        assert abs(row["share_right"] - row["mean_confidence"]) < 3 * error


def test_a_higher_threshold_marks_more_captions_and_leaves_better_ones(captioner, photos):
    fit = fit_confidence(captioner, photos, seed=1, threshold=0.55)
    assert fit.confidence.threshold == 0.55
    rows = fit.report["thresholds"]
    assert 0.55 in [row["threshold"] for row in rows]
    assert (np.diff([row["share_unsure"] for row in rows]) > 0).all()
    assert rows[-1]["share_right_of_sure"] > rows[0]["share_right_of_sure"] + 0.05
    for row in rows:
        assert row["share_right_of_sure"] > row["share_right_of_unsure"] + 0.2


def test_a_quantity_that_speaks_the_wrong_way_is_left_out(folder, captioner, photos):
    easy = photos["easy"]
    decoded = decode(captioner, easy.seen())
    quantities = captioner.caption_quantities(easy.seen(), decoded)
    ranges = quantities["beam_range"][:, 0]
    examples = []
    for example, ids, beam_range in zip(easy.examples, decoded.token_ids, ranges, strict=True):
        right = captioner.vocabulary.decode(ids[0])
        caption = right if beam_range > np.median(ranges) else "zebra sleeps"
        examples.append(example._replace(captions=[caption]))
    peculiar = Photographs(examples, captioner.image_encoder, folder / "features")
    fit = fit_confidence(captioner, {"peculiar": peculiar})
    assert "beam_range" not in fit.confidence.quantities
    signs = [QUANTITIES[name] for name in fit.confidence.quantities]
    assert (np.array(signs) * fit.confidence.weights >= 0).all()


def test_too_few_captions_of_a_kind_are_refused(folder, captioner, photos):
    easy = photos["easy"]
    few = Photographs(easy.examples[:30], captioner.image_encoder, folder / "features")
    with pytest.raises(ValueError, match=r"at least 20 right captions.*Received: \d+ and \d+\."):
        fit_confidence(captioner, {"few": few})


def test_a_missing_package_is_named_with_its_extra(captioner, photos, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r'pip install "lrcn-zoo\[train\]"'):
        fit_confidence(captioner, photos)


def test_the_command_stores_the_confidence_and_writes_report_and_plot(
    fit, folder, tmp_path, capsys
):
    preset = folder / "preset"
    before = {path: path.read_bytes() for path in preset.rglob("*") if path.is_file()}
    out = tmp_path / "report" / "confidence.json"
    data = [f"--data=own={folder / name}.json" for name in COUNTS]
    recipe.main(["confidence", "--model", str(preset), *data, "--out", str(out)])
    loaded = from_preset(preset)
    assert loaded.confidence == fit.confidence
    report = json.loads(out.read_text())
    assert report["all"] == fit.report["all"]
    assert list(report["sets"].values()) == list(fit.report["sets"].values())
    with Image.open(out.with_name("reliability.png")) as plot:
        assert plot.format == "PNG" and min(plot.size) > 300
    shown = capsys.readouterr().out
    assert f'"auroc": {report["all"]["auroc"]}' in shown and str(preset) in shown
    changed = [path.name for path, content in before.items() if path.read_bytes() != content]
    assert changed == ["metadata.json"]
    assert {path for path in preset.rglob("*") if path.is_file()} == set(before)


@pytest.mark.parametrize("data", ["flickr8k", "own=", "=a.json", "flicker8k=DIR"])
def test_a_data_set_without_name_or_path_is_refused(data, capsys):
    with pytest.raises(SystemExit):
        recipe.main(["confidence", "--model", "m", "--data", data, "--out", "o.json"])
    shown = capsys.readouterr().err
    assert "Expected a data set as NAME=PATH" in shown
    assert f"Received: {data!r}" in shown
