"""Presets: what is saved is what is loaded, and a bad folder says what is wrong with it."""

import json
import os
import pathlib
import pickle
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from zoo import lrcn_captioner, lrcn_video_describer, presets, semantic_role_recognizer
from zoo.decoding import BeamSearch
from zoo.models import preset_folder
from zoo.models.confidence import CaptionConfidence
from zoo.models.feature_statistics import FeatureStatistics
from zoo.presets import from_preset, save_confidence
from zoo.text.vocabulary import Vocabulary

WORDS = ["<eos>", "<unk>", "a", "dog", "caf\u00e9"]
CONFIDENCE = CaptionConfidence(["largest_gain"], [0.1], [0.2], [0.7], bias=-0.3, threshold=0.4)
IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 4, 4, 3)).astype("float32")


@pytest.fixture(scope="module")
def captioner():
    keras.utils.set_random_seed(0)
    network = [keras.Input((4, 4, 3)), layers.Rescaling(1 / 255), layers.Conv2D(3, 3)]
    encoder = keras.Sequential([*network, layers.BatchNormalization(), layers.Flatten()])
    captioner = lrcn_captioner(
        encoder, len(WORDS), "1u", embedding_dim=4, lstm_units=5, projection_dim=3, dropout=0.2
    )
    captioner.adapt(captioner.encode(IMAGES))
    captioner.vocabulary = Vocabulary(WORDS)
    captioner.caption(IMAGES)  # a model in use is saved like a new one
    return captioner


@pytest.fixture(scope="module")
def saved(captioner, tmp_path_factory):
    folder = tmp_path_factory.mktemp("presets") / "mine"
    scores = {"data": "made up", "scores": {"cider": 0.5}}
    captioner.save_to_preset(folder, {**scores, "format": 7, "task": "chess"}, card="# Mine\n")
    return folder


@pytest.fixture
def broken(saved, tmp_path):
    """A copy to break."""
    return pathlib.Path(shutil.copytree(saved, tmp_path / "broken"))


def content(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def edit(folder, name="metadata.json", **changes):
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes))


def test_loaded_model_is_the_saved_one_but_for_half_precision(captioner, saved):
    loaded = from_preset(saved)
    for ours, theirs in zip(captioner.weights, loaded.weights, strict=True):
        before, after = np.asarray(ours), np.asarray(theirs)
        assert after.dtype == before.dtype
        expected = before if before.ndim < 2 else before.astype("float16").astype(before.dtype)
        np.testing.assert_array_equal(after, expected, err_msg=ours.path)
    ids = np.array([[2, 3, 0], [4, 0, 0], [2, 2, 1]])
    np.testing.assert_allclose(
        loaded.score(IMAGES, ids)[0], captioner.score(IMAGES, ids)[0], atol=1e-3
    )
    assert loaded.get_config()["dropout"] == 0.2


def test_vocabulary_metadata_and_card_travel_with_the_model(saved):
    loaded = from_preset(str(saved))
    assert loaded.vocabulary.words == tuple(WORDS)
    assert len(loaded.caption(IMAGES)) == 3
    assert loaded.metadata["scores"] == {"cider": 0.5}
    # What the program must know, nobody else sets.
    assert (loaded.metadata["format"], loaded.metadata["task"]) == (1, "image_captioning")
    assert (saved / "README.md").read_text(encoding="utf-8") == "# Mine\n"


def test_model_from_a_preset_can_be_saved_again(saved, tmp_path):
    loaded = from_preset(saved)
    loaded.save_to_preset(tmp_path / "again", loaded.metadata)
    ours, theirs = content(saved), content(tmp_path / "again")
    for name in ("metadata.json", "config.json", "assets/vocabulary.txt"):
        assert json.dumps(ours[name].decode()) == json.dumps(theirs[name].decode())


