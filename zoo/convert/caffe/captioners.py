"""The authors' captioners out of their `.caffemodel` files."""

import keras

from zoo.convert.caffe.cnns import read_cnn
from zoo.models.backbones.caffe_layouts import fill_layer, fill_lstm, table
from zoo.models.backbones.caffe_nets import MEAN_PIXEL
from zoo.models.captioner import lrcn_captioner
from zoo.models.decoders.caption_decoder import VARIANTS

LSTMS = ["lstm1", "lstm2", "lstm3", "lstm4"]
MARGIN = 29  # pixels around what the CNN sees: 256 - 227
DECODING = {"beam_size": 3, "length_penalty": 0.0}  # paper, section 5: beams' best by CIDEr-D


def read_captioner(weights, vocabulary):
    """Builds and fills a captioner.

    Args:
        weights: `zoo.models.backbones.caffe_layouts.CaffeWeights`.
        vocabulary: `zoo.text.vocabulary.Vocabulary`.

    Returns:
        `LRCNCaptioner` with that vocabulary, and what it is, a sentence.

    Raises:
        ValueError: If the file is of another net, or the vocabulary of another captioner.
    """
    variant = find_variant(weights)
    size, width = weights.shape_of("embedding", 0)[-2:]
    if size != len(vocabulary):
        raise ValueError(
            f"{weights.path} has {size} words, the end of a sentence counted, but the vocabulary "
            f"{len(vocabulary)}."
        )
    units = weights.units_of("lstm1")
    encoder, seen = read_cnn(weights, MEAN_PIXEL)
    model = lrcn_captioner(
        see_center(encoder), size, variant, embedding_dim=width, lstm_units=units
    )
    fill_decoder(model.decoder, weights)
    model.vocabulary = vocabulary
    return model, f"LRCN-{variant} with {units} units on {seen}, {size} words."


def find_variant(weights):
    """Says which of the paper's captioners a file holds, by the LSTM that sees the image.

    Args:
        weights: `zoo.models.backbones.caffe_layouts.CaffeWeights`.

    Returns:
        `"1u"`, `"2u"`, `"2f"` or `"4f"`.

    Raises:
        ValueError: If it is none of them.
    """
    lstms = [name for name in LSTMS if name in weights.shapes]
    seeing = [n for n, name in enumerate(lstms) if len(weights.shapes[name]) == 4]
    for variant, (layers, image_layer) in VARIANTS.items():
        if lstms == LSTMS[:layers] and seeing == [image_layer]:
            return variant
    found = {name: weights.shapes[name] for name in lstms}
    raise ValueError(
        f"{weights.path} has the recurrent layers {found}. Expected lstm1, lstm2, ... with three "
        "blobs each, and a fourth in the one that sees the image: the first, or of several the "
        "second."
    )


def fill_decoder(decoder, weights):
    """Moves embedding, LSTMs and output of a captioner.

    Args:
        decoder: `zoo.models.decoders.caption_decoder.CaptionDecoder` of the same variant and sizes.
        weights: `zoo.models.backbones.caffe_layouts.CaffeWeights`.

    Raises:
        ValueError: If a layer is not there, or has another shape.
    """
    weights.move("embedding", [(decoder.embedding.embeddings, table)])
    for n, (share, rnn) in enumerate(zip(decoder.input_shares, decoder.rnns, strict=True)):
        image = decoder.image_share if n == decoder.image_layer else None
        fill_lstm(weights, LSTMS[n], share, rnn.cell, image)
    fill_layer(decoder.logits, weights, "predict")


def see_center(encoder):
    """Lets an encoder see the middle of a picture, as the authors' captioners do in a test.

    They cut 227/256 of each side out and bring that to the size of the CNN; here the picture is
    brought to 256 pixels (253 for VGG-16, which takes 224), and what is too much is cut off.

    Args:
        encoder: Image encoder of `zoo.models.backbones.caffe_nets`.

    Returns:
        A `keras.Model` from images, float32 RGB in 0..255, `(batch, size, size, 3)`, `size` being
        `MARGIN` more than the encoder's, to the encoder's features.
    """
    height, width, channels = encoder.input_shape[1:]
    images = keras.Input((height + MARGIN, width + MARGIN, channels), name="image")
    before, after = MARGIN // 2, MARGIN - MARGIN // 2  # 14 above and left, as Caffe rounds
    middle = keras.layers.Cropping2D(((before, after), (before, after)), name="crop")(images)
    return keras.Model(images, encoder(middle), name=f"{encoder.name}_on_center")
