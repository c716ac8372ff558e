"""The authors' captioners out of Caffe's files, against OpenCV's CNN and an LSTM in NumPy."""

import json

import numpy as np
import pytest
from caffe_files import lstm_blobs, numpy_lstm, write_net
from caffe_nets import CAFFENET, CAFFENET_SHAPES, VGG, VGG_SHAPES, opencv_layers, random_weights
from made_pictures import pictures

import zoo
from zoo.cli import main
from zoo.convert.caffe.captioners import fill_decoder, find_variant
from zoo.convert.caffe.convert import convert
from zoo.models.backbones.caffe_layouts import CaffeWeights
from zoo.models.captioner import lrcn_captioner
from zoo.text.vocabulary import Vocabulary

WORDS = ["<unk>", *(f"word{n}" for n in range(7))]  # as the authors' file begins; 9 with the end


def decoder_of(variant, image=4, width=3, units=5, words=9):
    """Layers of a captioner behind the CNN."""
    rng = np.random.default_rng(7)
    sees = {"1u": [1], "2u": [1, 0], "2f": [0, 1], "4f": [0, 1, 0, 0]}[variant]
    layers = {"embedding": [rng.normal(size=(words, width))]}
    for n, static in enumerate(sees, 1):
        inputs = width if n == 1 else units
        layers[f"lstm{n}"] = lstm_blobs(rng, inputs, units, image if static else None, 0.7)
    return layers | {"predict": [rng.normal(size=(words, units)), rng.normal(size=words)]}


def captioner_logits(layers, token_ids, markers, features):
    """Logits of Caffe's captioner: `(time, streams)` ids and markers, `(streams, image)`."""
    x = layers["embedding"][0][token_ids]
    for name in sorted(name for name in layers if name.startswith("lstm")):
        x = numpy_lstm(layers[name], x, markers, features)
    weight, bias = layers["predict"]
    return x @ weight.T + bias


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
    assert captioner.metadata["decoding"] == {"beam_size": 3, "length_penalty": 0.0}
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
    assert "LRCN-1u with 5 units on vgg16, fc8, 9 words." in conversion.about
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


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (decoder_of("2f", words=8), "has 8 words"),
        (decoder_of("2f"), "has no CNN, no layer conv1"),
        (decoder_of("2f") | {"lstm1": []}, "Expected lstm1, lstm2"),
        (decoder_of("1u") | {"lstm2": decoder_of("1u")["lstm1"]}, "Expected lstm1, lstm2"),
        (decoder_of("1u") | {"embedding": [np.zeros(9)]}, "no layer 'embedding' with such"),
    ],
)
def test_file_of_another_net_is_an_error(tmp_path, layers, message):
    path = write_net(tmp_path / "a.caffemodel", layers)
    vocabulary = read_authors_vocabulary_of(tmp_path, WORDS)
    with pytest.raises(ValueError, match=message):
        convert(path, "lrcn_captioner", vocabulary, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predict": [np.zeros((5, 9)), np.zeros(9)]}, r"shape \(5, 9\), which does not become"),
        ({"predict": [np.zeros((9, 5))]}, "has 1 blobs .* expected 2, for decoder/logits/kernel"),
        ({"predict": [np.zeros((9, 5)), np.full(9, np.nan)]}, "NaN"),
        ({"predict": [np.full((9, 5), 1e300), np.zeros(9)]}, "beyond float32"),
        ({"lstm1": [np.zeros((21, 3)), np.zeros(20), np.zeros((20, 5))]}, r"blob 0 of 'lstm1'"),
        ({"embedding": [np.zeros((2, 9, 3))]}, r"blob 0 of 'embedding'"),
    ],
)
def test_blob_of_another_shape_is_an_error(tmp_path, change, message):
    weights = CaffeWeights(
        write_net(tmp_path / "a.caffemodel", decoder_of("2f") | change, double=True)
    )
    captioner = lrcn_captioner(4, 9, "2f", embedding_dim=3, lstm_units=5)
    with pytest.raises(ValueError, match=message):
        fill_decoder(captioner.decoder, weights)


def read_authors_vocabulary_of(folder, words):
    path = folder / "words.txt"
    path.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return Vocabulary.load_authors(path)


def test_vocabularies_of_the_authors_and_of_ours_are_read(tmp_path):
    assert read_authors_vocabulary_of(tmp_path, WORDS).words == ("<eos>", *WORDS)
    assert read_authors_vocabulary_of(tmp_path, ["<eos>", *WORDS]).words == ("<eos>", *WORDS)
    odd = read_authors_vocabulary_of(tmp_path, ["<unk>", "a", ', "'])
    assert odd.words == ("<eos>", "<unk>", "a", ',_"')
    with pytest.raises(ValueError, match=r"words.txt: A vocabulary begins with"):
        read_authors_vocabulary_of(tmp_path, ["a", "dog"])
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="binary: 'utf-8' codec"):
        Vocabulary.load_authors(tmp_path / "binary")
    with pytest.raises(ValueError, match="binary: 'utf-8' codec"):
        Vocabulary.load(tmp_path / "binary")