def test_preset_that_comes_with_the_package_has_a_name(saved, tmp_path, monkeypatch):
    shutil.copytree(saved, tmp_path / "shelf" / "lrcn_little")
    monkeypatch.setattr(preset_folder, "SHIPPED", tmp_path / "shelf")
    listed = presets.presets()
    assert list(listed) == ["lrcn_little"]
    assert listed["lrcn_little"]["task"] == "image_captioning"
    assert 0.001 < listed["lrcn_little"]["megabytes"] < 1
    assert zoo.from_preset("lrcn_little").vocabulary.words == tuple(WORDS)
    with pytest.raises(ValueError, match=r"'lrcn_litle' is neither.*\(lrcn_little\).*it lacks"):
        from_preset("lrcn_litle")


@pytest.mark.parametrize(
    "name", ["metadata.json", "config.json", "model.weights.h5", "assets/vocabulary.txt"]
)
def test_missing_file_is_named(broken, name):
    (broken / name).unlink()
    with pytest.raises(ValueError, match=f"it lacks {name}"):
        from_preset(broken)


def test_damaged_weights_are_refused(broken):
    weights = broken / "model.weights.h5"
    whole = weights.read_bytes()
    for damaged in (b"", b"no weights", whole[: len(whole) // 2]):
        weights.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.weights\.h5 do not fit.*damaged"):
            from_preset(broken)


def test_weights_of_another_model_are_refused(broken):
    edit(broken, "config.json", lstm_units=6)
    with pytest.raises(ValueError, match=r"do not fit .*config\.json"):
        from_preset(broken)


@pytest.mark.parametrize("changes", [{"format": 2}, {"task": "chess"}])
def test_preset_of_a_newer_program_asks_for_an_upgrade(broken, changes):
    edit(broken, **changes)
    with pytest.raises(ValueError, match="Upgrade zoo"):
        from_preset(broken)


def test_vocabulary_of_another_size_is_refused(broken):
    Vocabulary([*WORDS, "cat"]).save(broken / "assets" / "vocabulary.txt")
    with pytest.raises(ValueError, match="6 words for a model of 5"):
        from_preset(broken)


@pytest.mark.parametrize("name", ["metadata.json", "config.json"])
def test_file_that_is_no_json_is_named(broken, name):
    (broken / name).write_text("{")
    with pytest.raises(ValueError, match=f"{name} is not JSON"):
        from_preset(broken)


def test_model_without_words_is_no_preset(tmp_path):
    with pytest.raises(ValueError, match="no vocabulary"):
        lrcn_captioner(2, 5, lstm_units=2, embedding_dim=2).save_to_preset(tmp_path / "x")
    assert not any(tmp_path.iterdir())


def test_folder_that_holds_something_else_is_left_alone(captioner, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to_my_aunt.txt").write_text("Dear aunt")
    with pytest.raises(ValueError, match="something else than a preset"):
        captioner.save_to_preset(tmp_path / "letters")
    assert content(tmp_path) == {"letters/to_my_aunt.txt": b"Dear aunt"}


def test_preset_with_files_of_the_user_beside_it_is_left_alone(captioner, broken):
    (broken / "precious.h5").write_text("weights of yesterday")
    with pytest.raises(ValueError, match="or more: .*precious.h5"):
        captioner.save_to_preset(broken)
    assert content(broken)["precious.h5"] == b"weights of yesterday"


def test_earlier_preset_is_replaced_whole(captioner, broken):
    (broken / "README.md").write_text("of yesterday")
    captioner.save_to_preset(broken)
    assert b"of yesterday" not in content(broken)["README.md"]
    decoding = {"beam_size": 5, "n_best": 1, "length_penalty": 0.0}
    expected = {"format": 1, "task": "image_captioning", "decoding": decoding}
    assert from_preset(broken).metadata == expected
    assert [path.name for path in broken.parent.iterdir()] == ["broken"]


@pytest.mark.parametrize("moment", ["halve_weights", "last rename"])
def test_failing_save_leaves_the_earlier_preset(captioner, broken, monkeypatch, moment):
    before, rename = content(broken), os.rename

    def fail(*args):
        raise OSError("disk full")

    def fail_to_name_the_new_one(source, target):
        if pathlib.Path(target) == broken and (pathlib.Path(source) / "new").exists():
            fail()
        rename(source, target)

    if moment == "halve_weights":
        monkeypatch.setattr(preset_folder, "halve_weights", fail)
    else:
        chmod = pathlib.Path.chmod
        monkeypatch.setattr(pathlib.Path, "chmod", lambda p, m: (chmod(p, m), (p / "new").touch()))
        monkeypatch.setattr(os, "rename", fail_to_name_the_new_one)
    with pytest.raises(OSError, match="disk full"):
        captioner.save_to_preset(broken)
    assert content(broken) == before
    assert [path.name for path in broken.parent.iterdir()] == ["broken"]


def test_no_pickle_is_read_or_written(captioner, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("pickle was used")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    captioner.save_to_preset(tmp_path / "plain")
    from_preset(tmp_path / "plain")
    names = {"config.json", "metadata.json", "model.weights.h5", "README.md"}
    names.add("assets/vocabulary.txt")
    assert set(content(tmp_path / "plain")) == names


def lambda_that_writes(path):
    path = str(path)
    layer = layers.Lambda(lambda x: (__import__("pathlib").Path(path).touch(), x)[1])
    return keras.saving.serialize_keras_object(layer)


@pytest.mark.parametrize("attack", ["foreign module", "lambda layer", "system call", "no model"])
def test_config_of_a_stranger_runs_no_code(broken, tmp_path, monkeypatch, attack):
    trace = tmp_path / "trace"
    (tmp_path / "evil_module.py").write_text(
        f"import pathlib\npathlib.Path({str(trace)!r}).touch()"
    )
    monkeypatch.syspath_prepend(tmp_path)
    image = {"class_name": "InputLayer", "module": "keras.layers", "config": {"shape": [4, 4, 3]}}
    encoders = {
        "foreign module": {"class_name": "Evil", "module": "evil_module", "config": {}},
        "lambda layer": {
            "class_name": "Sequential",
            "module": "keras",
            "config": {"name": "x", "layers": [image, lambda_that_writes(trace)]},
        },
        "system call": {"class_name": "function", "module": "os", "config": "system"},
        "no model": ["touch", str(trace)],
    }
    edit(broken, "config.json", image_encoder=encoders[attack])
    with pytest.raises(ValueError, match=r"config\.json describes no model"):
        from_preset(broken)
    assert not trace.exists()
    assert "evil_module" not in sys.modules


def test_preset_loads_in_a_fresh_process(captioner, saved, tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    code = (
        "import sys, numpy, zoo; captioner = zoo.from_preset(sys.argv[1]); "
        "print(*captioner.caption(numpy.load(sys.argv[2])), sep='|')"
    )
    command = [sys.executable, "-c", code, str(saved), str(tmp_path / "images.npy")]
    output = subprocess.check_output(command, text=True, env={**os.environ, "PYTHONUTF8": "1"})
    assert output.strip("\n").split("|") == from_preset(saved).caption(IMAGES)


def test_model_card_says_what_the_metadata_say(captioner, tmp_path):
    metadata = {
        "about": "A tiny captioner.",
        "data": "Made up.",
        "terms": "Anything goes.",
        "limits": "Knows six words.",
        "command": "python recipes/image_captioning.py train",
        "seed": 7,
        "scores": {"cider": 0.5, "tokenisation": "plain"},
    }
    captioner.save_to_preset(tmp_path / "tiny", metadata)
    card = (tmp_path / "tiny" / "README.md").read_text()
    for text in ("# tiny", *list(metadata.values())[:5], "seed 7", "| cider | 0.5000 |"):
        assert text in card
    captioner.save_to_preset(tmp_path / "own", metadata, card="My own words.")
    assert (tmp_path / "own" / "README.md").read_text() == "My own words."


def test_a_preset_decodes_as_it_was_scored(captioner, tmp_path):
    decoding = {"beam_size": 4, "length_penalty": 0.7}
    captioner.save_to_preset(tmp_path / "tiny", {"decoding": decoding})
    assert from_preset(tmp_path / "tiny").sampler == BeamSearch(**decoding)


def test_a_fitted_confidence_comes_back_with_the_preset(captioner, tmp_path):
    captioner.confidence = CONFIDENCE
    try:
        captioner.save_to_preset(tmp_path / "tiny", {"data": "made up"})
    finally:
        captioner.confidence = None
    loaded = from_preset(tmp_path / "tiny")
    assert loaded.confidence == CONFIDENCE
    assert loaded.metadata["confidence"] == CONFIDENCE.get_config()
    loaded.save_to_preset(tmp_path / "again", loaded.metadata)
    assert from_preset(tmp_path / "again").confidence == CONFIDENCE
    (best,), *_ = loaded.caption_candidates(IMAGES)
    assert 0 < best.confidence < 1
    # Other weights: what was fitted to the old ones does not stay by accident.
    loaded.confidence = None
    loaded.save_to_preset(tmp_path / "again", loaded.metadata)
    assert "confidence" not in from_preset(tmp_path / "again").metadata


def test_a_preset_without_confidence_loads_as_before(saved):
    loaded = from_preset(saved)
    assert loaded.confidence is None and "confidence" not in loaded.metadata
    assert [row[0].confidence for row in loaded.caption_candidates(IMAGES)] == [None] * 3


def test_saving_a_confidence_changes_the_metadata_alone(broken):
    before = content(broken)
    metadata = json.loads(before["metadata.json"])
    assert save_confidence(broken, CONFIDENCE) == broken / "metadata.json"
    after = content(broken)
    assert json.loads(after.pop("metadata.json")) == {
        **metadata,
        "confidence": CONFIDENCE.get_config(),
    }
    del before["metadata.json"]
    assert after == before
    assert from_preset(broken).confidence == CONFIDENCE


def test_the_confidence_of_a_run_goes_into_its_model(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "run" / "model")
    save_confidence(tmp_path / "run", CONFIDENCE)
    assert presets.from_run(tmp_path / "run").confidence == CONFIDENCE


def test_only_a_captioner_has_a_confidence(recognizer, tmp_path):
    recognizer.save_to_preset(tmp_path / "mine")
    with pytest.raises(ValueError, match="preset for image_captioning. Received: .*semantic_roles"):
        save_confidence(tmp_path / "mine", CONFIDENCE)


@pytest.mark.parametrize("damaged", [{"threshold": 2}, {"bias": None}, {"slope": 1.0}])
def test_a_damaged_confidence_is_a_clear_error(broken, damaged):
    edit(broken, confidence=CONFIDENCE.get_config() | damaged)
    with pytest.raises(ValueError, match=r"metadata\.json: confidence: "):
        from_preset(broken)


def test_unknown_decoding_is_a_clear_error(captioner, tmp_path):
    captioner.save_to_preset(tmp_path / "tiny", {"decoding": {"beams": 4}})
    with pytest.raises(ValueError, match="metadata.json: decoding: .*beams"):
        from_preset(tmp_path / "tiny")


ROLES = {"activity": ["none", "runs"], "animal": ["none", "dog", "café"]}
FRAMES = np.random.default_rng(1).uniform(0, 255, (3, 4, 4, 4, 3)).astype("float32")
COUNTS = np.array([4, 2, 3], "int32")
DECODING = {"beam_size": 3, "length_penalty": 0.7}


def shake(model):
    """Gives all weights firm values, so that answers differ from video to video."""
    rng = np.random.default_rng(2)
    for weight in model.weights:
        if "moving" not in weight.path and "seed" not in weight.path:
            weight.assign(rng.normal(0, 0.7, weight.shape))


def frame_encoder():
    frame = [keras.Input((4, 4, 3)), layers.Rescaling(1 / 255)]
    return keras.Sequential([*frame, layers.Conv2D(5, 3), layers.GlobalMaxPooling2D()])


@pytest.fixture(scope="module")
def recognizer():
    recognizer = semantic_role_recognizer(frame_encoder(), [2, 3], lstm_units=4, dropout=0.2)
    shake(recognizer)
    recognizer.adapt(np.stack([np.full(5, 0.3 - 0.5**0.5), np.full(5, 0.3 + 0.5**0.5)]))
    recognizer.roles = ROLES
    return recognizer


def video_describer(kind, recognizer):
    source, options = {
        "reads labels": (recognizer, {"visual": "label_probabilities", "architecture": "decoder"}),
        "sees frames": (frame_encoder(), {"dropout": 0.2}),
        "is fed labels": ([2, 3], {"visual": "labels_max"}),
    }[kind]
    describer = lrcn_video_describer(
        source, len(WORDS), embedding_dim=4, lstm_units=5, projection_dim=3, **options
    )
    shake(describer.decoder)
    describer.vocabulary, describer.sampler = Vocabulary(WORDS), BeamSearch(**DECODING)
    if kind == "is fed labels":
        describer.roles = ROLES
    return describer


def test_recogniser_of_roles_comes_back_with_its_answers_and_roles(recognizer, tmp_path):
    recognizer.save_to_preset(tmp_path / "mine", {"data": "made up"})
    again = from_preset(tmp_path / "mine")
    assert isinstance(again, zoo.SemanticRoleRecognizer)
    assert again.roles == ROLES and list(again.roles) == list(ROLES)
    assert again.metadata == {"data": "made up", "format": 1, "task": "semantic_roles"}
    labels, probabilities = recognizer.recognize((FRAMES, COUNTS))
    found_labels, found = again.recognize((FRAMES, COUNTS))
    np.testing.assert_array_equal(found_labels, labels)
    np.testing.assert_allclose(found, probabilities, atol=5e-3)
    assert np.ptp(probabilities, axis=0).max() > 0.05
    assert again.get_config()["dropout"] == 0.2


@pytest.mark.parametrize("kind", ["reads labels", "sees frames", "is fed labels"])
def test_describer_of_videos_comes_back_with_its_answers_and_words(kind, recognizer, tmp_path):
    describer = video_describer(kind, recognizer)
    describer.save_to_preset(tmp_path / "mine", {"decoding": DECODING})
    again = from_preset(tmp_path / "mine")
    assert isinstance(again, zoo.LRCNVideoDescriber)
    assert again.vocabulary.words == tuple(WORDS) and again.sampler == BeamSearch(**DECODING)
    assert again.metadata["task"] == "video_description"
    assert again.roles == (None if kind == "sees frames" else ROLES)
    assert (again.recognizer is not None) == (kind == "reads labels")
    if again.recognizer:
        assert again.recognizer.roles == ROLES and not again.recognizer.trainable_variables
    one_hot = np.array([[1, 0, 1, 0, 0], [0, 1, 0, 0, 1], [0, 1, 0, 1, 0]], "float32")
    videos = one_hot if kind == "is fed labels" else (FRAMES, COUNTS)
    ids = np.array([[2, 3, 0], [4, 0, 0], [2, 2, 1]])
    expected = describer.score(videos, ids)[0]
    np.testing.assert_allclose(again.score(videos, ids)[0], expected, atol=2e-2)
    assert again.caption(videos, max_words=4) == describer.caption(videos, max_words=4)


@pytest.mark.parametrize("kind", ["recognizer", "reads labels", "is fed labels"])
def test_roles_of_another_size_are_refused(kind, recognizer, tmp_path):
    model = recognizer if kind == "recognizer" else video_describer(kind, recognizer)
    model.save_to_preset(tmp_path / "mine")
    edit(tmp_path / "mine", "assets/roles.json", animal=["none", "dog"])
    with pytest.raises(ValueError, match=r"\[2, 2\] words for a model of \[2, 3\]"):
        from_preset(tmp_path / "mine")


def test_recogniser_without_roles_is_no_preset(recognizer, tmp_path):
    bare = semantic_role_recognizer(5, [2, 3], lstm_units=2)
    with pytest.raises(ValueError, match=r"no roles: set `model\.roles`"):
        bare.save_to_preset(tmp_path / "x")
    recognizer.save_to_preset(tmp_path / "mine")
    (tmp_path / "mine" / "assets" / "roles.json").unlink()
    with pytest.raises(ValueError, match="it lacks assets/roles.json"):
        from_preset(tmp_path / "mine")


def feature_statistics(size, threshold=1.0, num_frames=8):
    mean = np.arange(2 * size)
    neighbors = np.ones((3, size))
    return FeatureStatistics(mean, np.ones(2 * size), neighbors, [1, 1], threshold, num_frames)


@pytest.fixture
def activity_preset(tmp_path):
    model = zoo.single_frame_recognizer(frame_encoder(), 2)
    model.class_names = ["dark", "bright"]
    model.feature_statistics = feature_statistics(5, threshold=2.5, num_frames=4)
    counted = {"held_out_marked": 3, "held_out_videos": 50}
    metadata = {"scope": "It tells dark from bright.", "unlike_training": counted}
    model.save_to_preset(tmp_path / "activity", metadata)
    return tmp_path / "activity"


def test_statistics_and_scope_travel_with_the_recognizer(activity_preset):
    loaded = from_preset(activity_preset)
    statistics = loaded.feature_statistics
    assert (statistics.threshold, statistics.num_frames) == (2.5, 4)
    np.testing.assert_array_equal(statistics.mean, np.arange(10))
    assert loaded.metadata["scope"] == "It tells dark from bright."
    card = (activity_preset / "README.md").read_text()
    assert "It tells dark from bright." in card and "are marked: 3 of 50." in card
    loaded.save_to_preset(activity_preset, loaded.metadata)  # takes its own place
    assert from_preset(activity_preset).feature_statistics.threshold == 2.5


def test_recognizer_without_statistics_loads(activity_preset):
    (activity_preset / "assets" / "feature_statistics.npz").unlink()
    loaded = from_preset(activity_preset)
    assert loaded.feature_statistics is None and loaded.compare_with_training(FRAMES[0]) is None


def test_statistics_of_another_model_are_refused(activity_preset):
    path = activity_preset / "assets" / "feature_statistics.npz"
    feature_statistics(2).save(path)
    with pytest.raises(ValueError, match="statistics of 2 features, for a model of 5"):
        from_preset(activity_preset)
    path.write_bytes(b"no statistics")
    with pytest.raises(ValueError, match=r"feature_statistics\.npz holds no feature statistics"):
        from_preset(activity_preset)


def test_preset_for_another_task_is_refused_before_its_weights_are_read():
    fights = "lrcn_activity_efficientnet_lite0_fights"
    with pytest.raises(ValueError, match="for activity_recognition, and one for image_captioning"):
        zoo.from_preset(fights, "image_captioning")


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_preset_of_a_run_in_half_precision_computes_in_float32(policy, tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        network = [keras.Input((4, 4, 3)), layers.Conv2D(3, 3), layers.BatchNormalization()]
        encoder = keras.Sequential([*network, layers.Flatten()])
        model = lrcn_captioner(encoder, len(WORDS), "1u", embedding_dim=4, lstm_units=5)
    finally:
        keras.config.set_dtype_policy(before)
    model.vocabulary = Vocabulary(WORDS)
    model.save_to_preset(tmp_path / "saved")
    assert "float16" not in (tmp_path / "saved" / "config.json").read_text(encoding="utf-8")
    loaded = from_preset(tmp_path / "saved")
    parts = [*loaded.image_encoder.layers, loaded.decoder]
    assert {part.compute_dtype for part in parts} == {"float32"}
