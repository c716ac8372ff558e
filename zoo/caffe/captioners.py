"""The authors' captioners out of their `.caffemodel` files, with their vocabulary."""

import pathlib

import keras

from zoo.caffe.cnns import read_cnn
from zoo.caffe.layouts import fill_dense, gate_matrix, gate_vector, table
from zoo.models.caffe_backbones import MEAN_PIXEL, VGG_NAMES
from zoo.models.captioner import lrcn_captioner
from zoo.models.layers import VARIANTS
from zoo.vocabulary import RESERVED, Vocabulary

LSTMS = ["lstm1", "lstm2", "lstm3", "lstm4"]
MARGIN = 29  # pixels around what the CNN sees: 256 - 227
DECODING = {"beam_size": 3, "length_penalty": 0.0}  # paper, section 5: beams' best by CIDEr-D


def read_captioner(weights, vocabulary):
    """Builds and fills a captioner.

    Args:
        weights: `zoo.caffe.layouts.CaffeWeights`.
        vocabulary: `Vocabulary`.

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
    encoder = read_cnn(weights, MEAN_PIXEL)
    model = lrcn_captioner(
        see_center(encoder), size, variant, embedding_dim=width, lstm_units=units
    )
    fill_decoder(model.decoder, weights)
    model.vocabulary = vocabulary
    layer = VGG_NAMES.get(encoder.layers[-1].name, encoder.layers[-1].name)
    about = f"LRCN-{variant} with {units} units on {encoder.name}, {layer}, {size} words."
    return model, about


def find_variant(weights):
    """Says which of the paper's captioners a file holds, by the LSTM that sees the image.

    Args:
        weights: `zoo.caffe.layouts.CaffeWeights`.

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
        decoder: `zoo.models.layers.CaptionDecoder` of the same variant and sizes.
        weights: `zoo.caffe.layouts.CaffeWeights`.

    Raises:
        ValueError: If a layer is not there, or has another shape.
    """
    weights.move("embedding", [(decoder.embedding.embeddings, table)])
    for n, (share, rnn) in enumerate(zip(decoder.input_shares, decoder.rnns, strict=True)):
        targets = [(share.kernel, gate_matrix), (share.bias, gate_vector)]
        if n == decoder.image_layer:
            targets.append((decoder.image_share.kernel, gate_matrix))
        weights.move(LSTMS[n], [*targets, (rnn.cell.recurrent_kernel, gate_matrix)])
    fill_dense(decoder.logits, weights, "predict")


def see_center(encoder):
    """Lets an encoder see the middle of a picture, as the authors' captioners do in a test.

    They cut 227/256 of each side out and bring that to the size of the CNN; here the picture is
    brought to 256 pixels (253 for VGG-16, which takes 224), and what is too much is cut off.

    Args:
        encoder: Image encoder of `zoo.models.caffe_backbones`.

    Returns:
        A `keras.Model` from images, float32 RGB in 0..255, `(batch, size, size, 3)`, `size` being
        `MARGIN` more than the encoder's, to the encoder's features.
    """
    height, width, channels = encoder.input_shape[1:]
    images = keras.Input((height + MARGIN, width + MARGIN, channels), name="image")
    before, after = MARGIN // 2, MARGIN - MARGIN // 2  # 14 above and left, as Caffe rounds
    middle = keras.layers.Cropping2D(((before, after), (before, after)), name="crop")(images)
    return keras.Model(images, encoder(middle), name=f"{encoder.name}_on_center")


def read_authors_vocabulary(path):
    """Reads the vocabulary of the authors' captioners, or one of ours.

    Theirs begins with `<unk>`: the end of a sentence has id 0 and no line. They cut sentences at
    runs of characters that are no word's, so that a "word" may have white space in it, such as
    `, "`, which becomes `_` here.

    Args:
        path: File, one word a line.

    Returns:
        `Vocabulary`.

    Raises:
        ValueError: If it is no vocabulary.
    """
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
        if lines[0] == RESERVED[1]:
            lines = [RESERVED[0], *lines]
        return Vocabulary("_".join(line.split()) for line in lines)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
