"""Sentences about shots, by a captioner of photographs that sees the mean of their features."""

import keras
import numpy as np
import pytest
from made_videos import write_video

from zoo import lrcn_captioner
from zoo.cli import main
from zoo.data.videos.reading import read_frames
from zoo.decoding import BeamSearch
from zoo.inference.describe_video import SAMPLES_PER_SECOND, ShotCaptioner
from zoo.models.backbones import image_encoder
from zoo.models.confidence import CaptionConfidence
from zoo.text.vocabulary import Vocabulary

WORDS = ["a", "red", "green", "field", "moves", "fast"]
RATE = 4


@pytest.fixture(scope="module")
def captioner():
    """A small captioner with random weights, whose sentences depend on the image."""
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(6, 4, strides=4)])
    vocabulary = Vocabulary(["<eos>", "<unk>", *WORDS])
    model = lrcn_captioner(
        image_encoder(network, (1 / 255, -0.5)),
        len(vocabulary),
        embedding_dim=8,
        lstm_units=12,
    )
    for variable in model.decoder.trainable_variables:
        variable.assign(keras.random.normal(variable.shape, stddev=0.8, seed=2))
    model.vocabulary = vocabulary
    model.sampler = BeamSearch(3)
    return model


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Two shots of two seconds, whose frames are all different."""
    rng = np.random.default_rng(3)
    frames = []
    for color in ((220, 20, 20), (20, 120, 20)):
        for _ in range(2 * RATE):
            frame = np.full((16, 16, 3), color, np.uint8)
            frame[4:12, 4:12] = rng.integers(60, 120)
            frames.append(frame)
    path = tmp_path_factory.mktemp("videos") / "film.avi"
    return write_video(path, frames, codec="ffv1", rate=RATE)


def sampled(film):
    """The frames of each shot that are encoded, float32 `(frames, 16, 16, 3)`."""
    frames = np.stack(list(read_frames(film))).astype("float32")
    step = RATE // SAMPLES_PER_SECOND
    return frames[: 2 * RATE : step], frames[2 * RATE :: step]


def test_sentence_of_a_shot_is_that_of_the_mean_of_its_features(captioner, film):
    results = list(ShotCaptioner(captioner).describe(film))
    assert [(r["start"], r["end"]) for r in results] == [(0, 2), (2, 4)]
    for result, squares in zip(results, sampled(film), strict=True):
        mean = captioner.encode(squares).mean(axis=0, keepdims=True)
        decoded = captioner.generate(mean, captioner.sampler)
        assert result["sentence"] == captioner.caption(mean)[0]
        assert result["log_prob"] == pytest.approx(decoded.log_probs[0, 0], rel=1e-4)
    # The mean is no frame: each alone gets another probability.
    alone = captioner.generate(sampled(film)[0], captioner.sampler).log_probs[:, 0]
    assert np.abs(alone - results[0]["log_prob"]).min() > 1e-4


def test_middle_frame_can_be_asked_for(captioner, film):
    describer = ShotCaptioner(captioner, pooling="middle")
    results = list(describer.describe(film))
    for result, squares in zip(results, sampled(film), strict=True):
        assert result["sentence"] == captioner.caption(squares[2:3])[0]
    assert describer.method() == "the middle frame of each shot"


def test_segments_of_a_given_length_take_the_place_of_shots(captioner, film):
    describer = ShotCaptioner(captioner)
    results = list(describer.describe(film, seconds=1))
    assert [(r["start"], r["end"]) for r in results] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert describer.method(1).endswith("the frames of each segment of 1 s")


def test_results_come_while_the_video_is_read(captioner, film):
    first = next(ShotCaptioner(captioner).describe(film))
    assert (first["start"], first["end"]) == (0, 2)


@pytest.mark.parametrize(("threshold", "unsure"), [(0.0, False), (1.0, True)])
def test_confidence_of_the_captioner_marks_sentences_that_are_unsure(
    captioner, film, tmp_path, monkeypatch, capsys, threshold, unsure
):
    confidence = CaptionConfidence(("log_prob_per_word",), (0,), (1,), (1,), 0, threshold)
    monkeypatch.setattr(captioner, "confidence", confidence)
    for result in ShotCaptioner(captioner).describe(film):
        assert 0 < result["confidence"] < 0.5  # a log-probability is below 0
        assert result["unsure"] == unsure
    captioner.save_to_preset(tmp_path / "captioner")
    with pytest.raises(SystemExit):
        main(["describe", "--captioner", str(tmp_path / "captioner"), str(film)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(line.endswith("(unsure)") == unsure for line in lines)


def test_unknown_pooling_is_refused(captioner):
    with pytest.raises(ValueError, match="mean, middle. Received: 'max'"):
        ShotCaptioner(captioner, pooling="max")
