"""Small CNNs for frames of 32 pixels, trained from scratch on moving digits."""

import keras
from keras import layers

from zoo.models.backbones.image_encoder import image_encoder


def small_cnn():
    """Builds a CNN for frames of 32 pixels, to be trained from scratch; it keeps positions.

    Returns:
        `keras.Model` from frames, float32 RGB in 0..255 `(batch, 32, 32, 3)`, to features `(batch,
        128)`.
    """
    network = keras.Sequential([keras.Input((32, 32, 3))], name="small")
    for filters, kernel_size in ((16, 5), (32, 3), (64, 3)):
        network.add(layers.Conv2D(filters, kernel_size, 2, "same"))
        network.add(layers.BatchNormalization(momentum=0.9))
        network.add(layers.ReLU())
    network.add(layers.Flatten())
    network.add(layers.Dense(128))
    network.add(layers.BatchNormalization(momentum=0.9))
    network.add(layers.Activation("tanh"))  # bounded, or some seeds are slow to learn
    return image_encoder(network, (1 / 255, 0.0), pooling=None, name="small_cnn")


def digit_cnn():
    """Builds a CNN for frames of 32 pixels, to be trained from scratch; it tells what from where.

    Half of its features say what is there, wherever it is, by the maximum over all places; the
    other half where something is, whatever it is, by means over rows and over columns.

    Returns:
        `keras.Model` from frames, float32 RGB in 0..255 `(batch, 32, 32, 3)`, to features `(batch,
        128)`.
    """

    def convolve(x, filters, kernel_size):
        x = layers.Conv2D(filters, kernel_size, 2, "same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    def squash(x):
        x = layers.BatchNormalization(momentum=0.9)(layers.Dense(64)(x))
        return layers.Activation("tanh")(x)  # bounded, or some seeds are slow to learn

    frame = keras.Input((32, 32, 3))
    edges = convolve(frame, 16, 5)  # (batch, 16, 16, 16)
    shapes = convolve(convolve(edges, 32, 3), 96, 3)  # (batch, 4, 4, 96)
    rows = layers.Flatten()(layers.AveragePooling2D((1, 16))(edges))
    columns = layers.Flatten()(layers.AveragePooling2D((16, 1))(edges))
    where = squash(layers.Concatenate()([rows, columns]))
    what = squash(layers.GlobalMaxPooling2D()(shapes))
    network = keras.Model(frame, layers.Concatenate()([where, what]), name="what_and_where")
    return image_encoder(network, (1 / 255, 0.0), pooling=None, name="digit_cnn")
