"""Fits the confidence of a captioner: how probable it is that a caption is right.

A caption counts as right if its CIDEr-D against the captions that people wrote about the image is
at least 0.5. A logistic regression learns that from the quantities of
`zoo.models.confidence.caption_quantities`, on images that the captioner was not trained on.

What is reported was not fitted on: the images are cut into ten parts at random, and each part is
judged by a regression that was fitted on the others. The numbers that are stored are then fitted on
all images.
"""

import pathlib
from typing import Any, NamedTuple

import numpy as np

from zoo.decoding import whole_beam
from zoo.evaluation.captions import per_caption_cider
from zoo.files import write_json
from zoo.models.confidence import FITTED, QUANTITIES, CaptionConfidence
from zoo.visualization.reliability import draw_reliability

RIGHT = 0.5  # CIDEr-D from which on a caption is right
# Below it a caption is more probably wrong than right. That holds for any mixture of images, while
# a threshold that is chosen by a share of right captions depends on the mixture of the dev images.
THRESHOLD = 0.5
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)  # what is reported, to choose another one by
BINS = 10  # of the table of reliability, each as wide
FOLDS = 10  # parts of the images; each is judged by a regression fitted on the others
FEWEST = 20  # right captions, and wrong ones: a few for each weight, and two for each part
BATCH_SIZE = 100  # images at a time


class ConfidenceFit(NamedTuple):
    """What `fit_confidence` returns.

    Attributes:
        confidence: `zoo.models.confidence.CaptionConfidence`, fitted on all images.
        report: Dict that JSON can hold; `auroc` and the like are of images not fitted on.
    """

    confidence: CaptionConfidence
    report: dict[str, Any]


class _Captions(NamedTuple):
    """The best caption of each image: quantities `(images, quantities)`, and whether it is right.

    `set_numbers` are the places of the images' data sets in `photos`, `(images,)`.
    """

    quantities: np.ndarray
    is_right: np.ndarray
    set_numbers: np.ndarray


def fit_confidence(captioner, photos, seed=0, threshold=THRESHOLD):
    """Fits the confidence of a captioner on dev images.

    Every image weighs the same, whatever the size of its data set: the quantities tell how hard an
    image is, so one regression serves all sets, and equal weights for the sets would make the
    few images of a small one count many times. The report compares mean confidence and share of
    right captions for each set; where they differ much, add images of that kind.

    Args:
        captioner: `zoo.LRCNCaptioner` with a vocabulary.
        photos: Dict from a data set's name to its `zoo.data.features.photographs.Photographs`,
            which the captioner was not trained on, with captions by people.
        seed: Seed of the random parts.
        threshold: Captions with a lower confidence are unsure.

    Returns:
        `ConfidenceFit`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If there are too few right or too few wrong captions to fit anything.
    """
    _require_sklearn()  # before minutes of decoding
    captions = _decode(captioner, photos)
    count_right = int(captions.is_right.sum())
    count_wrong = len(captions.is_right) - count_right
    if min(count_right, count_wrong) < FEWEST:
        raise ValueError(
            f"Expected at least {FEWEST} right captions (CIDEr-D of {RIGHT} or more) and {FEWEST} "
            f"wrong ones. Received: {count_right} and {count_wrong}. Give more dev images."
        )

    # Each part, judged by a regression that was fitted on the others.
    folds = _random_folds(captions, seed)
    judged = np.empty(len(folds))
    for fold in range(FOLDS):
        fitted = _fit(captions, folds != fold, threshold)
        judged[folds == fold] = _confidences(fitted, captions.quantities[folds == fold])

    confidence = _fit(captions, np.full(len(folds), True), threshold)
    parts = {name: captions.set_numbers == number for number, name in enumerate(photos)}
    thresholds = sorted({*THRESHOLDS, threshold})
    report = {
        "right": f"CIDEr-D of {RIGHT} or more against the captions that people wrote",
        "judged": f"each of {FOLDS} parts of the images, by a regression fitted on the others",
        "seed": seed,
        "all": _scores(judged, captions.is_right),
        "sets": {name: _scores(judged[p], captions.is_right[p]) for name, p in parts.items()},
        "reliability": _reliability(judged, captions.is_right),
        "thresholds": [_marks(judged, captions.is_right, t) for t in thresholds],
        "fitted_on_all": confidence.get_config(),
    }
    return ConfidenceFit(confidence, report)


def write_confidence_report(fit, out):
    """Writes the report of a fit and draws its reliability.

    Args:
        fit: `ConfidenceFit`.
        out: JSON file. Beside `confidence.json` comes `reliability.png`; beside `mine.json`,
            `mine-reliability.png`.
    """
    out = pathlib.Path(out)
    write_json(out, fit.report)
    prefix = "" if out.stem == "confidence" else f"{out.stem}-"
    draw_reliability(fit.report, out.with_name(f"{prefix}reliability.png"))


