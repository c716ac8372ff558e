"""The authors' models out of their `.caffemodel` files."""

import pathlib
from typing import NamedTuple

import keras

from zoo.caffe.fingerprints import Comparison, compare
from zoo.caffe.layouts import (
    CaffeWeights,
    fill_dense,
    fill_encoder,
    gate_matrix,
    gate_vector,
    table,
)
from zoo.models.activity_recognizer import lrcn_activity_recognizer, single_frame_recognizer
from zoo.models.caffe_backbones import (
    HYBRID_MEAN_PIXEL,
    MEAN_PIXEL,
    VGG_MEAN_PIXEL,
    VGG_NAMES,
    caffenet,
    caffenet_hybrid,
    crop_center,
    vgg16,
)
from zoo.models.captioner import lrcn_captioner
from zoo.models.layers import VARIANTS
from zoo.presets import save_to_preset
from zoo.vocabulary import RESERVED, Vocabulary

FLOW_MEAN_PIXEL = (128.0, 128.0, 128.0)  # no motion; authors' nets on flow images
FULLY_CONNECTED = ("fc8", "fc7", "fc6")  # the last of them that a file has gives the features
LSTMS = ["lstm1", "lstm2", "lstm3", "lstm4"]
FRAMES = {  # how the authors' nets see a video
    "rate": 30.0,  # frames per second; paper, section 4.1
    "size": (240, 320),
    "clip_length": 16,
    "stride": 8,
}
DECODING = {"beam_size": 3, "length_penalty": 0.0}  # paper, section 5: best by CIDEr-D of beams


class Conversion(NamedTuple):
    """What became of a file.

    Attributes:
        model: The Keras model.
        moved: List of `zoo.caffe.layouts.Moved`, one a blob of the file.
        comparison: `zoo.caffe.fingerprints.Comparison`, or None.
        about: What was found in the file, a sentence.
    """

    model: keras.Model
    moved: list
    comparison: Comparison | None
    about: str


def convert(path, to, words, folder, modality=None):
    """Makes a preset of a `.caffemodel`, in full precision.

    Args:
        path: File.
        to: `"lrcn_activity_recognizer"`, `"single_frame_recognizer"` or `"lrcn_captioner"`.
        words: List of the classes' names, or `Vocabulary` of a captioner.
        folder: Folder to write, see `save_to_preset`.
        modality: `"rgb"` or `"flow"`, what an activity net was trained on; None for `"flow"`
            where the name of the file says so, otherwise `"rgb"`.

    Returns:
        `Conversion`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no whole `.caffemodel`, or of another net: a blob is missing, left
            over or of another shape; or if the words are too many or too few.
    """
    weights = CaffeWeights(path)
    name = pathlib.Path(path).name
    metadata = {}
    if to == "lrcn_captioner":
        model, about = _captioner(weights, words)
        metadata["decoding"] = DECODING
    else:
        modality = modality or ("flow" if "flow" in name.lower() else "rgb")
        model, about = _recognizer(weights, to, words, modality)
        metadata["frames"] = {"modality": modality, **FRAMES}
    weights.check_nothing_left()
    about = f"{about} Its weights are those of {name}, converted from Caffe."
    save_to_preset(model, folder, {"about": about, **metadata}, half_precision=False)
    return Conversion(model, weights.moved, compare(weights.moved), about)


def read_authors_vocabulary(path):
    """Reads the vocabulary of the authors' captioners, or one of ours.

    Theirs begins with `<unk>`: the end of a sentence has id 0 and no line. They cut sentences at
    runs of characters that are no word's, so that a "word" may have white space in it, which
    becomes `_` here.

    Args:
        path: File, one word a line.

    Returns:
        `Vocabulary`.

    Raises:
        ValueError: If it is no vocabulary.
    """
    lines = pathlib.Path(path).read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    if lines[0] == RESERVED[1]:
        lines = [RESERVED[0], *lines]
    try:
        return Vocabulary("_".join(line.split()) for line in lines)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _recognizer(weights, to, class_names, modality):
    """Builds and fills an activity net; gives it and what it is."""
    classifier = _only(weights, "fc8", "the last layer, `fc8-final` or `fc8-ucf`,")
    num_classes = weights.shape_of(classifier, 0)[-2]
    if num_classes != len(class_names):
        raise ValueError(
            f"{weights.path} has {num_classes} classes, in {classifier!r}, but there are "
            f"{len(class_names)} names of classes."
        )
    recurrent = to == "lrcn_activity_recognizer"
    encoder = _cnn(weights, modality, recurrent)
    if recurrent:
        units = weights.shape_of("lstm1", 2)[-1]
        model = lrcn_activity_recognizer(
            encoder, num_classes, clip_length=None, lstm_units=units, input_dropout=0.9
        )
        cell = model.lstm.cell
        weights.move(
            "lstm1",
            [
                (cell.kernel, gate_matrix),
                (cell.bias, gate_vector),
                (cell.recurrent_kernel, gate_matrix),
            ],
        )
    else:
        model = single_frame_recognizer(encoder, num_classes)
    fill_dense(model.get_layer("logits"), weights, classifier)
    model.class_names = list(class_names)
    kind = f"LRCN with {units} units" if recurrent else "Single frames"
    return model, f"{kind} on {encoder.name}, {modality}, {num_classes} classes."


def _captioner(weights, vocabulary):
    """Builds and fills a captioner; gives it and what it is."""
    variant = find_variant(weights)
    size, width = weights.shape_of("embedding", 0)[-2:]
    if size != len(vocabulary):
        raise ValueError(
            f"{weights.path} has {size} words, the end of a sentence counted, but the vocabulary "
            f"{len(vocabulary)}."
        )
    encoder = _cnn(weights, "captions")
    units = weights.shape_of("lstm1", -1)[-1]
    model = lrcn_captioner(
        crop_center(encoder), size, variant, embedding_dim=width, lstm_units=units
    )
    fill_decoder(model.decoder, weights)
    model.vocabulary = vocabulary
    return model, f"LRCN-{variant} with {units} units on {encoder.name}, {size} words."


def find_variant(weights):
    """Says which of the paper's captioners a file holds, by the LSTM that sees the image.

    Args:
        weights: `CaffeWeights`.

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
        weights: `CaffeWeights`.

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


def _cnn(weights, purpose, recurrent=False):
    """Builds and fills the CNN that a file has, up to its last layer that is no classifier."""
    features = next((name for name in FULLY_CONNECTED if name in weights.shapes), "fc6")
    if "conv1_1" in weights.shapes:
        builder, mean_pixel = vgg16, VGG_MEAN_PIXEL
    elif weights.shape_of("conv1", 0)[-1] == 11:
        builder, mean_pixel = caffenet, MEAN_PIXEL
    else:  # of the LSTMs alone red's mean pixel is another, see `HYBRID_MEAN_PIXEL`
        builder = caffenet_hybrid
        mean_pixel = HYBRID_MEAN_PIXEL if recurrent else VGG_MEAN_PIXEL
    mean_pixel = {"flow": FLOW_MEAN_PIXEL, "captions": MEAN_PIXEL}.get(purpose, mean_pixel)
    encoder = builder(features, mean_pixel=mean_pixel)
    fill_encoder(encoder, weights, VGG_NAMES)
    return encoder


def _only(weights, begins, what):
    found = [name for name in weights.shapes if name.startswith(begins)]
    if len(found) != 1:
        raise ValueError(
            f"{weights.path}: expected {what} of an activity net, and one only. Layers with "
            f"weights: {', '.join(weights.shapes)}."
        )
    return found[0]
