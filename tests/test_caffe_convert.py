"""The authors' models out of Caffe's files, against OpenCV's CNN and an LSTM in plain NumPy."""

import json
import shutil

import numpy as np
import pytest
from caffe_files import (
    CAFFENET,
    CAFFENET_SHAPES,
    HYBRID,
    HYBRID_SHAPES,
    VGG,
    VGG_SHAPES,
    lstm_blobs,
    numpy_lstm,
    opencv_layers,
    random_weights,
    write_layers,
    write_net,
)
from made_pictures import pictures

import zoo
from zoo.caffe.convert import (
    convert,
    fill_decoder,
    find_variant,
    read_authors_vocabulary,
)
from zoo.caffe.fingerprints import KNOWN, compare
from zoo.caffe.layouts import CaffeWeights, Moved
from zoo.cli import main
from zoo.models.captioner import lrcn_captioner

CLASSES = [f"Class{n}" for n in range(5)]
WORDS = ["<unk>", *(f"word{n}" for n in range(7))]  # as the authors' file begins; 9 with the end


def lrcn_of(seed=0):
    """Layers behind fc6 of an activity net: LSTM and classifier."""
    rng = np.random.default_rng(seed)
    head = {"lstm1": lstm_blobs(rng, 4096, 6, spread=0.03)}
    return head | {"fc8-final": [rng.normal(size=(5, 6)), rng.normal(size=5)]}


def decoder_of(variant, image=4, width=3, units=5, words=9):
    """Layers of a captioner behind the CNN."""
    rng = np.random.default_rng(7)
    sees = {"1u": [1], "2u": [1, 0], "2f": [0, 1], "4f": [0, 1, 0, 0]}[variant]
    layers = {"embedding": [rng.normal(size=(words, width))]}
    for n, static in enumerate(sees, 1):
        inputs = width if n == 1 else units
        layers[f"lstm{n}"] = lstm_blobs(rng, inputs, units, image if static else None, 0.7)
    return layers | {"predict": [rng.normal(size=(words, units)), rng.normal(size=words)]}


def log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def captioner_logits(layers, token_ids, markers, features):
    """Logits of Caffe's captioner: `(time, streams)` ids and markers, `(streams, image)`."""
    x = layers["embedding"][0][token_ids]
    for name in sorted(name for name in layers if name.startswith("lstm")):
        x = numpy_lstm(layers[name], x, markers, features)
    weight, bias = layers["predict"]
    return x @ weight.T + bias


@pytest.fixture(scope="module")
def hybrid_file(tmp_path_factory):
    """A file with the hybrid up to fc6, to which each test adds what is behind it."""
    shapes = {name: shape for name, shape in HYBRID_SHAPES.items() if name != "fc7"}
    path = tmp_path_factory.mktemp("caffe") / "hybrid.caffemodel"
    yield write_net(path, random_weights(shapes))
    path.unlink()


@pytest.fixture
def lrcn_file(hybrid_file, tmp_path):
    path = shutil.copy(hybrid_file, tmp_path / "lstm.caffemodel")
    write_layers(path, lrcn_of())
    yield path
    path.unlink()