def _require_sklearn():
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'{error}. Fitting a confidence needs more packages: pip install "lrcn-zoo[train]"'
        ) from error


def _decode(captioner, photos):
    """Writes captions of all images and finds out which are right."""
    quantities = []
    is_right = []
    set_numbers = []
    for number, split in enumerate(photos.values()):
        features = split.seen()
        beam = captioner.generate(features, whole_beam(captioner.sampler), batch_size=BATCH_SIZE)
        sentences = [captioner.vocabulary.decode(ids[0]) for ids in beam.token_ids]
        hypotheses = dict(zip(split.references, sentences, strict=True))
        ciders = per_caption_cider(split.references, hypotheses)
        by_name = captioner.caption_quantities(features, beam, BATCH_SIZE, n_best=1)
        quantities.append(np.stack([by_name[key][:, 0] for key in FITTED], axis=1))
        is_right += [cider >= RIGHT for cider in ciders.values()]
        set_numbers += [number] * len(sentences)
    return _Captions(
        quantities=np.concatenate(quantities).astype("float64"),
        is_right=np.array(is_right),
        set_numbers=np.array(set_numbers),
    )


def _random_folds(captions, seed):
    """Returns the fold of each image; folds have equal shares of each set, and of right ones."""
    order = np.random.default_rng(seed).permutation(len(captions.is_right))
    by_kind = np.lexsort((captions.is_right[order], captions.set_numbers[order]))
    folds = np.empty(len(order), int)
    folds[order[by_kind]] = np.arange(len(order)) % FOLDS
    return folds


def _fit(captions, chosen, threshold):
    """Fits a `CaptionConfidence` on the chosen images.

    A quantity whose weight has the wrong sign, such as a confidence that falls as the words become
    more probable, follows chance or a peculiarity of these images. It is left out, so
    that the confidence is monotonic in what remains also on images of another kind.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    names = list(FITTED)
    while names:
        columns = [FITTED.index(name) for name in names]
        values = captions.quantities[chosen][:, columns]
        scaler = StandardScaler().fit(values)
        regression = LogisticRegression()
        regression.fit(scaler.transform(values), captions.is_right[chosen])
        weights = regression.coef_[0]
        signed = [weight * QUANTITIES[name] for name, weight in zip(names, weights, strict=True)]
        if min(signed) >= 0:
            return CaptionConfidence(
                quantities=names,
                means=scaler.mean_.tolist(),
                scales=scaler.scale_.tolist(),
                weights=weights.tolist(),
                bias=float(regression.intercept_[0]),
                threshold=threshold,
            )
        del names[int(np.argmin(signed))]
    raise ValueError(
        "None of the quantities tells right captions from wrong ones in the expected direction. "
        f"Received: {int(chosen.sum())} images to fit on. Give more dev images."
    )


def _confidences(confidence, quantities):
    """Probabilities `(images,)` of quantities `(images, quantities)`."""
    by_name = dict(zip(FITTED, quantities.T, strict=True))
    return np.asarray(confidence(by_name), "float64")


def _scores(judged, is_right):
    """How well confidences tell right captions from wrong ones, and how well calibrated they are.

    `auroc` is None if all captions are right, or all wrong.
    """
    from sklearn.metrics import brier_score_loss, roc_auc_score

    auroc = None
    if is_right.any() and not is_right.all():
        auroc = float(roc_auc_score(is_right, judged))
    return {
        "images": len(judged),
        "share_right": float(is_right.mean()),
        "mean_confidence": float(judged.mean()),
        "auroc": auroc,
        "brier": float(brier_score_loss(is_right, judged)),
    }


def _reliability(judged, is_right):
    """A row for each bin of the confidence: how many images, mean confidence, share right."""
    bins = np.minimum((judged * BINS).astype(int), BINS - 1)
    rows = []
    for number in range(BINS):
        here = bins == number
        row = {"from": number / BINS, "to": (number + 1) / BINS, "images": int(here.sum())}
        if here.any():
            row["mean_confidence"] = float(judged[here].mean())
            row["share_right"] = float(is_right[here].mean())
        rows.append(row)
    return rows


def _marks(judged, is_right, threshold):
    """What a threshold would do: how many captions it marks, and how many are right on each side.

    A share is None if that side has no captions.
    """
    is_unsure = judged < threshold
    return {
        "threshold": threshold,
        "share_unsure": float(is_unsure.mean()),
        "share_right_of_sure": _share(is_right[~is_unsure]),
        "share_right_of_unsure": _share(is_right[is_unsure]),
    }


def _share(is_right):
    return float(is_right.mean()) if len(is_right) else None
