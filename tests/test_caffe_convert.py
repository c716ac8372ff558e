"""The authors' activity nets out of Caffe's files, against OpenCV's CNN and an LSTM in NumPy."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from caffe_files import lstm_blobs, numpy_lstm, write_layers, write_net
from caffe_nets import HYBRID, HYBRID_SHAPES, opencv_layers, random_weights
from made_pictures import pictures
from PIL import Image

import zoo
from zoo.cli import main
from zoo.convert.caffe.convert import convert
from zoo.convert.caffe.fingerprints import KNOWN, compare
from zoo.models.backbones.caffe_layouts import Moved

CLASSES = [f"Class{n}" for n in range(5)]


def lrcn_of(units=6, classes=5):
    """Layers behind fc6 of an activity net: LSTM and classifier."""
    rng = np.random.default_rng(0)
    head = {"lstm1": lstm_blobs(rng, 4096, units, spread=0.03)}
    return head | {"fc8-final": [rng.normal(size=(classes, units)), rng.normal(size=classes)]}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.fixture(scope="module")
def hybrid_file(tmp_path_factory):
    """A file with the hybrid up to fc6, to which each test adds what is behind it."""
    shapes = {name: shape for name, shape in HYBRID_SHAPES.items() if name != "fc7"}
    path = tmp_path_factory.mktemp("caffe") / "hybrid.caffemodel"
    yield write_net(path, random_weights(shapes))
    path.unlink()


def with_head(hybrid_file, path, head, *generation, **how):
    shutil.copy(hybrid_file, path)
    write_layers(path, head, *generation, **how)
    return path


def test_lrcn_says_of_two_clips_what_caffe_would_of_them_in_one_stream(
    hybrid_file, tmp_path, capsys
):
    head = lrcn_of()  # written as old files are, with four sides a blob
    path = with_head(hybrid_file, tmp_path / "a.caffemodel", head, 1, legacy=True)
    (tmp_path / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    options = ["--to", "lrcn_activity_recognizer", "--classes", str(tmp_path / "classes.txt")]
    video = tmp_path / "v_JugglingBalls_g01_c02"
    video.mkdir()
    for n, picture in enumerate(pictures(320)[:, :240]):  # two frames of 240 x 320
        Image.fromarray(picture.astype("uint8")).save(video / f"{n}.png")
    with pytest.raises(SystemExit) as end:
        main(["convert", str(path), *options, "--check-layers", str(video), str(tmp_path / "lrcn")])
    assert end.value.code == 0
    recognizer = zoo.from_preset(tmp_path / "lrcn")
    assert recognizer.class_names == CLASSES
    assert recognizer.clip_length == 16  # the recipe's `evaluate` cuts videos into such clips
    assert recognizer.get_config()["input_dropout"] == 0.9
    settings = {"rate": 30.0, "size": [240, 320], "clip_length": 16, "stride": 8}
    assert recognizer.metadata["frames"] == {"modality": "rgb", **settings}

    report = capsys.readouterr().out.splitlines()
    report, checked = report[:-13], report[-13:]
    assert len(report) == 1 + 2 * 6 + 3 + 2 + 3
    matrix = head["lstm1"][0].astype("float32")
    numbers = f"{matrix.min():.6f} {matrix.max():.6f}"
    row = f"lstm1 0 1x1x24x4096 lstm/lstm_cell/kernel 4096x24 {numbers}"
    assert row.split() in [line.split() for line in report]
    assert "LRCN with 6 units on caffenet_hybrid, fc6, rgb, 5 classes." in report[-3]
    assert "No minima and maxima are known" in report[-2]  # five classes are not UCF101's
    about = recognizer.metadata["about"]
    assert about == report[-3] and f"(SHA-256 {sha256(path)})" in about

    frames = pictures(227)[[0, 1, 1, 0, 1, 0]]
    mean = (103.939, 116.779, 128.68)  # of the authors' LSTMs, blue, green, red
    text = HYBRID[: HYBRID.index('layer { name: "fc7"')]
    fc6 = [opencv_layers(tmp_path, text, hybrid_file, ["fc6"], x, mean)[0][0] for x in frames]
    centers = pictures(320)[:, 6:233, 46:273]
    names = ["conv1", "norm1", "conv2", "norm2", "conv5", "fc6"]
    layers = opencv_layers(tmp_path, text, hybrid_file, names, centers[0], mean)
    expected = [pictures(320)[0, :240].mean(), (centers[0][..., ::-1] - mean).max()]
    expected += [layer.max() for layer in layers]
    last = opencv_layers(tmp_path, text, hybrid_file, ["fc6"], centers[1], mean)[0]
    states = numpy_lstm(head["lstm1"], np.stack([layers[-1], last]), np.array([[0], [1]]))
    logits = states @ head["fc8-final"][0].T + head["fc8-final"][1]
    expected += [states.min(), states.max(), logits.min(), logits.max()]
    expected += [np.exp(log_softmax(logits)).max()]
    found = [float(line.split()[-1]) for line in checked]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    assert "authors  1409.3700" in checked[2]

    markers = np.array([[0], [1], [1], [0], [1], [1]])  # two clips of three
    states = numpy_lstm(head["lstm1"], np.array(fc6)[:, None], markers)[:, 0]
    weight, bias = head["fc8-final"]
    expected = np.exp(log_softmax(states @ weight.T + bias)).reshape(2, 3, 5)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2  # the clips are told apart
    found = recognizer.classify(frames.reshape(2, 3, 227, 227, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "modality", "classifier", "mean"),
    [
        ("single_frame_hyb_flow.caffemodel", "flow", "fc8-ucf", (128, 128, 128)),
        ("single_frame_hyb_RGB", "rgb", "fc8", (103.939, 116.779, 123.68)),  # a fork's name
    ],
)
def test_single_frame_net_has_the_mean_pixel_of_its_modality(
    hybrid_file, tmp_path, name, modality, classifier, mean
):
    rng = np.random.default_rng(5)
    weight, bias = rng.normal(scale=0.01, size=(5, 4096)), rng.normal(size=5)
    head = random_weights({"fc7": (4096, 4096)}) | {classifier: [weight, bias]}
    path = with_head(hybrid_file, tmp_path / name, head)
    conversion = convert(path, "single_frame_recognizer", CLASSES, tmp_path / "single")
    assert conversion.comparison is None
    assert f"Single frames on caffenet_hybrid, fc7, {modality}, 5 classes." in conversion.about
    features = opencv_layers(tmp_path, HYBRID, path, ["fc7"], pictures(227)[0], mean)[0]
    expected = np.exp(log_softmax(features @ weight.T + bias))
    recognizer = zoo.from_preset(tmp_path / "single")
    found = recognizer.classify(pictures(227)[:1, None])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert recognizer.metadata["frames"]["modality"] == modality


def test_file_with_the_layers_of_the_authors_is_compared_with_theirs(hybrid_file, tmp_path):
    path = with_head(hybrid_file, tmp_path / "mine.caffemodel", lrcn_of(256, 101))
    classes = [f"Class{n}" for n in range(101)]
    conversion = convert(path, "lrcn_activity_recognizer", classes, tmp_path / "lrcn")
    comparison = conversion.comparison
    assert (comparison.file, comparison.agree) == ("RGB_lstm_model_iter_30000.caffemodel", 0)
    about = json.loads((tmp_path / "lrcn" / "metadata.json").read_text())["about"]
    assert about == f"{conversion.about} {comparison.sentence}"


def test_left_over_weights_are_an_error_and_write_nothing(hybrid_file, tmp_path):
    head = lrcn_of() | {"fc9": [np.zeros((3, 2))]}
    path = with_head(hybrid_file, tmp_path / "a.caffemodel", head)
    with pytest.raises(ValueError, match=r"has no place: fc9 \[\(3, 2\)\]"):
        convert(path, "lrcn_activity_recognizer", CLASSES, tmp_path / "out")
    assert not (tmp_path / "out").exists()


CONV1 = {"conv1": [np.zeros((2, 3, 5, 5)), np.zeros(2)]}


@pytest.mark.parametrize(
    ("layers", "to", "message"),
    [
        (lrcn_of(), "lrcn_activity_recognizer", "has no CNN, no layer conv1"),
        (lrcn_of() | CONV1, "lrcn_activity_recognizer", "begins with 5 x 5 pixels"),
        (lrcn_of(), "single_frame_recognizer", "look like those of lrcn_activity_recognizer"),
        (lrcn_of(), "lrcn_captioner", "look like those of lrcn_activity_recognizer"),
        ({"fc8": [np.zeros((5, 2))]}, "lrcn_activity_recognizer", "of single_frame_recognizer"),
        ({"embedding": [np.zeros((9, 2))]}, "single_frame_recognizer", "those of lrcn_captioner"),
        ({"lstm1": lrcn_of()["lstm1"]}, "lrcn_activity_recognizer", "expected one layer `fc8-"),
        (
            {"fc8-a": [np.zeros((5, 2))], "fc8-b": [np.zeros((5, 2))]},
            "single_frame_recognizer",
            "expected one layer .* Layers with weights: fc8-a, fc8-b",
        ),
        ({"fc8-ucf": [np.zeros((4, 6)), np.zeros(4)]}, "single_frame_recognizer", "has 4 classes"),
        ({"fc8-ucf": [np.zeros(5)]}, "single_frame_recognizer", "no layer 'fc8-ucf' with such"),
        (  # of this many units nothing is built
            lrcn_of() | {"lstm1": [*lrcn_of()["lstm1"][:2], np.zeros((1, 10**6))]},
            "lrcn_activity_recognizer",
            "expected an LSTM's, four rows a unit",
        ),
    ],
)
def test_file_of_another_net_is_an_error(tmp_path, layers, to, message):
    path = write_net(tmp_path / "a.caffemodel", layers)
    with pytest.raises(ValueError, match=message):
        convert(path, to, CLASSES, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folder_with_something_else_is_refused_before_the_file_is_read(tmp_path):
    for n in range(30):
        (tmp_path / f"letter{n:02}.txt").write_text("Dear")
    with pytest.raises(ValueError, match="holds something else .* letter19.txt, .... Choose"):
        convert(tmp_path / "nowhere", "single_frame_recognizer", CLASSES, tmp_path)


def known_blobs(**changed):
    known = next(iter(KNOWN.values()))
    return [
        Moved(layer, blob, (101, 256), "", (), changed.get(layer, low), high or 0.0)
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
    assert compare([blob._replace(shape=(2, 256)) for blob in known_blobs()]) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "lrcn_captioner"], "needs --vocabulary FILE"),
        (["--to", "single_frame_recognizer"], "needs --classes FILE"),
        (["--to", "lrcn_captioner", "--vocabulary", "a", "--classes", "b"], "does not go with"),
        (["--to", "lrcn_captioner", "--vocabulary", "a", "--modality", "rgb"], "does not go with"),
        (
            ["--to", "single_frame_recognizer", "--classes", "a", "--check-layers", "b"],
            "does not go with",
        ),
        (["--to", "vgg16"], "invalid choice"),
    ],
)
def test_options_that_do_not_go_together_are_said(capsys, options, message):
    with pytest.raises(SystemExit) as end:
        main(["convert", "a.caffemodel", *options, "out"])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_layers_of_another_video_were_not_noted(tmp_path):
    (tmp_path / "classes.txt").write_text("Archery\n")
    options = ["--to", "lrcn_activity_recognizer", "--classes", str(tmp_path / "classes.txt")]
    with pytest.raises(SystemExit, match="noted layers of v_JugglingBalls_g01_c02 and v_Military"):
        main(["convert", "nowhere", *options, "--check-layers", "v_Archery_g01_c01.avi", "out"])


def test_classes_are_names_or_those_of_ucf101(tmp_path, capsys):
    path = write_net(tmp_path / "a.caffemodel", {"fc8-ucf": [np.zeros((3, 6)), np.zeros(3)]})
    for text in ("Archery\nBowling\n", "1 Archery\n2 Bowling\n"):
        (tmp_path / "classes.txt").write_text(text)
        options = ["--to", "single_frame_recognizer", "--classes", str(tmp_path / "classes.txt")]
        with pytest.raises(SystemExit, match="has 3 classes.*there are 2 names"):
            main(["convert", str(path), *options, str(tmp_path / "out")])
