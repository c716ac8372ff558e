"""An exported captioner ranks photographs as the library does."""

import numpy as np
import pytest
import tensorflow as tf
from served_pictures import BAD, GOOD, library_images
from serving_models import LOOPBACK, retrieval_export, running, tiny_captioner

from zoo import lrcn_captioner
from zoo.serving.client import Client
from zoo.serving.export import export
from zoo.text.vocabulary import Vocabulary

SENTENCES = ["a red square", "", "café on a zebra"]


@pytest.fixture(scope="module")
def folder():
    return retrieval_export()


@pytest.fixture(scope="module")
def client(folder):
    with (
        running(folder) as server,
        Client(f"{LOOPBACK}:{server.port}", timeout=30) as client,
    ):
        yield client


def log_mean(log_probs):
    return np.log(np.exp(np.asarray(log_probs, "float64")).mean())


@pytest.mark.parametrize("sentence", [SENTENCES[0], SENTENCES[2]])
def test_client_ranks_as_the_library_and_encodes_each_image_once(client, sentence, monkeypatch):
    captioner, asked, predict = tiny_captioner(), [], Client._predict

    def counted(self, model, signature, inputs, outputs):
        asked.append((model, signature))
        return predict(self, model, signature, inputs, outputs)

    monkeypatch.setattr(Client, "_predict", counted)
    found = client.search(sentence, [BAD["damaged"], *GOOD])
    images = library_images(GOOD, captioner)
    log_probs, _ = captioner.score(images, [sentence] * len(GOOD))
    others, _ = captioner.score(captioner.prior_features, [sentence] * 7)
    expected = log_probs - log_mean(others)
    order = np.argsort(-expected, kind="stable")
    assert [one.index for one in found] == [*(order + 1), 0]
    np.testing.assert_allclose([one.score for one in found[:-1]], expected[order], atol=1e-4)
    np.testing.assert_allclose([one.log_prob for one in found[:-1]], log_probs[order], atol=1e-4)
    assert (found[-1].status, found[-1].score) == ("damaged", None)
    assert {model for model, _ in asked} == {"lrcn_retrieval"}
    assert [signature for _, signature in asked] == ["features", "prior", "score_features"]


def test_client_names_unknown_words_and_refuses_a_sentence_of_them(client):
    assert client.unknown_words("Café, a zebra; two zebras!") == ["zebra", "two", "zebras"]
    assert client.unknown_words("a red square") == []
    with pytest.raises(ValueError, match=r"unknown words: two zebras"):
        client.search("two zebras", GOOD)
    for sentence in ("", "..."):
        with pytest.raises(ValueError, match="at least one word"):
            client.search(sentence, GOOD)


def test_served_count_of_known_words_is_the_vocabularys(folder):
    served = tf.saved_model.load(str(folder / "lrcn_retrieval" / "1")).signatures
    answer = served["prior"](sentence=tf.constant(["", "a zebra on a café!", "two, three"]))
    assert answer["num_known_words"].numpy().tolist() == [0, 4, 0]
    assert answer["unknown_words"].numpy().tolist() == [b"", b"zebra", b"two three"]


def test_prior_is_the_log_mean_over_the_presets_images(folder):
    served = tf.saved_model.load(str(folder / "lrcn_retrieval" / "1")).signatures
    assert set(served) == {"serving_default", "features", "score_features", "prior"}
    answer = served["prior"](sentence=tf.constant(SENTENCES))["log_prior"]
    captioner = tiny_captioner()
    for sentence, prior in zip(SENTENCES, answer.numpy(), strict=True):
        others, _ = captioner.score(captioner.prior_features, [sentence] * 7)
        assert prior == pytest.approx(log_mean(others), abs=1e-4)


def test_model_without_other_images_is_refused(tmp_path):
    bare = lrcn_captioner(tiny_captioner().image_encoder, 9, lstm_units=4)
    bare.vocabulary = Vocabulary(["<eos>", "<unk>", *"abcdefg"])
    with pytest.raises(ValueError, match="prior_features"):
        export(bare, tmp_path, for_retrieval=True)
