"""Paths and sentences become the data set on which `LRCNCaptioner.fit` trains."""

import os

import tensorflow as tf

from zoo.data.batches.captions import teach
from zoo.data.images.decode import decode_image, explain, resize_image
from zoo.text.tokenization import encode_captions
from zoo.text.vocabulary import Vocabulary

SHOWN = 5  # unreadable files that an error names


def caption_dataset(
    paths,
    captions,
    image_size,
    vocabulary=None,
    batch_size=32,
    min_count=5,
    max_words=20,
    seed=0,
):
    """Makes a data set for `LRCNCaptioner.fit`, and the vocabulary that it needs.

    Every caption is an example of its own. The order changes with every epoch. The images are
    read anew in every epoch, so that memory does not grow with their number.

    Args:
        paths: List of paths of image files.
        captions: List with one entry for each path: a sentence, or a list of sentences.
        image_size: Height and width in pixels that the image encoder expects, an int.
        vocabulary: `zoo.text.vocabulary.Vocabulary`, such as that of a pretrained captioner. None
            makes one of the captions.
        batch_size: Captions in a batch.
        min_count: A word that occurs less often becomes `<unk>`, if the vocabulary is made here.
        max_words: Words of a caption that are used.
        seed: Seed of the order.

    Returns:
        A pair of `tf.data.Dataset` and `Vocabulary`. The data set yields `({"image",
        "token_ids"}, targets, weights)`: float32 RGB in 0..255 `(batch_size, image_size,
        image_size, 3)`, int32 `(batch_size, words)` twice, and float32 `(batch_size, words)`.

    Raises:
        ValueError: If there are no captions, the lengths differ, or an image cannot be read.

    Example:

    ```python
    dataset, vocabulary = caption_dataset(paths, sentences, image_size=224)
    captioner = zoo.lrcn_captioner(efficientnet_lite0(), len(vocabulary), lstm_units=512)
    captioner.vocabulary = vocabulary
    captioner.compile()
    captioner.fit(dataset, epochs=5)
    ```
    """
    if len(paths) != len(captions) or not len(paths):
        raise ValueError(
            "Expected one caption, or one list of captions, for each of at least one path. "
            f"Received: {len(paths)} paths and {len(captions)} captions"
        )
    _check_readable(paths)

    # One row for each caption: the index of its image, and its words. (captions, max_words)
    sentences = []
    image_index = []
    for index, entry in enumerate(captions):
        own = [entry] if isinstance(entry, str) else list(entry)
        sentences += own
        image_index += [index] * len(own)
    if not sentences:
        raise ValueError("Expected at least one caption. Received: none")
    if vocabulary is None:
        vocabulary = Vocabulary.from_captions(sentences, min_count)
    token_ids = encode_captions(sentences, vocabulary, max_words)

    files = tf.constant([os.fsencode(path) for path in paths])

    def load(index, ids):
        image = decode_image(tf.io.read_file(files[index]))
        return resize_image(image, image_size), ids

    def make_batch(images, ids):
        return teach({"image": images}, ids)

    dataset = tf.data.Dataset.from_tensor_slices((image_index, token_ids))
    dataset = dataset.shuffle(len(sentences), seed=seed, reshuffle_each_iteration=True)
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(batch_size).map(make_batch).prefetch(2)
    return dataset, vocabulary


def _check_readable(paths):
    """Raises a `ValueError` that names the first files that cannot be read, and the reasons."""
    reasons = {path: explain(path) for path in paths}
    unreadable = [f"{path}: {reason}" for path, reason in reasons.items() if reason]
    if unreadable:
        shown = "; ".join(unreadable[:SHOWN])
        raise ValueError(
            f"Expected {len(paths)} readable images. Received: {len(unreadable)} that cannot be "
            f"read, such as {shown}. Leave them out; `lrcn audit` lists them all."
        )
