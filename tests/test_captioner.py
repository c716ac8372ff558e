"""The captioner as its users see it: build, fit, generate, score, caption, save and load."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from zoo import lrcn_captioner
from zoo.decoding import BeamSearch, Constraints, Sampling
from zoo.text.vocabulary import EOS, UNKNOWN, Vocabulary

WORDS = ["<eos>", "<unk>", "a", "dog", "cat", "sleeps", "runs"]
FEATURES = 5
IMAGES = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype("float32")
# XLA on a CPU is slow and TensorFlow does without; JAX knows no other way to compile.
JIT = keras.backend.backend() == "jax"


def little_encoder():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(layers.Rescaling(1 / 255)(image))
    return keras.Model(image, layers.Dense(FEATURES)(layers.GlobalMaxPooling2D()(x)))


def make(image_encoder=None, seed=12, **options):
    """A small captioner with firm opinions: weights drawn from -2..2."""
    options = {"embedding_dim": 4, "lstm_units": 6, **options}
    captioner = lrcn_captioner(image_encoder or little_encoder(), len(WORDS), **options)
    rng = np.random.default_rng(seed)
    for weight in captioner.trainable_variables:
        weight.assign(rng.uniform(-2, 2, weight.shape))
    captioner.decoder.logits.bias.assign([0.0] * 7)
    if captioner.image_encoder is not None:
        captioner.adapt(captioner.encode(IMAGES))  # so that the three look different
    return captioner


@pytest.fixture(scope="module")
def captioner():
    captioner = make()
    captioner.vocabulary = Vocabulary(WORDS)
    return captioner


def assert_same(ours, theirs, rows=slice(None)):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other[rows], atol=2e-5)


def test_captioner_is_a_functional_model_from_image_and_words_to_logits(captioner):
    assert isinstance(captioner, keras.Model)
    assert captioner.name == "lrcn_captioner"
    assert {name: tensor.shape for name, tensor in captioner.input.items()} == {
        "image": (None, 8, 8, 3),
        "token_ids": (None, None),
    }
    assert captioner.output.shape == (None, None, len(WORDS))
    assert captioner.output.dtype == "float32"
    assert captioner.decoder.variant == "2f"  # the paper's best


def test_features_may_be_fed_instead_of_images(captioner):
    features = captioner.encode(IMAGES)
    assert features.shape == (3, FEATURES)
    on_features = make(FEATURES, name="captioner")
    assert {name: tensor.shape for name, tensor in on_features.input.items()} == {
        "features": (None, FEATURES),
        "token_ids": (None, None),
    }
    on_features.decoder.set_weights(captioner.decoder.get_weights())
    expected = captioner.generate(IMAGES)
    assert_same(on_features.generate(features), expected)
    assert_same(captioner.generate(features), expected)


@pytest.mark.parametrize("sampler", [BeamSearch(4, n_best=2), Sampling(5, n_best=2)])
def test_generated_sentences_come_with_the_log_probs_that_score_gives(captioner, sampler):
    decoded = captioner.generate(IMAGES, sampler, max_words=9, seed=1)
    assert all(isinstance(array, np.ndarray) for array in decoded)
    assert decoded.token_ids.shape == decoded.word_log_probs.shape == (3, 2, 9)
    assert decoded.token_ids.dtype == "int32"
    assert decoded.log_probs.shape == (3, 2)
    assert decoded.log_probs.dtype == decoded.word_log_probs.dtype == "float32"
    ended = (decoded.token_ids == EOS).any(-1)
    assert ended.sum() >= 3
    for n in range(2):
        log_probs, by_word = captioner.score(IMAGES, decoded.token_ids[:, n])
        np.testing.assert_allclose(
            log_probs[ended[:, n]], decoded.log_probs[ended[:, n], n], atol=1e-5
        )
        np.testing.assert_allclose(by_word[:, :-1], decoded.word_log_probs[:, n], atol=1e-5)


@pytest.mark.parametrize("sampler", ["beam", Sampling(3, temperature=1.5)])
def test_image_alone_gets_the_sentence_that_it_gets_in_a_batch(captioner, sampler):
    together = captioner.generate(IMAGES, sampler, 9, seed=[4, 5, 6])
    in_twos = captioner.generate(IMAGES, sampler, 9, seed=[4, 5, 6], batch_size=2)
    assert_same(in_twos, together)
    assert_same(captioner.generate(IMAGES[1:2], sampler, 9, seed=5), together, slice(1, 2))
    if sampler != "beam":
        other = captioner.generate(IMAGES[1:2], sampler, 9, seed=7)
        assert not np.array_equal(other.log_probs, together.log_probs[1:2])


def test_score_leaves_out_the_end_where_asked(captioner):
    ids = np.array([[2, 3, 0], [4, 0, 0], [2, 4, 6]])
    with_end, by_word = captioner.score(IMAGES, ids)
    without, _ = captioner.score(IMAGES, ids, end=False)
    ends = by_word[[0, 1, 2], [2, 1, 3]]
    np.testing.assert_allclose(without, with_end - ends, atol=1e-5)


def test_only_a_model_with_a_vocabulary_speaks_words(captioner):
    silent = make(FEATURES)
    assert silent.vocabulary is None
    features = captioner.encode(IMAGES)
    for call in (
        lambda: silent.score(features, ["a dog"] * 3),
        lambda: silent.caption(features),
    ):
        with pytest.raises(ValueError, match="no vocabulary.*from_preset"):
            call()
    silent.decoder.set_weights(captioner.decoder.get_weights())
    silent.vocabulary = Vocabulary(WORDS)
    sentences = ["a dog sleeps", "A cat runs.", "zebra"]
    ids = [[2, 3, 5], [2, 4, 6], [UNKNOWN, 0, 0]]
    assert_same(silent.score(features, sentences), captioner.score(IMAGES, ids))
    assert silent.caption(features) == captioner.caption(IMAGES)
    silent.vocabulary = Vocabulary([*WORDS[:2], *"vwxyz"])  # another language
    assert set("".join(silent.caption(features)).replace(" ", "")) <= set("vwxyz")


def test_caption_never_writes_the_unknown_word(captioner):
    eager = make(FEATURES)
    eager.vocabulary = captioner.vocabulary
    eager.decoder.logits.bias.assign([0.0, 30.0, *[0.0] * 5])
    features = captioner.encode(IMAGES)
    free = eager.caption(features, constraints=Constraints(), max_words=6)
    assert all("<unk>" in sentence for sentence in free)
    for sampler in ("greedy", "beam", "sample"):
        sentences = eager.caption(features, sampler, max_words=6)
        assert not any("<unk>" in sentence for sentence in sentences)


def test_what_cannot_be_used_is_refused_by_name(captioner):
    bare = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3)])
    with pytest.raises(ValueError, match=r"\(None, 6, 6, 4\).*image_encoder\("):
        lrcn_captioner(bare, 7)
    with pytest.raises(ValueError, match="variant='3f'"):
        lrcn_captioner(FEATURES, 7, variant="3f")
    with pytest.raises(ValueError, match=r"\['greedy', 'beam', 'sample'\].*'best'"):
        captioner.generate(IMAGES, "best")
    with pytest.raises(ValueError, match="Received: 5"):
        captioner.generate(IMAGES, 5)
    with pytest.raises(ValueError, match="id 7, but the vocabulary ends at 6"):
        captioner.generate(IMAGES, constraints=Constraints(forbidden_ids=(7,)))
    with pytest.raises(ValueError, match="at least one image"):
        captioner.generate(IMAGES[:0])
    with pytest.raises(ValueError, match=r"Expected features \(batch, 5\)"):
        lrcn_captioner(FEATURES, 7).generate(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="one sentence an image.*3 images.*shape \\(2, 1\\)"):
        captioner.score(IMAGES, [[2], [3]])


def test_fit_learns_two_captions_and_generate_follows_the_training():
    keras.utils.set_random_seed(1)
    captioner = lrcn_captioner(little_encoder(), len(WORDS), embedding_dim=8, lstm_units=16)
    captioner.vocabulary = Vocabulary(WORDS)
    images = np.stack([IMAGES[0], 255 - IMAGES[0]])
    sentences = ["a dog sleeps", "a cat runs"]
    targets = np.array([[*captioner.vocabulary.encode(s), EOS] for s in sentences])
    before = np.roll(targets, 1, axis=1)  # 0 first
    untrained = captioner.generate(images, max_words=6)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    captioner.compile(keras.optimizers.Adam(0.03), loss, jit_compile=JIT)
    data = ({"image": images, "token_ids": before}, targets)
    history = captioner.fit(*data, epochs=80, verbose=0).history["loss"]
    assert history[-1] < 0.1 < history[0]
    assert [captioner.caption(images, how) for how in ("greedy", "beam")] == [sentences] * 2
    trained = captioner.generate(images, max_words=6)
    assert np.abs(trained.log_probs - untrained.log_probs).min() > 0.1
    # The compiled search and encoder hold no copy of old weights: a new model agrees.
    anew = zoo.LRCNCaptioner.from_config(captioner.get_config())
    anew.set_weights(captioner.get_weights())
    assert_same(trained, anew.generate(images, max_words=6))
    captioner.fit(*data, verbose=0)
    anew.set_weights(captioner.get_weights())
    assert_same(captioner.generate(images, max_words=6), anew.generate(images, max_words=6))


def test_views_on_features_and_on_caption_groups_share_the_weights(captioner):
    ids = np.array([[0, 2, 3], [0, 2, 4], [0, 5, 6]])
    expected = captioner({"image": IMAGES, "token_ids": ids})
    inputs = {"features": captioner.encode(IMAGES), "token_ids": ids}
    on_features = captioner.on_features()
    assert_same([on_features(inputs)], [expected])
    groups = captioner.on_caption_groups()
    several = groups({"image": IMAGES, "token_ids": np.stack([ids, ids[::-1]], axis=1)})
    assert several.shape == (3, 2, 3, len(WORDS))
    assert_same([several[:, 0]], [expected])
    ours = {id(weight) for weight in captioner.weights}
    assert {id(weight) for weight in groups.weights} == ours
    assert {id(weight) for weight in on_features.weights} < ours


LOAD = """
import sys
import numpy as np
import keras
import zoo
captioner = keras.saving.load_model(sys.argv[1])  # in safe mode
images = np.load(sys.argv[2])
decoded = captioner.generate(images, "beam", max_words=9)
np.savez(sys.argv[3], *decoded, captioner({"image": images, "token_ids": decoded.token_ids[:, 0]}))
"""


def test_saved_model_is_the_same_in_a_fresh_process(captioner, tmp_path):
    captioner.generate(IMAGES)  # what it has compiled is no part of what is saved
    captioner.save(tmp_path / "model.keras")
    captioner.save_weights(tmp_path / "used.weights.h5")
    assert len(captioner.layers) == 4
    np.save(tmp_path / "images.npy", IMAGES)
    files = [str(tmp_path / name) for name in ("model.keras", "images.npy", "out.npz")]
    subprocess.run([sys.executable, "-c", LOAD, *files], check=True, env=os.environ)
    decoded = captioner.generate(IMAGES, "beam", max_words=9)
    logits = captioner({"image": IMAGES, "token_ids": decoded.token_ids[:, 0]})
    with np.load(tmp_path / "out.npz") as arrays:
        assert_same(arrays.values(), [*decoded, keras.ops.convert_to_numpy(logits)])


HEAVY = {"tensorflow_text", "keras_cv", "keras_hub", "cv2", "PIL", "pycocoevalcap", "matplotlib"}


def test_importing_the_builder_brings_nothing_heavy_that_keras_does_not():
    code = (
        f"import sys, keras; heavy = {HEAVY} - set(sys.modules); "
        "from zoo import lrcn_captioner; print(sorted(heavy & set(sys.modules)))"
    )
    output = subprocess.check_output([sys.executable, "-c", code], text=True, env=os.environ)
    assert output.strip() == "[]"
