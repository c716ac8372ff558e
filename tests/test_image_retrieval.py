"""The recipe ranks a split as the model scores it, goes on where it was stopped, and exports."""

import json
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from serving_models import WORDS, tiny_captioner

from zoo.data.images.decode import read_images
from zoo.evaluation.retrieval import correct_by_prior, evaluate
from zoo.models import pair_scores
from zoo.presets import from_preset
from zoo.text.vocabulary import Vocabulary

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "recipes"))

import image_retrieval as recipe

CAPTIONS = [
    ["a red square", "a blue square on grass"],
    ["a café", "red on red"],
    ["a square", "grass"],
    ["a red café", "blue on blue grass"],
    ["on grass", "a square on a square"],
    ["blue", "a blue café on red"],
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("shapes"), np.random.default_rng(0)
    entries = []
    for n in range(6):
        pixels = random.integers(0, 256, (2, 2, 3), np.uint8).repeat(10, 0).repeat(12, 1)
        Image.fromarray(pixels).save(folder / f"{n}.png")
        entries.append({"file_path": f"{n}.png", "captions": CAPTIONS[n], "split": "val"})
    (folder / "captions.json").write_text(json.dumps(entries))
    return folder


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    captioner = tiny_captioner()
    captioner.vocabulary = Vocabulary(WORDS)
    captioner.prior_features = np.random.default_rng(5).normal(size=(7, 6)).astype("float32")
    captioner.save_to_preset(folder)
    return folder


def arguments(preset, data, out):
    named = {"model": preset, "data": f"own={data / 'captions.json'}", "out": out}
    named |= {"split": "val", "cache": out.parent / "features"}
    return ["evaluate", *[str(text) for name, v in named.items() for text in (f"--{name}", v)]]


def expected(preset, data, prior=True, end=False):
    captioner = from_preset(preset)
    paths = [str(data / f"{n}.png") for n in range(6)]
    images = np.stack([x for _, x in read_images(paths, 16).as_numpy_iterator()])
    sentences = sum(CAPTIONS, [])

    def score(seen):
        return np.stack([captioner.score(np.stack([x] * 12), sentences, end)[0] for x in seen])

    scores = score(images)
    if prior:
        scores, _ = correct_by_prior(scores, score(captioner.prior_features))
    return evaluate(scores, np.repeat(np.arange(6), 2))


@pytest.mark.parametrize(
    ("more", "settings"),
    [([], {}), (["--no-prior"], {"prior": False}), (["--end"], {"end": True})],
)
def test_metrics_are_those_of_the_models_scores(preset, data, tmp_path, more, settings, capsys):
    out = tmp_path / "metrics.json"
    recipe.main([*arguments(preset, data, out), *more])
    assert json.loads(out.read_text()) == pytest.approx(expected(preset, data, **settings))
    page = (tmp_path / "metrics.html").read_text()
    assert page.count("<figure") == 6 + 10 * 5 and "✓" in page
    assert ("7 images of the preset" in capsys.readouterr().err) == ("--no-prior" not in more)


def test_stopped_evaluation_goes_on(preset, data, tmp_path, monkeypatch):
    monkeypatch.setattr(pair_scores, "SENTENCES", 2)
    score, walked = pair_scores._Walk.score, []

    def stop_at_the_third(self, trie, *rest):
        walked.append(trie)
        if len(walked) == 3:
            raise KeyboardInterrupt
        return score(self, trie, *rest)

    monkeypatch.setattr(pair_scores._Walk, "score", stop_at_the_third)
    out = tmp_path / "metrics.json"
    with pytest.raises(KeyboardInterrupt):
        recipe.main(arguments(preset, data, out))
    assert not out.exists()
    recipe.main(arguments(preset, data, out))
    assert json.loads(out.read_text()) == pytest.approx(expected(preset, data))
    assert len(walked) == 3 + 4 + 6  # the third again and what follows, and the prior's six


def test_folds_and_fewer_images_can_be_asked_for(preset, data, tmp_path):
    out = tmp_path / "metrics.json"
    recipe.main([*arguments(preset, data, out), "--num-images", "4", "--folds", "2"])
    metrics = json.loads(out.read_text())
    assert metrics["text_to_image_recall_at_5"] == 1.0  # of two images
    with pytest.raises(SystemExit, match="3 equal parts"):
        recipe.main([*arguments(preset, data, out), "--num-images", "4", "--folds", "3"])


def test_export_leaves_a_model_that_ranks(preset, tmp_path, capsys):
    recipe.main(["export", "--model", str(preset), "--saved-models", str(tmp_path)])
    version = capsys.readouterr().out.strip()
    assert version == str(tmp_path / "lrcn_retrieval" / "1")
    assert "prior" in tf.saved_model.load(version).signatures
