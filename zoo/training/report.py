"""What a captioner is worth: its captions, scored and shown."""

import pathlib

import numpy as np

from zoo.decoding import read_decoding
from zoo.evaluation.captions import (
    exact_sentences,
    per_caption_cider,
    perplexity,
    score_captions,
    write_results,
)
from zoo.files import write_json
from zoo.text.vocabulary import UNKNOWN
from zoo.visualization.gallery import Picture, write_gallery

SCORED_AT_ONCE = 500  # references
SHOWN = 24  # best, and worst, captions of a gallery


def generated_cider(captioner, photos, decoding=None):
    """Computes the CIDEr of generated captions, by which early stopping goes.

    Args:
        captioner: `zoo.LRCNCaptioner` or `LRCNVideoDescriber` with a vocabulary.
        photos: `zoo.data.features.photographs.Photographs`, or
        `zoo.data.features.described_videos.DescribedVideos`.
        decoding: Dict of decoding settings, see `zoo.decoding.read_decoding`. None decodes
            greedily.

    Returns:
        A float.
    """
    sampler, constraints = "greedy", None
    if decoding is not None:
        sampler, constraints = read_decoding(decoding, (UNKNOWN,))
    sentences = captioner.caption(photos.seen(), sampler, constraints, batch_size=100)
    hypotheses = dict(zip(photos.references, sentences, strict=True))
    return float(np.mean(list(per_caption_cider(photos.references, hypotheses).values())))


def evaluate_captioner(captioner, photos, decoding, max_words, out, more=None, picture_of=None):
    """Captions a split and reports on it.

    Args:
        captioner: `zoo.LRCNCaptioner` or `LRCNVideoDescriber` with a vocabulary.
        photos: `zoo.data.features.photographs.Photographs`, or
        `zoo.data.features.described_videos.DescribedVideos`.
        decoding: Dict of decoding settings, see `zoo.decoding.read_decoding`.
        max_words: Words of a reference that perplexity counts. Of a longer one, as in training,
            the first so many, and no end.
        out: JSON file of the metrics; predictions and gallery are written beside it.
        more: Further metrics, a dict.
        picture_of: See `write_report`.

    Returns:
        Dict of metrics.
    """
    print(f"\nWriting and scoring captions of {len(photos.paths)} {photos.unit}", flush=True)
    sampler, constraints = read_decoding(decoding, (UNKNOWN,))
    sentences = captioner.caption(photos.seen(), sampler, constraints)
    hypotheses = dict(zip(photos.references, sentences, strict=True))
    token_ids, image_index = photos.encode_captions(captioner.vocabulary, max_words)
    parts = np.array_split(np.arange(len(token_ids)), -(-len(token_ids) // SCORED_AT_ONCE))
    log_probs = np.concatenate(  # in parts, or what is seen would be in memory once a caption
        [
            captioner.score(photos.seen(image_index[p]), token_ids[p], batch_size=100)[1]
            for p in parts
        ]
    )
    words = np.minimum(np.count_nonzero(token_ids, axis=1) + 1, max_words)  # and the end
    perplexities = {"perplexity": perplexity(log_probs[:, :max_words].sum(1), words)}
    more = {**perplexities, **(more or {}), **decoding}
    return write_report(photos.examples, hypotheses, out, more, picture_of)


def write_report(examples, hypotheses, out, more=None, picture_of=None):
    """Scores captions; writes metrics, predictions and a gallery beside each other.

    Args:
        examples: List of `zoo.data.datasets.CaptionedImage` or `DescribedVideo`.
        hypotheses: Dict from image id to caption.
        out: JSON file of the metrics. Beside `metrics.json` come `predictions.json` and
            `gallery.html`; beside `test.json`, `test-predictions.json` and `test-gallery.html`.
        more: Further metrics, a dict.
        picture_of: Function from an example to the file that shows it; None takes its path.

    Returns:
        Dict of metrics.
    """
    out = pathlib.Path(out)
    prefix = "" if out.stem == "metrics" else f"{out.stem}-"
    references = {example.image_id: example.captions for example in examples}
    metrics = {
        **score_captions(references, hypotheses),
        "exact": exact_sentences(references, hypotheses),
        **(more or {}),
    }
    metrics["num_images"] = len(hypotheses)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, metrics)
    write_results(out.with_name(f"{prefix}predictions.json"), hypotheses)
    ciders = per_caption_cider(references, hypotheses)
    ranked = sorted(examples, key=lambda example: -ciders[example.image_id])
    shown = ranked if len(ranked) <= 2 * SHOWN else [*ranked[:SHOWN], *ranked[-SHOWN:]]
    pictures = [
        Picture(
            picture_of(e) if picture_of else e.path,
            [hypotheses[e.image_id], *e.captions],
            f"CIDEr {ciders[e.image_id]:.2f}",
        )
        for e in shown
    ]
    intro = f"{len(ranked)} described, best captions first, worst last; below, what people wrote."
    write_gallery(out.with_name(f"{prefix}gallery.html"), "Captions", pictures, intro)
    return metrics
