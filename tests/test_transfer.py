"""A decoder that starts from a trained one says what that one says, and has rows for new words."""

import keras
import numpy as np
import pytest

from zoo import lrcn_captioner, lrcn_video_describer
from zoo.text.vocabulary import Vocabulary
from zoo.training.transfer import transfer_decoder

WORDS = ("<eos>", "<unk>", "a", "dog", "cat")
FEATURES = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")


def captioner(words, seed, lstm_units=5):
    keras.utils.set_random_seed(seed)
    model = lrcn_captioner(6, len(words), embedding_dim=4, lstm_units=lstm_units, projection_dim=3)
    model.vocabulary = Vocabulary(words)
    return model


def test_the_same_words_in_another_order_get_the_same_probabilities():
    source = captioner(WORDS, seed=1)
    target = captioner(("<eos>", "<unk>", "cat", "a", "dog"), seed=2)
    source.adapt(FEATURES * 3 + 1)
    report = transfer_decoder(source, target)
    sentences = ["a dog", "a cat cat", "dog"]
    expected = source.score(FEATURES, sentences)[0]
    np.testing.assert_allclose(target.score(FEATURES, sentences)[0], expected, rtol=1e-5)
    assert report["new_words"] == 0 and report["kept"] == []


def test_new_words_share_the_probability_of_unknown_ones():
    source = captioner(WORDS, seed=1)
    target = captioner((*WORDS, "zebra", "giraffe"), seed=2)
    assert transfer_decoder(source, target)["new_words"] == 2
    before = np.exp(source.score(FEATURES[:1], ["zebra"])[1][0, 0])
    new = [np.exp(target.score(FEATURES[:1], [word])[1][0, 0]) for word in ("zebra", "giraffe")]
    unknown = np.exp(target.score(FEATURES[:1], ["platypus"])[1][0, 0])
    assert new[0] == pytest.approx(new[1]) and new[0] == pytest.approx(unknown)
    assert sum(new) + unknown == pytest.approx(before, rel=1e-5)
    known = [model.score(FEATURES[:1], ["a dog"])[0][0] for model in (source, target)]
    assert known[0] == pytest.approx(known[1], rel=1e-5)


def test_weights_of_other_shapes_keep_their_values():
    source = captioner(WORDS, seed=1)
    target = captioner(WORDS, seed=2, lstm_units=7)
    before = np.array(target.decoder.rnns[0].cell.recurrent_kernel)
    report = transfer_decoder(source, target)
    assert "lstm1/lstm1_cell/recurrent_kernel" in report["kept"]
    np.testing.assert_array_equal(target.decoder.rnns[0].cell.recurrent_kernel, before)
    np.testing.assert_array_equal(
        target.decoder.embedding.embeddings, source.decoder.embedding.embeddings
    )


def test_a_model_without_words_is_refused():
    source = captioner(WORDS, seed=1)
    source.vocabulary = None
    with pytest.raises(ValueError, match="Expected models with a vocabulary"):
        transfer_decoder(source, captioner(WORDS, seed=2))


@pytest.mark.parametrize("variant", ["1u", "2u", "2f", "4f"])
def test_describer_of_the_mean_starts_as_its_captioner(variant):
    keras.utils.set_random_seed(1)
    sizes = {"embedding_dim": 4, "lstm_units": 5, "projection_dim": 3, "variant": variant}
    source = lrcn_captioner(6, len(WORDS), **sizes)
    source.vocabulary = Vocabulary(WORDS)
    source.adapt(FEATURES * 3 + 1)
    target = lrcn_video_describer(6, len(WORDS), "frames", "decoder", **sizes)
    target.vocabulary = source.vocabulary
    assert transfer_decoder(source, target)["kept"] == []
    videos = np.random.default_rng(2).normal(size=(3, 7, 6)).astype("float32")
    sentences = ["a dog", "a cat cat", "dog"]
    expected = source.score(videos.mean(axis=1), sentences)[0]
    np.testing.assert_allclose(target.score(videos, sentences)[0], expected, rtol=1e-5)
    again = type(target).from_config(target.get_config())
    again.set_weights(target.get_weights())
    again.vocabulary = target.vocabulary
    np.testing.assert_allclose(again.score(videos, sentences)[0], expected, rtol=1e-5)


def test_encoder_decoder_takes_the_weights_that_fit():
    source = captioner(WORDS, seed=1)
    target = lrcn_video_describer(6, 5, embedding_dim=4, lstm_units=5, projection_dim=3)
    target.vocabulary = source.vocabulary
    report = transfer_decoder(source, target)
    # The first LSTM of S2VT reads frames, and the second one words beside its output.
    assert set(report["kept"]) == {"lstm1_input/kernel", "lstm2_input/kernel", "lstm1_image/kernel"}
    for name in ("projection", "embedding", "logits"):
        weights = [getattr(model.decoder, name).get_weights() for model in (source, target)]
        for one, other in zip(*weights, strict=True):
            np.testing.assert_array_equal(one, other)


def test_variant_of_an_encoder_decoder_is_refused():
    with pytest.raises(ValueError, match='`architecture="decoder"` only.*2f'):
        lrcn_video_describer(6, 5, variant="2f")
