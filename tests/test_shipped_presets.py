"""The trained models that come with the package: they are there, documented, and good."""

import numpy as np
import pytest

from zoo.data import datasets
from zoo.data.photographs import Photographs
from zoo.presets import SHIPPED, from_preset, presets
from zoo.training.report import evaluate_captioner

CAPTIONER = "lrcn_captioner_efficientnet_lite0_flickr8k"


def test_every_preset_is_small_and_says_where_it_comes_from():
    assert CAPTIONER in presets()
    for name, metadata in presets().items():
        assert metadata["megabytes"] <= 25
        for key in ("about", "data", "terms", "limits", "command", "seed", "scores", "decoding"):
            assert metadata[key], f"{name} lacks {key}"
        card = (SHIPPED / name / "README.md").read_text(encoding="utf-8")
        assert metadata["terms"] in card and metadata["command"] in card


def test_the_captioner_reached_what_was_asked_of_it():
    scores = presets()[CAPTIONER]["scores"]
    assert scores["bleu_4"] >= 0.195 and scores["cider"] >= 0.46


def test_the_captioner_sees_what_is_in_a_picture(real_data):
    captioner = from_preset(CAPTIONER)
    dev = datasets.read("flickr8k", real_data / "flickr8k", "dev")[:8]
    from zoo.data.images import read_images

    paths = [example.path for example in dev]
    images = np.stack([image for _, image in read_images(paths, 224).as_numpy_iterator()])
    ours = captioner.caption(images)
    assert len(set(ours)) > 4 and all(3 < len(caption.split()) < 20 for caption in ours)
    own = captioner.score(images, [example.captions[0] for example in dev])[0]
    others = captioner.score(images[::-1], [example.captions[0] for example in dev])[0]
    assert own.mean() > others.mean() + 2  # nats: a caption fits its own picture better


@pytest.mark.slow
def test_the_captioner_scores_what_its_card_says(real_data, tmp_path):
    captioner = from_preset(CAPTIONER)
    dev = datasets.read("flickr8k", real_data / "flickr8k", "dev")
    photos = Photographs(dev, captioner.image_encoder, tmp_path)
    decoding = captioner.metadata["decoding"]
    scores = evaluate_captioner(captioner, photos, decoding, 20, tmp_path / "metrics.json")
    for name in ("bleu_1", "bleu_4", "cider", "rouge_l", "perplexity"):
        assert scores[name] == pytest.approx(captioner.metadata["scores"][name], rel=2e-3)
