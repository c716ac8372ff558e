"""The public API, as a Keras user expects it."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from made_videos import grey, write_video
from PIL import Image

import zoo
from zoo.decoding import BeamSearch, Constraints
from zoo.models.backbones import image_encoder
from zoo.models.confidence import CaptionConfidence
from zoo.text.vocabulary import Vocabulary

WORDS = ["<eos>", "<unk>", "a", "dog", "runs", "cat", "sleeps"]
CONFIDENCE = CaptionConfidence(["largest_gain"], [0.1], [0.2], [0.7], bias=-0.3, threshold=0.4)
SIDE = 8


def make_encoder():
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(4, 3, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ]
    )
    return image_encoder(network, (1 / 255, 0.0))


@pytest.fixture(scope="module")
def captioner():
    model = zoo.lrcn_captioner(make_encoder(), len(WORDS), lstm_units=6, embedding_dim=5)
    model.adapt(model.encode(photographs()))
    model.vocabulary = Vocabulary(WORDS)
    model.sampler = BeamSearch(4, length_penalty=0.7)
    model.constraints = Constraints(forbidden_ids=(1,), no_repeat_ngram=2)
    model.confidence = CONFIDENCE
    model.prior_features = np.ones((2, model.feature_dim), "float32")
    return model


def photographs(count=3):
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), "uint8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three pictures as files without loss."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, pixels in enumerate(photographs()):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def expected(captioner):
    return captioner.caption(photographs())


def test_public_names_are_listed():
    names = {"LRCNCaptioner", "LRCNActivityRecognizer", "LRCNVideoDescriber", "from_preset"}
    assert names | {"lrcn_captioner", "SemanticRoleRecognizer"} <= set(dir(zoo))
    assert zoo.__version__.count(".") == 2
    assert all(getattr(zoo, name) is not None for name in dir(zoo))


@pytest.mark.parametrize("form", [str, pathlib.Path, Image.open])
def test_one_image_gives_one_sentence_in_every_form(form, captioner, folder, expected):
    assert captioner.caption(form(folder / "1.png")) == expected[1]


@pytest.mark.parametrize("number_type", ["uint8", "int64", "float32", "float64"])
def test_arrays_of_every_number_type_give_the_same_sentence(number_type, captioner, expected):
    pixels = photographs()[2].astype(number_type)
    assert captioner.caption(pixels) == expected[2]
    assert captioner.caption([pixels]) == [expected[2]]
    assert captioner.caption(pixels[None]) == [expected[2]]


def test_list_of_different_forms_gives_a_list_of_sentences(captioner, folder, expected):
    images = [folder / "0.png", Image.open(folder / "1.png"), photographs()[2]]
    assert captioner.caption(images) == expected


def test_image_of_another_size_is_resized_as_in_training(captioner, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (30, 50, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "large.png")
    from_file = captioner.encode(tmp_path / "large.png")
    np.testing.assert_allclose(captioner.encode(pixels), from_file, atol=1e-4)
    np.testing.assert_allclose(captioner.encode([pixels, pixels])[1:], from_file, atol=1e-4)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_pil_images_of_other_modes_are_converted_to_rgb(mode, captioner):
    image = Image.fromarray(photographs()[0]).convert(mode)
    features = captioner.encode(np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(captioner.encode(image), features)


def test_gray_and_transparent_arrays_are_converted_to_rgb(captioner):
    gray = photographs()[0, ..., 0]
    as_rgb = np.repeat(gray[..., None], 3, axis=-1)
    np.testing.assert_array_equal(captioner.encode(gray), captioner.encode(as_rgb))
    np.testing.assert_array_equal(captioner.encode(gray[..., None]), captioner.encode(as_rgb))
    rgba = np.concatenate([photographs()[0], gray[..., None]], axis=-1)
    np.testing.assert_array_equal(captioner.encode(rgba), captioner.encode(photographs()[0]))


def test_photograph_that_lies_on_its_side_is_turned_upright(captioner, tmp_path):
    image = Image.fromarray(photographs()[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn to the right
    image.save(tmp_path / "turned.jpg", exif=exif, quality=100, subsampling=0)
    image.save(tmp_path / "plain.jpg", quality=100, subsampling=0)
    turned = captioner.encode(Image.open(tmp_path / "turned.jpg"))
    plain = np.asarray(Image.open(tmp_path / "plain.jpg"))
    np.testing.assert_allclose(turned, captioner.encode(np.rot90(plain, -1)), atol=1e-4)
    np.testing.assert_allclose(turned, captioner.encode(tmp_path / "turned.jpg"), atol=0.1)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (photographs()[0] / 255.0, "looks like an image scaled to 0..1"),
        (photographs()[0] / 127.5 - 1, "Expected pixels in 0..255. Received: -1 to"),
        (photographs()[0] * 2.0, "Expected pixels in 0..255"),
        (np.full((SIDE, SIDE, 3), np.nan), "Expected pixels in 0..255"),
        (np.zeros((SIDE, SIDE, 5), "uint8"), r"shape \(8, 8, 5\)"),
        (np.zeros((2, 2, SIDE, SIDE, 3), "uint8"), r"shape \(2, 8, 8, 3\)"),
        ([], "at least one image"),
        ("https://example.com/photo.jpg", "Download it first"),
    ],
)
def test_unusable_images_are_errors_that_state_what_is_expected(images, message, captioner):
    with pytest.raises(ValueError, match=message):
        captioner.caption(images)


def test_pixels_that_rounding_took_beyond_255_are_accepted(captioner):
    pixels = photographs()[0].astype("float32")
    pixels[0, 0] = 255.00003
    assert captioner.caption(pixels)


def test_missing_and_damaged_files_are_errors_that_name_the_file(captioner, tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.jpg"):
        captioner.caption(tmp_path / "missing.jpg")
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ValueError, match="text.jpg cannot be read: not an image"):
        captioner.caption(tmp_path / "text.jpg")


def test_n_best_sentences_of_an_image_come_best_first(captioner, expected):
    rows = captioner.caption(list(photographs()), n_best=3)
    assert [len(row) for row in rows] == [3, 3, 3]
    assert [row[0] for row in rows] == expected
    assert captioner.caption(photographs()[0], sampler=BeamSearch(5), n_best=2)[0]


def test_generate_decodes_as_caption_does(captioner, expected):
    decoded = captioner.generate(photographs())
    assert [captioner.vocabulary.decode(ids[0]) for ids in decoded.token_ids] == expected


def test_score_of_one_image_and_one_sentence_is_a_number(captioner, folder):
    log_prob, word_log_probs = captioner.score(folder / "0.png", "a dog runs")
    assert isinstance(log_prob, float)
    assert log_prob == pytest.approx(word_log_probs.sum(), abs=1e-5)
    sentences = ["a dog runs", "a cat"]
    several, _ = captioner.score(folder / "0.png", sentences)
    assert several[0] == pytest.approx(log_prob, abs=1e-5)
    one_by_one = [captioner.score(folder / "0.png", sentence)[0] for sentence in sentences]
    np.testing.assert_allclose(several, one_by_one, atol=1e-5)


@pytest.mark.parametrize("form", ["preset", "keras"])
def test_saved_captioner_gives_the_same_sentences_in_a_new_process(
    form, captioner, folder, expected, tmp_path
):
    path = tmp_path / ("saved" if form == "preset" else "saved.keras")
    if form == "preset":
        captioner.save_to_preset(path, half_precision=False)
        load = f"zoo.LRCNCaptioner.from_preset({str(path)!r})"
    else:
        captioner.save(path)
        load = f"keras.saving.load_model({str(path)!r}, safe_mode=True)"
    pictures = [str(folder / f"{number}.png") for number in range(3)]
    script = (
        "import keras, zoo, json\n"
        f"captioner = {load}\n"
        f"rows = captioner.caption_candidates({pictures})\n"
        "found = [[row[0].text, row[0].confidence] for row in rows]\n"
        "print('FOUND', json.dumps([found, repr(captioner.sampler), repr(captioner.constraints),"
        " captioner.prior_features.tolist()]))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    [line] = [line for line in run.stdout.splitlines() if line.startswith("FOUND")]
    found, sampler, constraints, prior = json.loads(line[5:])
    candidates = [row[0] for row in captioner.caption_candidates(photographs())]
    assert [text for text, _ in found] == expected
    np.testing.assert_allclose([c for _, c in found], [c.confidence for c in candidates], atol=1e-5)
    assert sampler == repr(captioner.sampler)
    assert constraints == repr(captioner.constraints)
    assert prior == captioner.prior_features.tolist()


def test_compile_without_arguments_makes_fit_work(captioner, tmp_path):
    captioner.save(tmp_path / "start.keras")
    model = keras.saving.load_model(tmp_path / "start.keras")
    model.compile()
    token_ids = np.array([[2, 3, 4], [2, 5, 6], [2, 3, 0]])
    inputs = {"image": photographs().astype("float32"), "token_ids": token_ids}
    history = model.fit(inputs, token_ids, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    model.save(tmp_path / "trained.keras")
    again = keras.saving.load_model(tmp_path / "trained.keras")
    assert again.caption(photographs()) == model.caption(photographs())
    assert again.evaluate(inputs, token_ids, verbose=0) == pytest.approx(
        model.evaluate(inputs, token_ids, verbose=0), rel=1e-4
    )


def test_builders_leave_their_arguments_as_they_are():
    encoder = make_encoder()
    call, trainable = encoder.call, [layer.trainable for layer in encoder.layers]
    zoo.lrcn_captioner(encoder, 5, lstm_units=2, embedding_dim=2)
    zoo.lrcn_activity_recognizer(encoder, 5, lstm_units=2)
    roles = zoo.semantic_role_recognizer(encoder, [2, 3], lstm_units=2)
    zoo.lrcn_video_describer(roles, 5, visual="labels_max", lstm_units=2, embedding_dim=2)
    assert encoder.call == call
    assert [layer.trainable for layer in encoder.layers] == trainable
    assert roles.trainable


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "float32"])
def test_dtype_sets_the_precision_of_the_layers_that_are_built(dtype):
    before = keras.config.dtype_policy()
    captioner = zoo.lrcn_captioner(4, 5, lstm_units=2, embedding_dim=2, dtype=dtype)
    recognizer = zoo.lrcn_activity_recognizer(4, 5, lstm_units=2, dtype=dtype)
    describer = zoo.lrcn_video_describer(4, 5, lstm_units=2, embedding_dim=2, dtype=dtype)
    roles = zoo.semantic_role_recognizer(4, [2, 2], lstm_units=2, dtype=dtype)
    found = [captioner.decoder, recognizer.lstm, describer.decoder, roles.get_layer("lstm")]
    assert {layer.dtype_policy.name for layer in found} == {dtype}
    assert keras.config.dtype_policy() == before


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    write_video(path, grey(np.arange(20, 140, 10)), rate=10)
    return path


@pytest.fixture(scope="module")
def recognizer():
    model = zoo.lrcn_activity_recognizer(make_encoder(), 3, clip_length=4, lstm_units=5)
    model.class_names = ["rises", "falls", "rests"]
    frames = {"modality": "rgb", "rate": 10, "size": [10, 10], "clip_length": 4, "stride": 4}
    model.metadata = {"frames": frames, "scope": "It knows three motions."}
    return model


def test_recognizer_classifies_a_video_file_over_time(recognizer, video):
    found = recognizer.classify(video)
    assert found.top(1)[0][0] in recognizer.class_names
    assert sum(probability for _, probability in found.top(3)) == pytest.approx(1, abs=1e-5)
    assert len(found.clips) == 3
    assert found.clips[0][0] == 0 and found.clips[-1][1] == pytest.approx(1.2, abs=0.11)
    assert found.scope == "It knows three motions."
    assert found.distance is None and not found.is_unlike


def test_saved_recognizer_classifies_as_before(recognizer, video, tmp_path):
    recognizer.save(tmp_path / "saved.keras")
    recognizer.save_to_preset(tmp_path / "saved", half_precision=False)
    for loaded in (
        keras.saving.load_model(tmp_path / "saved.keras"),
        zoo.LRCNActivityRecognizer.from_preset(tmp_path / "saved"),
    ):
        found = loaded.classify(str(video))
        np.testing.assert_allclose(
            found.probabilities, recognizer.classify(video).probabilities, atol=1e-6
        )
        assert found.class_names == recognizer.class_names


def test_describer_describes_a_video_file(video, tmp_path):
    model = zoo.lrcn_video_describer(make_encoder(), len(WORDS), lstm_units=5, embedding_dim=4)
    model.vocabulary = Vocabulary(WORDS)
    model.metadata = {"frames": {"rate": 5, "size": [10, 10], "max_frames": 8}}
    [segment] = model.describe(video)
    assert segment["start"] == 0 and set(segment["sentence"].split()) <= set(WORDS)
    model.save(tmp_path / "saved.keras")
    assert keras.saving.load_model(tmp_path / "saved.keras").describe(video) == [segment]
