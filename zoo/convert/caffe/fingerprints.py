"""What is known of the numbers in the authors' files, to tell whether a file is theirs."""

from typing import NamedTuple

# Of each file, (layer, blob) -> the least and the greatest number, None where it is not known.
# https://github.com/LisaAnne/lisa-caffe-public, examples/LRCN_evaluate, `check_dict.p`; of the
# CNN it has the minima alone.
KNOWN = {
    "RGB_lstm_model_iter_30000.caffemodel": {
        ("conv1", 0): (-0.254582, None),
        ("conv1", 1): (-0.755508, None),
        ("conv2", 0): (-0.116672, None),
        ("conv2", 1): (0.052054, None),
        ("conv3", 0): (-0.108224, None),
        ("conv3", 1): (0.043546, None),
        ("conv4", 0): (-0.083675, None),
        ("conv4", 1): (-0.092018, None),
        ("conv5", 0): (-0.073559, None),
        ("conv5", 1): (-0.260593, None),
        ("fc6", 0): (-0.016758, None),
        ("fc6", 1): (0.014761, None),
        ("lstm1", 0): (-0.017594, 0.019193),
        ("lstm1", 1): (-0.001663, 0.002106),
        ("lstm1", 2): (-0.012802, 0.012236),
        ("fc8-final", 0): (-0.111131, 0.115037),
        ("fc8-final", 1): (-0.217259, 0.235254),
    }
}
# Of two videos of UCF101, the same source: the first frame's mean pixel, and the maximum of each
# layer for the center of that frame.
FIRST = "mean pixel of the first frame"
ACTIVATIONS = {
    "v_JugglingBalls_g01_c02": {
        FIRST: 129.0826,
        "data": 151.061,
        "conv1": 1409.37,
        "norm1": 138.331,
        "conv2": 216.267,
        "norm2": 124.566,
        "conv5": 38.1714,
        "fc6": 19.95282,
    },
    "v_MilitaryParade_g05_c03": {
        FIRST: 88.1156,
        "data": 126.32,
        "conv1": 1083.12,
        "norm1": 138.606,
        "conv2": 229.603,
        "norm2": 130.008,
        "conv5": 29.5668,
        "fc6": 19.34822,
    },
}
# And of the first 16 frames, behind the LSTM. Noted of the other video too, but with the same
# numbers: a buffer that was used again, since the input's maximum is that of this one.
OF_16_FRAMES = {
    "v_JugglingBalls_g01_c02": {
        "lstm1, minimum": -0.999205,
        "lstm1, maximum": 0.999142,
        "fc8-final, minimum": -3.439335,
        "fc8-final, maximum": 6.23402,
        "greatest probability": 0.462677,
    }
}
CLASSIFIER = (101, 256)  # shape of the last matrix of all of them: classes of UCF101, units
TOLERANCE = 1e-6  # they are known to six decimals


class Comparison(NamedTuple):
    """A file beside one of the authors'."""

    file: str  # of the authors
    agree: int  # numbers that agree
    known: int  # numbers that are known
    differences: list  # of strings

    @property
    def sentence(self):
        """What it means."""
        if not self.differences:
            return (
                f"These are the authors' weights: all {self.known} minima and maxima that are "
                f"known of {self.file} agree."
            )
        if not self.agree:
            return (
                f"The layers are those of the authors' {self.file}, the weights are others: of "
                f"{self.known} minima and maxima that are known of it, none agrees."
            )
        return (
            f"These are NOT the weights of the authors' {self.file}, or they are damaged: of "
            f"{self.known} minima and maxima that are known of it, {self.agree} agree. "
            f"{self.differences[0]}."
        )


def compare(moved):
    """Compares the numbers of a file with those of the authors' file of the same layers.

    Args:
        moved: List of `zoo.models.backbones.caffe_layouts.Moved`.

    Returns:
        `Comparison`, or None where nothing is known of a file with these layers.
    """
    found = {(blob.layer, blob.blob): (blob.minimum, blob.maximum) for blob in moved}
    for file, known in KNOWN.items():
        if set(known) == set(found) and CLASSIFIER in (blob.shape[-2:] for blob in moved):
            return _compare(file, known, found)
    return None


def _compare(file, known, found):
    count, differences = 0, []
    for (layer, blob), numbers in known.items():
        for name, expected, number in zip(
            ("minimum", "maximum"), numbers, found[layer, blob], strict=True
        ):
            if expected is None:
                continue
            count += 1
            if abs(number - expected) > TOLERANCE:
                differences.append(
                    f"The {name} of {layer}, blob {blob}, is {number:.6f} instead of {expected:.6f}"
                )
    return Comparison(file, count - len(differences), count, differences)