def test_lrcn_says_of_two_clips_what_caffe_would_of_them_in_one_stream(lrcn_file, tmp_path):
    frames = pictures(227)[[0, 1, 1, 0, 1, 0]]
    conversion = convert(lrcn_file, "lrcn_activity_recognizer", CLASSES, tmp_path / "lrcn")
    recognizer = zoo.from_preset(tmp_path / "lrcn")
    assert recognizer.class_names == CLASSES
    settings = {"rate": 30.0, "size": [240, 320], "clip_length": 16, "stride": 8}
    assert recognizer.metadata["frames"] == {"modality": "rgb", **settings}
    assert [blob.layer for blob in conversion.moved[-5:]] == ["lstm1"] * 3 + ["fc8-final"] * 2

    mean = (103.939, 116.779, 128.68)  # of the authors' LSTMs, blue, green, red
    text = HYBRID[: HYBRID.index('layer { name: "fc7"')]
    fc6 = [opencv_layers(tmp_path, text, lrcn_file, ["fc6"], x, mean)[0][0] for x in frames]
    head, markers = lrcn_of(), np.array([[0], [1], [1], [0], [1], [1]])  # two clips of three
    states = numpy_lstm(head["lstm1"], np.array(fc6)[:, None], markers)[:, 0]
    weight, bias = head["fc8-final"]
    expected = np.exp(log_softmax(states @ weight.T + bias)).reshape(2, 3, 5)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2  # the clips are told apart
    found = recognizer.classify(frames.reshape(2, 3, 227, 227, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_single_frame_net_on_flow_is_told_by_its_name(hybrid_file, tmp_path):
    path = shutil.copy(hybrid_file, tmp_path / "single_frame_hyb_flow.caffemodel")
    rng = np.random.default_rng(5)
    weight, bias = rng.normal(scale=0.01, size=(5, 4096)), rng.normal(size=5)
    fc7 = random_weights({"fc7": (4096, 4096)})
    write_layers(path, fc7 | {"fc8-ucf": [weight, bias]})
    recognizer = convert(path, "single_frame_recognizer", CLASSES, tmp_path / "single").model
    features = opencv_layers(tmp_path, HYBRID, path, ["fc7"], pictures(227)[0], (128,) * 3)[0]
    expected = np.exp(log_softmax(features @ weight.T + bias))
    found = recognizer.classify(pictures(227)[:1, None])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    metadata = json.loads((tmp_path / "single" / "metadata.json").read_text())
    assert metadata["frames"]["modality"] == "flow"


def test_converted_captioner_reads_as_caffe_would_and_every_blob_is_reported(tmp_path, capsys):
    layers = decoder_of("2f", image=1000)
    layers["lstm2"][2] /= 20
    cnn = random_weights(CAFFENET_SHAPES)
    cnn["fc8"] = [array / 80 for array in cnn["fc8"]]  # features of about 1
    path = write_net(tmp_path / "lrcn.caffemodel", cnn | layers)
    (tmp_path / "words.txt").write_text("".join(f"{word}\n" for word in WORDS))
    options = ["--to", "lrcn_captioner", "--vocabulary", str(tmp_path / "words.txt"), "--json"]
    with pytest.raises(SystemExit) as end:
        main(["convert", str(path), *options, str(tmp_path / "captioner")])
    assert end.value.code == 0
    report = json.loads(capsys.readouterr().out)
    assert report["fingerprint"] is None
    blobs = {(blob["layer"], blob["blob"]): blob for blob in report["blobs"]}
    assert len(blobs) == len(report["blobs"]) == 2 * 8 + 1 + 3 + 4 + 2
    image = blobs["lstm2", 2]
    assert image["shape"] == [20, 1000] and image["variable_shape"] == [1000, 20]
    assert image["variable"] == "decoder/lstm2_image/kernel"
    assert image["minimum"] == pytest.approx(layers["lstm2"][2].min())
    assert image["maximum"] == pytest.approx(layers["lstm2"][2].max())

    captioner = zoo.from_preset(tmp_path / "captioner")
    assert captioner.vocabulary.words == ("<eos>", *WORDS)
    # Caffe cuts the middle out of a picture of 256 pixels: 14 above and left, 15 below and right.
    picture = pictures(256)[0]
    mean = (104, 117, 123)
    middle = picture[14:241, 14:241]
    features = opencv_layers(tmp_path, CAFFENET, path, ["fc8"], middle, mean)[0]
    np.testing.assert_allclose(captioner.encode(picture[None]), features, rtol=1e-3, atol=1e-4)
    assert 0.3 < features.std() < 3
    token_ids, markers = np.array([[0, 3, 8, 2, 5]]), np.array([[0, 1, 1, 1, 1]])
    expected = captioner_logits(layers, token_ids.T, markers.T, features)[:, 0]
    found = np.asarray(captioner({"image": picture[None], "token_ids": token_ids}))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert all(word in WORDS for word in captioner.caption(picture[None])[0].split())


@pytest.mark.slow
def test_captioner_on_vgg16_sees_the_middle_of_253_pixels(tmp_path):
    cnn = random_weights(VGG_SHAPES)
    path = write_net(
        tmp_path / "vgg.caffemodel", cnn | decoder_of("1u", image=1000), 1, legacy=True
    )
    vocabulary = read_authors_vocabulary_of(tmp_path, WORDS)
    conversion = convert(path, "lrcn_captioner", vocabulary, tmp_path / "captioner")
    assert "LRCN-1u with 5 units on vgg16" in conversion.about
    captioner = zoo.from_preset(tmp_path / "captioner")
    picture = pictures(253)[0]
    middle = picture[14:238, 14:238]
    features = opencv_layers(tmp_path, VGG, path, ["fc8"], middle, (104, 117, 123))[0]
    error = np.abs(captioner.encode(picture[None]) - features).max()
    assert error < 1e-4 * np.abs(features).max()


@pytest.mark.parametrize("variant", ["1u", "2u", "2f", "4f"])
def test_decoder_equals_a_numpy_lstm_on_a_stream_of_sentences(tmp_path, variant):
    layers = decoder_of(variant)
    weights = CaffeWeights(write_net(tmp_path / "a.caffemodel", layers))
    assert find_variant(weights) == variant
    captioner = lrcn_captioner(4, 9, variant, embedding_dim=3, lstm_units=5)
    fill_decoder(captioner.decoder, weights)
    weights.check_nothing_left()
    rng = np.random.default_rng(1)
    token_ids = np.concatenate([np.zeros((6, 1), int), rng.integers(1, 9, (6, 3))], axis=1)
    features = rng.normal(size=(3, 4))
    # Three streams, in each one sentence after another; a marker of 0 begins a sentence.
    stream = token_ids.reshape(2, 3, 4).transpose(0, 2, 1).reshape(8, 3)
    markers = np.array([0, 1, 1, 1] * 2)[:, None].repeat(3, 1)
    expected = captioner_logits(layers, stream, markers, features)
    inputs = {"features": np.tile(features, (2, 1)), "token_ids": token_ids}
    found = np.asarray(captioner(inputs)).reshape(2, 3, 4, 9).transpose(0, 2, 1, 3)
    np.testing.assert_allclose(found.reshape(8, 3, 9), expected, rtol=1e-5, atol=1e-5)


def test_left_over_weights_are_an_error_and_write_nothing(lrcn_file, tmp_path):
    write_layers(lrcn_file, {"fc9": [np.zeros((3, 2))]})
    with pytest.raises(ValueError, match=r"has no place: fc9 \[\(3, 2\)\]"):
        convert(lrcn_file, "lrcn_activity_recognizer", CLASSES, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("layers", "to", "message"),
    [
        (lrcn_of(), "lrcn_activity_recognizer", "no matrix 0 of a layer 'conv1'"),
        ({"lstm1": lrcn_of()["lstm1"]}, "lrcn_activity_recognizer", "expected the last layer"),
        (
            {"fc8-a": [np.zeros((5, 2))], "fc8-b": [np.zeros((5, 2))]},
            "single_frame_recognizer",
            "one only. Layers with weights: fc8-a, fc8-b",
        ),
        ({"fc8-ucf": [np.zeros((4, 6)), np.zeros(4)]}, "single_frame_recognizer", "has 4 classes"),
        (decoder_of("2f", words=8), "lrcn_captioner", "has 8 words"),
        (decoder_of("2f"), "lrcn_captioner", "no matrix 0 of a layer 'conv1'"),
        (decoder_of("2f") | {"lstm1": []}, "lrcn_captioner", "Expected lstm1, lstm2"),
        (decoder_of("1u") | {"lstm2": decoder_of("1u")["lstm1"]}, "lrcn_captioner", "lstm1, lstm2"),
    ],
)
def test_file_of_another_net_is_an_error(tmp_path, layers, to, message):
    path = write_net(tmp_path / "a.caffemodel", layers)
    vocabulary = read_authors_vocabulary_of(tmp_path, WORDS)
    with pytest.raises(ValueError, match=message):
        convert(path, to, vocabulary if to == "lrcn_captioner" else CLASSES, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predict": [np.zeros((5, 9)), np.zeros(9)]}, r"shape \(5, 9\), which does not become"),
        ({"predict": [np.zeros((9, 5))]}, "has 1 blobs .* expected 2, for decoder/logits/kernel"),
        ({"predict": [np.zeros((9, 5)), np.full(9, np.nan)]}, "NaN"),
        ({"lstm1": [np.zeros((21, 3)), np.zeros(20), np.zeros((20, 5))]}, r"blob 0 of 'lstm1'"),
        ({"embedding": [np.zeros((2, 9, 3))]}, r"blob 0 of 'embedding'"),
    ],
)
def test_blob_of_another_shape_is_an_error(tmp_path, change, message):
    weights = CaffeWeights(write_net(tmp_path / "a.caffemodel", decoder_of("2f") | change))
    captioner = lrcn_captioner(4, 9, "2f", embedding_dim=3, lstm_units=5)
    with pytest.raises(ValueError, match=message):
        fill_decoder(captioner.decoder, weights)


def read_authors_vocabulary_of(folder, words):
    path = folder / "words.txt"
    path.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return read_authors_vocabulary(path)


def test_vocabularies_of_the_authors_and_of_ours_are_read(tmp_path):
    assert read_authors_vocabulary_of(tmp_path, WORDS).words == ("<eos>", *WORDS)
    assert read_authors_vocabulary_of(tmp_path, ["<eos>", *WORDS]).words == ("<eos>", *WORDS)
    odd = read_authors_vocabulary_of(tmp_path, ["<unk>", "a", ', "'])
    assert odd.words == ("<eos>", "<unk>", "a", ',_"')
    with pytest.raises(ValueError, match=r"words.txt: A vocabulary begins with"):
        read_authors_vocabulary_of(tmp_path, ["a", "dog"])


def known_blobs(**changed):
    name, known = next(iter(KNOWN.items()))
    return [
        Moved(layer, blob, (), "", (), changed.get(layer, low), high or 0.0)
        for (layer, blob), (low, high) in known.items()
    ]


def test_known_numbers_tell_the_authors_file_from_another():
    comparison = compare(known_blobs())
    assert comparison.agree == comparison.known == 22
    assert "These are the authors' weights: all 22" in comparison.sentence
    comparison = compare(known_blobs(conv3=-0.1))
    assert comparison.agree == 20
    assert "These are NOT" in comparison.sentence
    assert "minimum of conv3, blob 0, is -0.100000 instead of -0.108224" in comparison.sentence
    others = [blob._replace(minimum=-9.0, maximum=9.0) for blob in known_blobs()]
    assert "the weights are others" in compare(others).sentence
    assert compare(known_blobs()[1:]) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "lrcn_captioner"], "needs --vocabulary FILE"),
        (["--to", "single_frame_recognizer"], "needs --classes FILE"),
        (["--to", "lrcn_captioner", "--vocabulary", "a", "--classes", "b"], "does not go with"),
        (["--to", "lrcn_captioner", "--vocabulary", "a", "--modality", "rgb"], "does not go with"),
        (["--to", "vgg16"], "invalid choice"),
    ],
)
def test_options_that_do_not_go_together_are_said(capsys, options, message):
    with pytest.raises(SystemExit) as end:
        main(["convert", "a.caffemodel", *options, "out"])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_classes_are_names_or_those_of_ucf101(tmp_path, capsys):
    path = write_net(tmp_path / "a.caffemodel", {"fc8-ucf": [np.zeros((3, 6)), np.zeros(3)]})
    for text in ("Archery\nBowling\n", "1 Archery\n2 Bowling\n"):
        (tmp_path / "classes.txt").write_text(text)
        options = ["--to", "single_frame_recognizer", "--classes", str(tmp_path / "classes.txt")]
        with pytest.raises(SystemExit, match="has 3 classes.*there are 2 names"):
            main(["convert", str(path), *options, str(tmp_path / "out")])
