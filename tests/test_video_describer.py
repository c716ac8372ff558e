"""The describer of videos as its users see it: five kinds, from frames or from labels."""

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from zoo import lrcn_video_describer, semantic_role_recognizer
from zoo.models.layers.sequence_mask import LabelsInOrder, MeanOverFrames
from zoo.text.vocabulary import EOS, Vocabulary

WORDS = ["<eos>", "<unk>", "a", "dog", "cat", "sleeps", "runs"]
RNG = np.random.default_rng(0)
FRAMES = RNG.uniform(0, 255, (3, 4, 8, 8, 3)).astype("float32")
COUNTS = np.array([4, 2, 3], "int32")
ROLES = [2, 3]  # labels of each
KINDS = [
    ("labels_max", "encoder_decoder"),
    ("labels_max", "decoder"),
    ("label_probabilities", "decoder"),
    ("frames", "decoder"),
    ("frames", "encoder_decoder"),
]
JIT = keras.backend.backend() == "jax"


def little_encoder():
    frame = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, strides=2, activation="relu")(layers.Rescaling(1 / 255)(frame))
    return keras.Model(frame, layers.Dense(5)(layers.GlobalMaxPooling2D()(x)))


def shake(model, seed=1):
    """Gives all weights firm values: only the first draw of most is near zero."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "moving" not in weight.path and "seed" not in weight.path:
            weight.assign(rng.normal(0, 1, weight.shape))


def make(visual, architecture, source=None, **options):
    if source is None:
        source = little_encoder()
        if visual != "frames":
            source = semantic_role_recognizer(source, ROLES, lstm_units=6)
    options = {"embedding_dim": 4, "lstm_units": 6, **options}
    describer = lrcn_video_describer(source, len(WORDS), visual, architecture, **options)
    shake(describer)
    return describer


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def describer(request):
    return make(*request.param)


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_describer_is_a_functional_model_from_frames_and_words_to_logits(describer):
    assert isinstance(describer, keras.Model) and describer.name == "lrcn_video_describer"
    shapes = {name: tensor.shape for name, tensor in describer.input.items()}
    assert shapes == {
        "frames": (None, None, 8, 8, 3),
        "num_frames": (None,),
        "token_ids": (None, None),
    }
    assert describer.output.shape == (None, None, len(WORDS))


def test_generated_sentences_have_the_log_probs_of_the_functional_model(describer):
    decoded = describer.generate((FRAMES, COUNTS), "beam", max_words=7)
    ids = decoded.token_ids[:, 0]
    before = np.concatenate([np.zeros((3, 1), "int32"), ids[:, :-1]], axis=1)
    inputs = {"frames": FRAMES, "num_frames": COUNTS, "token_ids": before}
    log_probs = array(keras.ops.log_softmax(describer(inputs)))
    counts = np.cumprod(np.concatenate([np.ones((3, 1)), ids[:, :-1] != EOS], 1), 1)
    own = np.take_along_axis(log_probs, ids[..., None], 2)[..., 0] * counts
    np.testing.assert_allclose(decoded.log_probs[:, 0], own.sum(1), atol=1e-4)


def test_frames_behind_the_end_of_a_video_change_nothing(describer):
    expected = describer.generate((FRAMES, COUNTS), max_words=6)
    dirty = FRAMES.copy()
    dirty[1, 2:], dirty[2, 3:] = 255.0, 0.0
    found = describer.generate((dirty, COUNTS), max_words=6)
    np.testing.assert_array_equal(found.token_ids, expected.token_ids)
    alone = describer.generate(FRAMES[1:2, :2], max_words=6)
    np.testing.assert_allclose(alone.log_probs, expected.log_probs[1:2], atol=1e-4)


def test_features_and_what_the_decoder_reads_may_be_fed_instead(describer):
    expected = describer.generate((FRAMES, COUNTS), max_words=6)
    encoder = describer.frame_encoder
    features = np.stack([encoder.predict(clip, verbose=0) for clip in FRAMES])
    found = describer.generate((features, COUNTS), max_words=6)
    np.testing.assert_allclose(found.log_probs, expected.log_probs, atol=1e-4)
    if describer.num_labels:
        labels = describer.read_labels((FRAMES, COUNTS))
        fed = make(describer.visual, describer.architecture, ROLES)
        fed.decoder.set_weights(describer.decoder.get_weights())
        assert set(fed.input) == {"labels", "token_ids"}
        found = fed.generate(labels, max_words=6)
        np.testing.assert_allclose(found.log_probs, expected.log_probs, atol=1e-4)
        with pytest.raises(ValueError, match=r"fed labels \(batch, 5\)"):
            fed.generate((FRAMES, COUNTS))


def test_view_on_features_gives_the_same_logits(describer):
    ids = np.array([[[0, 2, 3], [0, 5, 6]], [[0, 2, 4], [0, 1, 1]], [[0, 3, 3], [0, 2, 2]]])
    view = describer.on_features()
    if describer.num_labels:
        inputs = {"labels": describer.read_labels((FRAMES, COUNTS))}
    else:
        features, counts = describer.encode_frames((FRAMES, COUNTS))
        inputs = {"features": features, "num_frames": counts}
    logits = array(view({**inputs, "token_ids": ids[:, 1]}))
    whole = {"frames": FRAMES, "num_frames": COUNTS, "token_ids": ids[:, 1]}
    np.testing.assert_allclose(logits, array(describer(whole)), atol=1e-4)
    if not describer.num_labels:
        groups = describer.on_caption_groups()
        again = groups({"frames": FRAMES, "num_frames": COUNTS, "token_ids": ids})
        np.testing.assert_allclose(array(again)[:, 1], logits, atol=1e-4)


def test_describer_comes_back_from_its_file(describer, tmp_path):
    describer.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(again, zoo.LRCNVideoDescriber)
    expected = describer.generate((FRAMES, COUNTS), max_words=6)
    found = again.generate((FRAMES, COUNTS), max_words=6)
    np.testing.assert_allclose(found.log_probs, expected.log_probs, atol=1e-5)


def test_labels_reach_the_decoder_as_the_recogniser_gives_them():
    recognizer = semantic_role_recognizer(little_encoder(), ROLES, lstm_units=6)
    shake(recognizer, 4)
    recognizer.crf.pairs[0].assign([[3.0, -3.0, 0.0], [-3.0, 3.0, 0.0]])
    weights = recognizer.get_weights()
    labels, probabilities = recognizer.recognize((FRAMES, COUNTS))
    outputs = recognizer({"frames": FRAMES, "num_frames": COUNTS})
    np.testing.assert_allclose(array(outputs["probabilities"]), probabilities, atol=1e-5)
    one_hot = np.concatenate([np.eye(2)[labels[:, 0]], np.eye(3)[labels[:, 1]]], axis=1)
    np.testing.assert_array_equal(array(outputs["most_likely"]), one_hot)

    def reading(visual, architecture):
        describer = make(visual, architecture, recognizer)  # which shakes the recognizer, too
        describer.recognizer.set_weights(weights)
        assert describer.recognizer is not recognizer and recognizer.trainable_variables
        assert not describer.recognizer.trainable_variables
        return describer

    by_max = reading("labels_max", "decoder")
    np.testing.assert_array_equal(by_max.encode((FRAMES, COUNTS)), one_hot)
    by_probability = reading("label_probabilities", "decoder")
    np.testing.assert_allclose(by_probability.encode((FRAMES, COUNTS)), probabilities, atol=1e-6)
    sequence, steps = reading("labels_max", "encoder_decoder").encode((FRAMES, COUNTS))
    assert sequence.shape == (3, 2, 5) and steps.tolist() == [2, 2, 2]
    np.testing.assert_array_equal(sequence.sum(1), one_hot)
    assert not sequence[:, 0, 2:].any() and not sequence[:, 1, :2].any()


def test_mean_is_over_the_frames_that_count_and_labels_go_one_a_step():
    features = RNG.normal(size=(2, 3, 4)).astype("float32")
    mean = array(MeanOverFrames()([features, np.array([3, 1], "int32")]))
    np.testing.assert_allclose(mean, [features[0].mean(0), features[1, 0]], atol=1e-6)
    sequence, steps = LabelsInOrder([2, 1])(np.array([[0.2, 0.8, 1.0]], "float32"))
    np.testing.assert_allclose(array(sequence)[0], [[0.2, 0.8, 0], [0, 0, 1.0]], atol=1e-6)
    assert array(steps).tolist() == [2]


def test_mean_pool_is_blind_to_order_and_sequence_to_sequence_is_not():
    full = np.full(3, 4, "int32")
    for architecture, blind in (("decoder", True), ("encoder_decoder", False)):
        describer = make("frames", architecture)
        one, other = (
            describer.score((clips, full), np.array([[2, 3]] * 3))[0]
            for clips in (FRAMES, FRAMES[:, ::-1])
        )
        assert np.allclose(one, other, atol=1e-4) == blind


def teach(describer, inputs, targets, steps):
    """So many steps on all there is, in one epoch: each epoch costs time of its own."""
    inputs = {name: np.concatenate([values] * steps) for name, values in inputs.items()}
    rows = len(targets)
    describer.fit(
        inputs, np.concatenate([targets] * steps), batch_size=rows, shuffle=False, verbose=0
    )


def test_fit_learns_to_describe_what_only_order_tells():
    keras.utils.set_random_seed(1)
    describer = lrcn_video_describer(5, len(WORDS), embedding_dim=8, lstm_units=16)
    describer.vocabulary = Vocabulary(WORDS)
    clip = RNG.normal(size=(4, 5)).astype("float32")
    inputs = {"features": np.stack([clip, clip[::-1]]), "num_frames": np.array([4, 4], "int32")}
    sentences = ["a dog sleeps", "a cat runs"]
    targets = np.array([[*describer.vocabulary.encode(s), EOS] for s in sentences])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    describer.compile(keras.optimizers.Adam(0.03), loss, jit_compile=JIT)
    inputs["token_ids"] = np.roll(targets, 1, axis=1)
    teach(describer, inputs, targets, steps=100)
    seen = (inputs["features"], inputs["num_frames"])
    assert [describer.caption(seen, how) for how in ("greedy", "beam")] == [sentences] * 2


@pytest.mark.parametrize(("visual", "architecture"), KINDS[:3], ids=map("-".join, KINDS[:3]))
def test_fit_learns_to_say_what_the_labels_say(visual, architecture):
    keras.utils.set_random_seed(1)
    describer = lrcn_video_describer(
        ROLES, len(WORDS), visual, architecture, embedding_dim=8, lstm_units=32
    )
    describer.vocabulary = Vocabulary(WORDS)
    labels = np.array([[1, 0, 0, 1, 0], [0, 1, 0, 0, 1]], "float32")
    if visual == "label_probabilities":
        labels = 0.8 * labels + 0.1
    sentences = ["a dog sleeps", "a cat runs"]
    targets = np.array([[*describer.vocabulary.encode(s), EOS] for s in sentences])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    describer.compile(keras.optimizers.Adam(0.02), loss, jit_compile=JIT)
    inputs = {"labels": labels, "token_ids": np.roll(targets, 1, axis=1)}
    teach(describer, inputs, targets, steps=150)
    assert describer.caption(labels, "greedy") == sentences


def test_what_cannot_be_used_is_refused_by_name():
    with pytest.raises(ValueError, match="'sound'"):
        make("sound", "decoder", 5)
    with pytest.raises(ValueError, match="Probabilities enter at every word"):
        make("label_probabilities", "encoder_decoder", ROLES)
    describer = make("frames", "decoder")
    for frames, match in (
        (FRAMES[0], r"frames \(batch, time, 8, 8, 3\) or features \(batch, time, 5\)"),
        (FRAMES[:0], "at least one"),
        (FRAMES[..., :2], "Received: shape"),
        ((FRAMES, [4, 0, 3]), r"1 to 4 for each of 3 videos.*\[4, 0, 3\]"),
        ((FRAMES, [4, 4]), "for each of 3 videos"),
    ):
        with pytest.raises(ValueError, match=match):
            describer.generate(frames)
    with pytest.raises(ValueError, match="one sentence a video.*3 videos"):
        describer.score((FRAMES, COUNTS), [[2], [3]])
