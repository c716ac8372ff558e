"""An exported captioner answers as the library does, and spoils no neighbour's row."""

import collections
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from served_pictures import BAD, GOOD, library_images
from serving_models import (
    captioner_export,
    confident_captioner,
    confident_export,
    describer_export,
    recognizer_export,
    tiny_captioner,
    warm_up_requests,
)
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.config import model_server_config_pb2

from zoo import lrcn_captioner
from zoo.decoding import BeamSearch, Constraints
from zoo.serving import export as exporting
from zoo.serving.local_server.batching_parameters import read_parameters
from zoo.text.vocabulary import Vocabulary

HERE = pathlib.Path(__file__).parent
SIGNATURES = {"serving_default", "sample", "score", "features", "score_features"}
OF_DESCRIBER = {"serving_default", "features", "describe_features", "settings", "roles"}
OF_RECOGNIZER = {"serving_default", "features", "classify_features", "step", "classify", "settings"}
NOT_IN_A_STOCK_SERVER = ("PyFunc", "Xla", "Cudnn", "NormalizeUTF8", "RegexSplit", "TFText")


@pytest.fixture(scope="module")
def captioner():
    return tiny_captioner()


@pytest.fixture(scope="module")
def version():
    return captioner_export() / "lrcn_captioner" / "1"


@pytest.fixture(scope="module")
def served(version):
    return tf.saved_model.load(str(version)).signatures


def test_served_caption_is_the_local_caption(captioner, served):
    answer = served["serving_default"](image_bytes=tf.constant(GOOD))
    local = captioner.generate(
        library_images(GOOD, captioner), BeamSearch(5, n_best=3), constraints=Constraints((1,))
    )
    sentences = [[captioner.vocabulary.decode(ids) for ids in row] for row in local.token_ids]
    decoded = [[text.decode() for text in row] for row in answer["captions"].numpy()]
    assert decoded == sentences and len({row[0] for row in sentences}) > 1
    np.testing.assert_allclose(answer["log_probs"], local.log_probs, atol=1e-4)
    np.testing.assert_array_equal(answer["caption"], answer["captions"][:, 0])
    np.testing.assert_allclose(answer["log_prob"], answer["log_probs"][:, 0])
    assert set(answer["status"].numpy()) == {b"ok"}


def test_served_confidence_is_the_local_confidence(served):
    captioner = confident_captioner()
    (version,) = confident_export().glob("*/1")
    answer = tf.saved_model.load(str(version)).signatures["serving_default"](
        image_bytes=tf.constant([*GOOD, BAD["damaged"]])
    )
    local = captioner.caption_candidates(library_images(GOOD, captioner), BeamSearch(5, n_best=3))
    expected = np.array([[candidate.confidence for candidate in row] for row in local])
    confidences = answer["confidences"].numpy()
    assert confidences.dtype == np.float32 and np.ptp(expected) > 0.5
    np.testing.assert_allclose(confidences[:-1], expected, atol=1e-5)
    np.testing.assert_array_equal(answer["confidence"], confidences[:, 0])
    unsure = expected < captioner.confidence.threshold
    np.testing.assert_array_equal(answer["unsure"][:-1], unsure)
    assert unsure.any() and not unsure.all()
    assert not confidences[-1].any() and not answer["unsure"][-1].numpy().any()
    # All else is answered as without a confidence.
    plain = served["serving_default"](image_bytes=tf.constant([*GOOD, BAD["damaged"]]))
    assert set(plain) == {"caption", "captions", "log_prob", "log_probs", "status"}
    assert set(answer) == {*plain, "confidence", "confidences", "unsure"}
    np.testing.assert_array_equal(answer["captions"], plain["captions"])
    np.testing.assert_allclose(answer["log_probs"], plain["log_probs"], atol=1e-6)


def test_served_score_is_the_local_score(captioner, served):
    sentences = ["A red square.", "a zebra", "", "café on grass"]
    local, _ = captioner.score(library_images(GOOD, captioner), sentences)
    asked = {"image_bytes": tf.constant(GOOD), "sentence": tf.constant(sentences)}
    np.testing.assert_allclose(served["score"](**asked)["log_prob"], local, atol=1e-4)
    features = served["features"](image_bytes=tf.constant(GOOD))["features"]
    np.testing.assert_allclose(
        features, captioner.encode(library_images(GOOD, captioner)), atol=1e-5
    )
    again = served["score_features"](features=features, sentence=tf.constant(sentences))
    np.testing.assert_allclose(again["log_prob"], local, atol=1e-4)


