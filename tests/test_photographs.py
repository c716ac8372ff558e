"""A split holds what can be used, and says what could not."""

import keras
import numpy as np
import pytest
from PIL import Image

from zoo.data.datasets import CaptionedImage
from zoo.data.features.photographs import Photographs
from zoo.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary(["<eos>", "<unk>", "a", "red", "square"])


@pytest.fixture(scope="module")
def encoder():
    """Gives an image's mean colour."""
    images = keras.Input((8, 8, 3))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(images))


@pytest.fixture
def examples(tmp_path):
    for name, colour in {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}.items():
        Image.new("RGB", (10, 12), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "text.jpg").write_text("no picture")
    captions = {
        "red": ["A red square.", "red", "..."],
        "text": ["a square"],
        "green": [],
        "gone": ["a square"],
        "blue": ["a blue square"],
    }
    return [
        CaptionedImage(n, str(tmp_path / f"{name}.{'jpg' if name == 'text' else 'png'}"), texts)
        for n, (name, texts) in enumerate(captions.items())
    ]


@pytest.fixture
def photos(examples, encoder, tmp_path):
    return Photographs(examples, encoder, tmp_path / "cache", ("full", "mirror"))


def test_only_readable_images_with_captions_are_used(photos):
    assert [example.image_id for example in photos.examples] == [0, 4]
    assert photos.features.shape == (2, 2, 3)
    np.testing.assert_allclose(photos.features[:, 0], [[255, 0, 0], [0, 0, 255]])
    assert photos.paths == [example.path for example in photos.examples]
    assert photos.captions == ["A red square.", "red", "a blue square"]
    assert photos.references == {0: ["A red square.", "red"], 4: ["a blue square"]}


def test_what_was_left_out_is_counted_and_named(photos, examples):
    reasons = {path.split("/")[-1]: reason for path, reason in photos.skipped.items()}
    assert reasons["green.png"] == "no caption with a word"
    assert reasons["gone.png"].startswith("missing")
    assert "not an image" in reasons["text.jpg"]
    assert len(reasons) == 3
    assert photos.skipped_line().startswith("3 images were left out, the first one /")
    assert "green.png: no caption with a word" in photos.skipped_line()


def test_nothing_is_said_where_nothing_was_left_out(examples, encoder, tmp_path):
    assert Photographs(examples[:1], encoder, tmp_path / "cache").skipped_line() is None


def test_captions_are_encoded_with_the_index_of_their_image(photos):
    token_ids, image_index = photos.encode_captions(VOCABULARY, 4)
    assert token_ids.tolist() == [[2, 3, 4, 0], [3, 0, 0, 0], [2, 1, 4, 0]]
    assert image_index.tolist() == [0, 0, 1]


def test_captions_are_grouped_image_by_image(photos):
    assert photos.group_captions(VOCABULARY, 3).tolist() == [
        [[2, 3, 4], [3, 0, 0]],
        [[2, 1, 4], [0, 0, 0]],
    ]


def test_another_encoder_replaces_the_features(photos, tmp_path):
    images = keras.Input((4, 4, 3))
    doubled = keras.layers.Rescaling(2.0)(keras.layers.GlobalAveragePooling2D()(images))
    photos.encode_again(keras.Model(images, doubled), tmp_path / "cache")
    np.testing.assert_allclose(photos.features, [[[510, 0, 0]], [[0, 0, 510]]])


def test_a_split_without_a_usable_image_is_refused(examples, encoder, tmp_path):
    with pytest.raises(ValueError, match=r"None of the 2 images.*green.png: no caption"):
        Photographs([examples[2], examples[3]], encoder, tmp_path / "cache")
    with pytest.raises(ValueError, match="the split is empty"):
        Photographs([], encoder, tmp_path / "cache")


def test_two_entries_with_one_id_are_refused(examples, encoder, tmp_path):
    twice = [examples[0], examples[4]._replace(image_id=0)]
    with pytest.raises(ValueError, match=r"image id 0: .*red.png and .*blue.png"):
        Photographs(twice, encoder, tmp_path / "cache")


def test_images_that_are_lost_later_are_named(photos, encoder, tmp_path):
    photos.encode_again(encoder, tmp_path / "again")
    assert photos.features.shape == (2, 1, 3)
    (tmp_path / "blue.png").unlink()
    with pytest.raises(ValueError, match="1 images could be read before .*blue.png: missing"):
        photos.encode_again(encoder, tmp_path / "again")


def test_digest_changes_with_captions_and_order(photos):
    before = photos.digest()
    photos.examples.reverse()
    assert photos.digest() != before
    photos.examples.reverse()
    assert photos.digest() == before
    photos.examples[0].captions.append("one more")
    assert photos.digest() != before
