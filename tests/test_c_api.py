"""An export in the model server's own loader: TensorFlow's C API, without TensorFlow's Python."""

import base64
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from served_pictures import BAD, GOOD, bomb, library_images
from serving_models import (
    captioner_export,
    recognizer_export,
    tiny_captioner,
    tiny_recognizer,
    warm_up_requests,
)
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from zoo import from_preset
from zoo.serving.export import export
from zoo.serving.signatures.captioner import CaptionerSignatures
from zoo.serving.signatures.recognizer import RecognizerSignatures

HERE = pathlib.Path(__file__).parent
SHIPPED = "lrcn_captioner_efficientnet_lite0_flickr8k"
SENTENCES = ["A red square.", "a zebra", "", "café on grass"]

encode = np.vectorize(lambda text: base64.b64encode(text).decode(), otypes=[object])
decode = np.vectorize(base64.b64decode, otypes=[object])


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    captioner = from_preset(SHIPPED)
    return captioner, export(captioner, tmp_path_factory.mktemp("saved_models"))


@pytest.fixture(params=["tiny", pytest.param("shipped", marks=pytest.mark.slow)])
def model(request):
    """A captioner, its exported version, and four pictures."""
    if request.param == "tiny":
        return tiny_captioner(), captioner_export() / "lrcn_captioner" / "1", GOOD
    folder = pathlib.Path(pytest.importorskip("skimage").__file__).parent / "data"
    names = ("chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
    return *request.getfixturevalue("shipped"), [(folder / name).read_bytes() for name in names]


@pytest.fixture(params=["2.21", pytest.param("2.20", marks=pytest.mark.slow)])
def loader(request):
    """A version of TensorFlow, a Python, and the folder with that version's shared libraries."""
    if tf.__version__.startswith(request.param):
        return request.param, sys.executable, pathlib.Path(tf.__file__).parent
    environment = HERE.parent / f".venv-tf-{request.param}"
    folders = list(environment.glob("lib/python3*/site-packages/tensorflow"))
    if not (environment / "installed").exists() or not folders:
        pytest.skip(f"there is no {environment.name}; `make {environment.name}/installed` makes it")
    return request.param, environment / "bin" / "python", folders[0]


def ask(version, loader, requests):
    """Answers to `(signature, inputs)`, from a process of its own.

    Returns:
        List of dicts of arrays, and the megabytes that the process took.
    """
    release, python, libraries = loader
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((version / "saved_model.pb").read_bytes())
    definitions, asked = model.meta_graphs[0].signature_def, []
    for signature, inputs in requests:
        definition = definitions[signature]
        asked.append({"inputs": {}, "outputs": [o.name for o in definition.outputs.values()]})
        for name, array in inputs.items():
            dtype, array = ("string", encode(array)) if array.dtype == object else (None, array)
            sent = {"dtype": dtype or array.dtype.name, "values": array.tolist()}
            asked[-1]["inputs"][definition.inputs[name].name] = sent
    command = [python, HERE / "c_api.py", libraries, version]
    done = subprocess.run(
        command, input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said, answers = json.loads(done.stdout), []
    assert said["version"].startswith(release)
    for (signature, _), values in zip(requests, said["answers"], strict=True):
        outputs = definitions[signature].outputs.items()
        answers.append(
            {
                name: decode(value) if info.dtype == types_pb2.DT_STRING else np.array(value)
                for (name, info), value in zip(outputs, values, strict=True)
            }
        )
    return answers, said["megabytes"]


def every_request(captioner, pictures):
    """Inputs for each signature: good pictures, and a bad one."""
    images = np.array([*pictures, BAD["damaged"]], dtype=object)
    sentences = np.array([text.encode() for text in [*SENTENCES, "a"]], dtype=object)
    features = captioner.encode(library_images(pictures, captioner))
    draws = {
        "seed": np.arange(5),
        "temperature": np.linspace(0.5, 1.5, 5, dtype="float32"),
        "top_p": np.linspace(1.0, 0.6, 5, dtype="float32"),
    }
    return {
        "serving_default": {"image_bytes": images},
        "sample": {"image_bytes": images, **draws},
        "score": {"image_bytes": images, "sentence": sentences},
        "features": {"image_bytes": images},
        "score_features": {"features": features, "sentence": sentences[:4]},
    }


def test_every_signature_answers_as_the_library_does(model, loader):
    captioner, version, pictures = model
    requests = every_request(captioner, pictures)
    functions = CaptionerSignatures(captioner).signatures()
    assert set(functions) == set(requests)
    answers, _ = ask(version, loader, list(requests.items()))
    answers = dict(zip(requests, answers, strict=True))
    for signature, inputs in requests.items():
        expected = functions[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        assert set(answers[signature]) == set(expected)
        for name, values in expected.items():
            if values.dtype == tf.string:
                np.testing.assert_array_equal(answers[signature][name], values)
            else:
                np.testing.assert_allclose(answers[signature][name], values, atol=1e-3)
    # The same once more from the library's front, where pictures are arrays.
    images = library_images(pictures, captioner)
    captions = [text.decode() for text in answers["serving_default"]["caption"]]
    assert captions == [*captioner.caption(images), ""] and len(set(captions)) > 2
    log_probs, _ = captioner.score(images, SENTENCES)
    np.testing.assert_allclose(answers["score"]["log_prob"], [*log_probs, 0.0], atol=1e-3)
    np.testing.assert_allclose(answers["score_features"]["log_prob"], log_probs, atol=1e-3)


def test_every_warm_up_request_is_answered(model, loader):
    _, version, _ = model
    requests = [(spec.signature_name, inputs) for spec, inputs in warm_up_requests(version)]
    answers, _ = ask(version, loader, requests)
    for (signature, inputs), answer in zip(requests, answers, strict=True):
        rows = {len(array) for array in [*inputs.values(), *answer.values()]}
        assert len(rows) == 1, f"{signature} answers with {rows} rows"
        assert set(answer.get("status", [b"ok"])) == {b"ok"}


def test_recognizer_answers_as_the_library_does(loader):
    version = recognizer_export() / "lrcn_activity_recognizer" / "1"
    frames = np.array([[*GOOD, b""], [GOOD[0], b"", BAD["damaged"], *GOOD[:2]]], dtype=object)
    counts = np.array([4, 3], np.int32)
    state = np.linspace(-1, 1, 32, dtype="float32").reshape(2, 16)
    example = tf.train.Example()
    example.features.feature["frames"].bytes_list.value.extend(GOOD)
    requests = {
        "serving_default": {"frames": frames, "num_frames": counts},
        "features": {"frames": frames, "num_frames": counts},
        "classify_features": {
            "features": np.linspace(0, 1, 24, dtype="float32").reshape(2, 2, 6),
            "num_frames": np.array([2, 1], np.int32),
        },
        "step": {"frame": frames[:, 0], "is_first": np.array([True, False]), "state": state},
        "classify": {"inputs": np.array([example.SerializeToString(), b"?"], dtype=object)},
        "settings": {"key": np.array([b"rate", b"size"], dtype=object)},
    }
    functions = RecognizerSignatures(tiny_recognizer()).signatures()
    assert set(functions) == set(requests)
    warm = [(spec.signature_name, inputs) for spec, inputs in warm_up_requests(version)]
    answers, _ = ask(version, loader, [*requests.items(), *warm])
    for (signature, inputs), answer in zip(requests.items(), answers, strict=False):
        expected = functions[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        assert set(answer) == set(expected)
        for name, values in expected.items():
            if values.dtype == tf.string:
                np.testing.assert_array_equal(answer[name], values)
            else:
                np.testing.assert_allclose(answer[name], values, atol=1e-4)
    assert answers[0]["status"].tolist() == [b"ok", b"frame 1: empty"]
    for answer in answers[len(requests) :]:
        assert set(answer.get("status", [b"ok"])) == {b"ok"}


def test_a_bomb_spoils_its_own_row_and_takes_no_memory(loader):
    version = captioner_export() / "lrcn_captioner" / "1"

    def caption(pictures):
        inputs = {"image_bytes": np.array(pictures, dtype=object)}
        (answer,), megabytes = ask(version, loader, [("serving_default", inputs)])
        return answer, megabytes

    seven = [*GOOD, *GOOD[:3]]
    alone, before = caption(seven)
    mixed, after = caption([*seven[:3], bomb(), *seven[3:]])
    assert mixed["status"].tolist() == [b"ok"] * 3 + [b"too large"] + [b"ok"] * 4
    np.testing.assert_array_equal(np.delete(mixed["captions"], 3, axis=0), alone["captions"])
    assert after < before + 200  # decoded, it would be 500 MB, and as float 2 GB
