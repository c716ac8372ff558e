"""Training batches of captions, in an order that depends on nothing but seed and epoch."""

import os
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from zoo.data.batches.service import read_batches
from zoo.data.images.decode import decode_image, resize_image
from zoo.text.tokenization import teacher_forcing

CROP = 7 / 8  # side of a random crop over the picture's; the paper's 224 of 256
SMALLEST_CROP = 0.6  # with augmentation: of each side, drawn for itself
POOL = 20  # batches whose captions are sorted by length together


class Share(NamedTuple):
    """Which rows of every batch are read here, where several machines train one model.

    Attributes:
        worker: Number of this machine, from 0.
        workers: How many machines there are.
        devices: How many devices of this machine take a batch each, one after the other.
    """

    worker: int = 0
    workers: int = 1
    devices: int = 1

    def of(self, drawn, first_batch=0):
        """Leaves out what was drawn for batches that were seen, and for other machines.

        >>> drawn = np.arange(16).reshape(2, 8)
        >>> Share(worker=1, workers=2).of(drawn).tolist()
        [[4, 5, 6, 7], [12, 13, 14, 15]]
        >>> Share(worker=1, workers=2, devices=2).of(drawn, first_batch=1).tolist()
        [[12, 13], [14, 15]]

        Args:
            drawn: `(batches, batch_size, ...)`.
            first_batch: Batches to leave out.

        Returns:
            `(batches * devices, batch_size / workers / devices, ...)`.
        """
        own = np.split(drawn[first_batch:], self.workers, axis=1)[self.worker]
        return own.reshape(-1, own.shape[1] // self.devices, *own.shape[2:])


WHOLE = Share()


def epoch_order(num_examples, batch_size, seed, epoch, lengths=None):
    """Draws the order of an epoch.

    A last, short batch is topped up with examples of the epoch's beginning, as the authors did.

    >>> epoch_order(5, 2, seed=0, epoch=0).shape
    (3, 2)

    Args:
        num_examples: Number of examples.
        batch_size: Examples a batch.
        seed: Seed of the run.
        epoch: Number of the epoch.
        lengths: Words of each example. If given, examples of like length share a batch, which
            then needs less padding.

    Returns:
        int64 `(num_batches, batch_size)`, indices of examples.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(num_examples)
    missing = -num_examples % batch_size
    order = np.concatenate([order, np.resize(order, missing)])
    if lengths is not None:
        pools = np.array_split(order, range(POOL * batch_size, len(order), POOL * batch_size))
        pools = [pool[np.argsort(np.asarray(lengths)[pool], kind="stable")] for pool in pools]
        order = np.concatenate(pools)
    batches = order.reshape(-1, batch_size)
    return rng.permutation(batches) if lengths is not None else batches


def feature_batches(
    features,
    image_index,
    token_ids,
    batch_size,
    seed,
    epoch,
    first_batch=0,
    share=WHOLE,
    name="features",
    caption_weights=None,
):
    """Batches for a decoder whose frozen encoder has run already.

    Args:
        features: float `(images, views, features)`; a view of the image is drawn by chance.
        image_index: int `(captions,)`, which image a caption describes.
        token_ids: int32 `(captions, max_words)`, padded with 0.
        batch_size: Captions a batch.
        seed: Seed of the run.
        epoch: Number of the epoch.
        first_batch: Batches to leave out, because a run that goes on has seen them.
        share: Which rows of every batch are read.
        name: What the model calls its input: `"features"`, or `"labels"` of a video.
        caption_weights: float32 `(captions,)`, how much each caption counts in the loss. None
            counts all alike.

    Returns:
        `tf.data.Dataset` of `({"features", "token_ids"}, targets, weights)`: float32 `(batch_size,
        features)`; int32 `(batch_size, words)` as input, as target, and float32 as weight. `words`
        is that of the batch's longest caption.
    """
    lengths = np.count_nonzero(token_ids, axis=1)
    order = epoch_order(len(token_ids), batch_size, seed, epoch, lengths)
    views = np.random.default_rng([seed, epoch, 1]).integers(features.shape[1], size=order.shape)
    features, token_ids = tf.constant(features), tf.constant(token_ids)
    image_index = tf.constant(image_index, tf.int64)
    weights = None if caption_weights is None else tf.constant(caption_weights)

    def gather(captions, views):
        seen = tf.stack([tf.gather(image_index, captions), views], axis=1)
        image = tf.cast(tf.gather_nd(features, seen), tf.float32)
        of_captions = None if weights is None else tf.gather(weights, captions)
        return teach({name: image}, tf.gather(token_ids, captions), of_captions)

    batches = tf.data.Dataset.from_tensor_slices(
        (share.of(order, first_batch), share.of(views, first_batch))
    )
    return batches.map(gather, num_parallel_calls=2).prefetch(tf.data.AUTOTUNE)


def image_batches(
    paths,
    token_ids,
    size,
    batch_size,
    seed,
    epoch,
    first_batch=0,
    share=WHOLE,
    service=None,
    caption_weights=None,
    augment=False,
):
    """Batches for fine-tuning the whole network: an image once, with all its captions.

    The image is cropped and mirrored by chance.

    Args:
        paths: Files of the images, all readable.
        token_ids: int32 `(images, captions, max_words)`; missing captions are rows of zeros, which
            get no weight.
        size: Height and width that the encoder sees.
        batch_size: Images a batch.
        seed: Seed of the run.
        epoch: Number of the epoch.
        first_batch: Batches to leave out, because a run that goes on has seen them.
        share: Which rows of every batch are read.
        service: See `zoo.data.batches.service.read_batches`.
        caption_weights: float32 `(images, captions)`, how much each caption counts in the loss.
            None counts all alike.
        augment: Whether the size of the crop is drawn too, from 60 to 100 % of each side, and the
            picture is blurred or sharpened by chance. Otherwise a crop has 7/8 of each side.

    Returns:
        `tf.data.Dataset` of `({"image", "token_ids"}, targets, weights)`: float32 RGB in 0..255
        `(batch_size, size, size, 3)`; int32 `(batch_size, captions, words)` as input, as target,
        and float32 as weight.
    """
    order = epoch_order(len(paths), batch_size, seed, epoch)
    rng = np.random.default_rng([seed, epoch, 1])
    places = rng.random((*order.shape, 2), dtype="float32")  # of a crop, in its room
    mirrored = rng.integers(2, size=order.shape).astype(bool)
    crops = np.full(places.shape, CROP, "float32")
    sharpness = np.zeros(order.shape, "float32")
    if augment:
        crops = rng.uniform(SMALLEST_CROP, 1, places.shape).astype("float32")
        sharpness = rng.uniform(-1, 1, order.shape).astype("float32")
    files = tf.constant([os.fsencode(os.path.abspath(path)) for path in paths])
    token_ids = tf.constant(token_ids)
    weights = None if caption_weights is None else tf.constant(caption_weights)

    def look(image, place, mirror, crop, sharp):
        picture = decode_image(tf.io.read_file(files[image]))
        pixels = tf.shape(picture)[:2]
        sides = tf.cast(pixels, tf.float32)
        top_left = tf.cast(place * (1 - crop) * sides, tf.int32)
        crop_sides = tf.cast(tf.math.ceil(crop * sides), tf.int32)
        crop_sides = tf.minimum(crop_sides, pixels - top_left)  # rounding may add a pixel
        picture = tf.slice(picture, tf.concat([top_left, [0]], 0), tf.concat([crop_sides, [3]], 0))
        picture = resize_image(picture, size)
        if augment:
            picture = sharpen(picture, sharp)
        return tf.cond(mirror, lambda: tf.reverse(picture, [1]), lambda: picture), image

    def add_captions(images, indices):
        of_captions = None if weights is None else tf.gather(weights, indices)
        return teach({"image": images}, tf.gather(token_ids, indices), of_captions)

    drawn = [share.of(one, first_batch) for one in (order, places, mirrored, crops, sharpness)]
    return read_batches(drawn, look, service).map(add_captions).prefetch(2)


def sharpen(image, amount):
    """Sharpens a picture, or blurs it where the amount is negative.

    Args:
        image: float32 `(height, width, 3)` in 0..255.
        amount: Share of the difference from the mean of 3 x 3 pixels that is added. -1 gives that
            mean; 0 leaves the picture as it is.

    Returns:
        float32 of the same shape, in 0..255.
    """
    mean = tf.nn.avg_pool2d(image[None], 3, 1, "SAME")[0]
    return tf.clip_by_value(image + amount * (image - mean), 0.0, 255.0)


def sampling_batches(
    features, num_samples, max_words, batch_size, seed, epoch, first_batch=0, share=WHOLE
):
    """Batches for training on sentences that the model draws itself.

    Args:
        features: float `(images, views, features)`; a view of the image is drawn by chance.
        num_samples: Sentences to draw an image.
        max_words: Longest sentence.
        batch_size: Images a batch.
        seed: Seed of the run.
        epoch: Number of the epoch.
        first_batch: Batches to leave out, because a run that goes on has seen them.
        share: Which rows of every batch are read.

    Returns:
        `tf.data.Dataset` of dicts: `features`, float32 `(batch_size, features)`; `image_index`,
        int64 `(batch_size,)`; and `uniforms`, float32 `(batch_size, num_samples, max_words)` in
        [0, 1), which choose the words.
    """
    order = epoch_order(len(features), batch_size, seed, epoch)
    rng = np.random.default_rng([seed, epoch, 1])
    views = rng.integers(features.shape[1], size=order.shape)
    uniforms = rng.random((*order.shape, num_samples, max_words), dtype="float32")
    features = tf.constant(features)

    def gather(images, views, uniforms):
        seen = tf.cast(tf.gather_nd(features, tf.stack([images, views], axis=1)), tf.float32)
        return {"features": seen, "image_index": images, "uniforms": uniforms}

    batches = tuple(share.of(drawn, first_batch) for drawn in (order, views, uniforms))
    return tf.data.Dataset.from_tensor_slices(batches).map(gather).prefetch(tf.data.AUTOTUNE)


def teach(inputs, token_ids, caption_weights=None):
    """Adds words, targets and weights; cuts padding that no caption of the batch needs.

    Args:
        inputs: Dict of what else the model sees.
        token_ids: int32 `(..., max_words)`, padded with 0.
        caption_weights: float32 `(...)`, a factor on the weights of each caption's words, or None.

    Returns:
        The inputs with `token_ids`, the targets and the weights, each `(..., words)`.
    """
    lengths = tf.reduce_sum(tf.cast(token_ids != 0, tf.int32), axis=-1)
    longest = tf.reduce_max(lengths) + 1  # and its end
    before, targets, weights = teacher_forcing(token_ids[..., :longest])
    if caption_weights is not None:
        weights *= caption_weights[..., None]
    return {**inputs, "token_ids": before}, targets, weights
