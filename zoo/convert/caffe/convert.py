"""Presets of the authors' models out of their `.caffemodel` files."""

import hashlib
import pathlib
from typing import NamedTuple

import keras

from zoo.convert.caffe.captioners import DECODING, read_captioner
from zoo.convert.caffe.cnns import read_cnn
from zoo.convert.caffe.fingerprints import Comparison, compare
from zoo.data.videos.clips import CLIP_LENGTH, FRAME_SIZE, STRIDE
from zoo.models.activity_recognizer import lrcn_activity_recognizer, single_frame_recognizer
from zoo.models.backbones.caffe_layouts import CaffeWeights, fill_layer, fill_lstm
from zoo.models.backbones.caffe_nets import FLOW_MEAN_PIXEL, HYBRID_MEAN_PIXEL, VGG_MEAN_PIXEL
from zoo.models.preset_folder import check_folder

FRAMES = {  # how the authors' nets see a video
    "rate": 30.0,  # frames per second; paper, section 4.1
    "size": FRAME_SIZE,
    "clip_length": CLIP_LENGTH,
    "stride": STRIDE,
}


class Conversion(NamedTuple):
    """What became of a file.

    Attributes:
        model: The Keras model.
        moved: List of `zoo.models.backbones.caffe_layouts.Moved`, one a blob of the file.
        comparison: `zoo.convert.caffe.fingerprints.Comparison`, or None.
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
        folder: Folder to write; an earlier preset there goes when the new one is whole.
        modality: `"rgb"` or `"flow"`, what an activity net was trained on; None for `"flow"`
            where the name of the file says so, otherwise `"rgb"`.

    Returns:
        `Conversion`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no whole `.caffemodel`, or of another net: a blob is missing, left
            over or of another shape; if the words are too many or too few; or if the folder holds
            something else.
    """
    check_folder(folder)  # before anything that takes time
    weights = CaffeWeights(path)
    name = pathlib.Path(path).name
    if (found := _kind(weights)) != to:
        raise ValueError(
            f"{path} is no file for {to}: its layers ({', '.join(weights.shapes)}) look like those "
            f"of {found}. Give that as --to; or the file is not whole."
        )
    if to == "lrcn_captioner":
        model, about = read_captioner(weights, words)
        settings = {"decoding": DECODING}
    else:
        modality = modality or ("flow" if "flow" in name.lower() else "rgb")
        model, about = _recognizer(weights, to, words, modality)
        settings = {"frames": {"modality": modality, **FRAMES}}
    weights.check_nothing_left()
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    about = f"{about} Its weights are those of {name} (SHA-256 {digest}), converted from Caffe."
    comparison = compare(weights.moved) if modality == "rgb" else None
    metadata = {
        "about": f"{about} {comparison.sentence}" if comparison else about,
        "terms": "Those of whoever published the file.",
        **settings,
    }
    model.save_to_preset(folder, metadata, half_precision=False)
    return Conversion(model, weights.moved, comparison, about)


def _kind(weights):
    """Says what a file looks like, by the names of its layers."""
    if "embedding" in weights.shapes or "predict" in weights.shapes:
        return "lrcn_captioner"
    if "lstm1" in weights.shapes:
        return "lrcn_activity_recognizer"
    return "single_frame_recognizer"


def _recognizer(weights, to, class_names, modality):
    """Builds and fills an activity net; gives it and what it is, a sentence."""
    classifier = _classifier(weights)
    num_classes = weights.shape_of(classifier, 0)[-2]
    if num_classes != len(class_names):
        raise ValueError(
            f"{weights.path} has {num_classes} classes, in {classifier!r}, but there are "
            f"{len(class_names)} names of classes."
        )
    recurrent = to == "lrcn_activity_recognizer"
    units = weights.units_of("lstm1") if recurrent else 0
    mean_pixel = HYBRID_MEAN_PIXEL if recurrent else VGG_MEAN_PIXEL
    mean_pixel = FLOW_MEAN_PIXEL if modality == "flow" else mean_pixel
    encoder, seen = read_cnn(weights, mean_pixel, classifier)
    if recurrent:
        model = lrcn_activity_recognizer(
            encoder, num_classes, CLIP_LENGTH, units, input_dropout=0.9
        )
        fill_lstm(weights, "lstm1", model.lstm.cell, model.lstm.cell)
    else:
        model = single_frame_recognizer(encoder, num_classes)
    fill_layer(model.get_layer("logits"), weights, classifier)
    model.class_names = list(class_names)
    kind = f"LRCN with {units} units" if recurrent else "Single frames"
    return model, f"{kind} on {seen}, {modality}, {num_classes} classes."


def _classifier(weights):
    """Finds the last layer of an activity net: `fc8-final`, `fc8-ucf`, or what a fork calls it."""
    found = [name for name in weights.shapes if name.startswith("fc8")]
    if len(found) != 1:
        raise ValueError(
            f"{weights.path}: expected one layer `fc8-...`, which names the activity, such as "
            f"fc8-final or fc8-ucf. Layers with weights: {', '.join(weights.shapes)}."
        )
    return found[0]
