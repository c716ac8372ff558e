"""`caption_dataset`: from paths and sentences to what `fit` trains on."""

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from zoo.data.batches.caption_dataset import caption_dataset
from zoo.models.backbones import image_encoder
from zoo.text.vocabulary import Vocabulary

COLORS = {"red": (250, 20, 20), "green": (20, 250, 20), "blue": (20, 20, 250)}
SIDE = 8


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    paths = []
    for name, color in COLORS.items():
        paths.append(folder / f"{name}.png")
        Image.new("RGB", (12, 10), color).save(paths[-1])
    return paths


def sentences():
    return [[f"a {name} picture", f"all is {name}"] for name in COLORS]


def test_every_caption_is_an_example_with_its_own_image(photographs):
    dataset, vocabulary = caption_dataset(
        photographs, sentences(), SIDE, batch_size=4, min_count=1, seed=3
    )
    found = []
    for inputs, targets, weights in dataset.as_numpy_iterator():
        np.testing.assert_array_equal(inputs["token_ids"][:, 1:], targets[:, :-1])
        np.testing.assert_array_equal(weights.sum(1), (targets != 0).sum(1) + 1)
        for image, ids in zip(inputs["image"], targets, strict=True):
            found.append(vocabulary.decode(ids))
            [name] = set(found[-1].split()) & set(COLORS)
            expected = np.broadcast_to(COLORS[name], (SIDE, SIDE, 3))
            np.testing.assert_allclose(image, expected, atol=1e-3)
    assert sorted(found) == sorted(text for texts in sentences() for text in texts)


def test_order_of_captions_changes_with_every_epoch(photographs):
    dataset, _ = caption_dataset(photographs, sentences(), SIDE, min_count=1)
    orders = [next(dataset.as_numpy_iterator())[1].tolist() for _ in range(4)]
    assert any(order != orders[0] for order in orders[1:])


def test_captioner_learns_from_paths_and_sentences(photographs):
    keras.utils.set_random_seed(0)
    texts = [f"a {name} picture" for name in COLORS]
    dataset, vocabulary = caption_dataset(photographs, texts, SIDE, min_count=1)
    network = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.AveragePooling2D(8)])
    captioner = zoo.lrcn_captioner(
        image_encoder(network, (1 / 255, 0.0)), len(vocabulary), lstm_units=16, embedding_dim=8
    )
    captioner.vocabulary = vocabulary
    captioner.compile(keras.optimizers.Adam(0.02))
    captioner.fit(dataset.repeat(60), epochs=1, verbose=0)
    assert captioner.caption(photographs, "greedy") == texts


def test_given_vocabulary_is_used(photographs):
    given = Vocabulary(["<eos>", "<unk>", "red"])
    dataset, vocabulary = caption_dataset(photographs, ["red"] * 3, SIDE, vocabulary=given)
    assert vocabulary is given
    assert next(dataset.as_numpy_iterator())[1].tolist() == [[2, 0]] * 3


def test_unreadable_images_are_errors_that_name_the_files(photographs, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    paths = [*photographs, tmp_path / "text.jpg", tmp_path / "missing.jpg"]
    with pytest.raises(ValueError, match="2 that cannot be read.*text.jpg: not an image"):
        caption_dataset(paths, ["a"] * 5, SIDE)


@pytest.mark.parametrize(("count", "captions"), [(2, ["a"]), (0, []), (1, [[]])])
def test_captions_that_do_not_fit_the_paths_are_errors(count, captions, photographs):
    with pytest.raises(ValueError, match="Expected"):
        caption_dataset(photographs[:count], captions, SIDE)