@pytest.mark.parametrize("signature", sorted(SIGNATURES - {"score_features"}))
def test_a_bad_image_spoils_its_own_row_only(served, signature):
    more = {
        "sample": {"seed": tf.int64, "temperature": tf.float32, "top_p": tf.float32},
        "score": {"sentence": tf.string},
    }.get(signature, {})

    def ask(pictures):
        inputs = {name: tf.ones(len(pictures), t) for name, t in more.items() if t != tf.string}
        if "sentence" in more:
            inputs["sentence"] = tf.fill(len(pictures), "a square")
        return served[signature](image_bytes=tf.constant(pictures), **inputs)

    alone, mixed = ask(GOOD), ask([BAD["empty"], *GOOD, BAD["not an image"], BAD["damaged"]])
    expected = ["empty", *["ok"] * len(GOOD), "not an image", "damaged"]
    assert [status.decode() for status in mixed["status"].numpy()] == expected
    for name, values in alone.items():
        among = mixed[name].numpy()
        if values.dtype == tf.string:
            np.testing.assert_array_equal(among[1:-2], values)
        else:
            np.testing.assert_allclose(among[1:-2], values, atol=1e-5)
            assert not among[[0, -2, -1]].any()
    assert [s.decode() for s in ask(list(BAD.values()))["status"].numpy()] == list(BAD)


def test_a_sampled_sentence_depends_on_its_own_seed_only(served):
    def ask(seeds, temperature=1.0):
        n = len(seeds)
        return served["sample"](
            image_bytes=tf.constant(GOOD[:1] * n),
            seed=tf.constant(seeds, tf.int64),
            temperature=tf.fill([n], temperature),
            top_p=tf.ones(n),
        )["caption"].numpy()

    many = ask(list(range(20)))
    assert len(set(many)) > 5
    assert ask([7]) == many[7]
    assert len(set(ask(list(range(20)), 1e-9))) == 1  # so cold that it is greedy


@pytest.mark.parametrize(
    ("folder", "ops_file", "signatures"),
    [
        (confident_export, "served_ops.txt", SIGNATURES),
        (recognizer_export, "served_ops_recognizer.txt", OF_RECOGNIZER),
        (describer_export, "served_ops_describer.txt", OF_DESCRIBER),
    ],
    ids=["captioner", "recognizer", "describer"],
)
def test_export_uses_core_ops_only(folder, ops_file, signatures):
    (version,) = folder().glob("*/1")
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((version / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    functions = graph.library.function
    ops = collections.Counter(node.op for node in graph.node)
    for function in functions:
        ops.update(node.op for node in function.node_def)
        assert not function.attr["_XlaMustCompile"].b
    ours = {function.signature.name for function in functions}
    listed = set((HERE / ops_file).read_text().split())
    assert set(ops) - ours == listed, "new ops? Is each one in the stock server's build?"
    assert not [op for op in listed if any(word in op for word in NOT_IN_A_STOCK_SERVER)]
    assert set(model.meta_graphs[0].signature_def) - {"__saved_model_init_op"} == signatures
    for definition in model.meta_graphs[0].signature_def.values():
        for name, tensor in definition.outputs.items():
            if name != "__saved_model_init_op":
                assert tensor.tensor_shape.dim[0].size == -1 and not name.endswith("_bytes")


def test_every_export_is_a_new_version_and_a_failed_one_leaves_nothing(
    captioner, tmp_path, monkeypatch
):
    first = exporting.export(captioner, tmp_path, "tiny")
    assert first.name == "1"
    monkeypatch.setattr(exporting, "_write_warm_up", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        exporting.export(captioner, tmp_path, "tiny")
    assert [folder.name for folder in (tmp_path / "tiny").iterdir()] == ["1"]
    (tmp_path / "tiny" / "7").mkdir()
    monkeypatch.setattr(exporting, "_write_warm_up", lambda *_: None)
    assert exporting.export(captioner, tmp_path, "tiny").name == "8"


def test_a_model_without_words_is_refused(captioner, tmp_path):
    with pytest.raises(ValueError, match="image encoder and a vocabulary"):
        exporting.export(lrcn_captioner(4, 9, lstm_units=4), tmp_path)
    with pytest.raises(ValueError, match="plain name"):
        exporting.export(captioner, tmp_path, "../elsewhere")


def test_warm_up_requests_are_real_ones(version, served):
    seen = set()
    for spec, inputs in warm_up_requests(version):
        size = len(next(iter(inputs.values())))
        seen.add((spec.signature_name, size))
        if size < 3:
            served[spec.signature_name](**{k: tf.constant(v) for k, v in inputs.items()})
    assert seen == {(name, size) for name in SIGNATURES for size in exporting.BATCH_SIZES}


def test_what_lies_beside_the_model_can_be_read(captioner, version):
    words = Vocabulary.load(version / "assets" / "vocabulary.txt").words
    assert words == captioner.vocabulary.words
    assert (version / "README.md").read_text() == "# Tiny"
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((version.parents[1] / "models.config").read_text(), config)
    entry = config.model_config_list.config[0]
    assert (entry.name, entry.base_path) == ("lrcn_captioner", "/models/lrcn_captioner")
    parameters = read_parameters(HERE.parent / "saved_models" / "batching_parameters.txt")
    assert parameters.max_batch_size == exporting.BATCH_SIZES[-1]


def test_every_weight_is_stored_once(captioner, version):
    stored = tf.train.load_checkpoint(str(version / "variables" / "variables"))
    dtypes = stored.get_variable_to_dtype_map()
    shapes = [
        shape
        for name, shape in stored.get_variable_to_shape_map().items()
        if dtypes[name] == tf.float32
    ]
    assert sorted(shapes) == sorted(list(variable.shape) for variable in captioner.variables)
