"""From image files to captions, several files at a time."""

from zoo.data.images.decode import explain, read_images

BATCH_SIZE = 32  # images that are encoded together


def caption_files(captioner, paths, sampler=None, progress=None):
    """Captions image files. An unreadable file fails only its own result.

    The next images are read and encoded while captions of the last ones are generated.

    Args:
        captioner: `zoo.LRCNCaptioner` with an image encoder and a vocabulary.
        paths: List of paths.
        sampler: As for `captioner.generate`; its `n_best` is the number of captions of a file.
        progress: Function that is called with the number of files of each batch, or None.

    Returns:
        List with a dict for each file, in order: `file`, the path, and `captions` or `error`.
        `captions` is a list of dicts, best first: `caption`; `log_prob`; `word_log_probs`; and
        `confidence` and `unsure` if the captioner has a fitted confidence.
    """
    encoder = captioner.image_encoder
    batches = read_images(paths, encoder.input_shape[1]).batch(BATCH_SIZE)
    batches = batches.map(lambda n, images: (n, encoder(images, training=False))).prefetch(16)
    captions = {}
    for indices, features in batches.as_numpy_iterator():
        candidates = captioner.caption_candidates(features, sampler)
        for index, row in zip(indices, candidates, strict=True):
            captions[int(index)] = [_describe_candidate(candidate) for candidate in row]
        if progress is not None:
            progress(len(indices))
    return [
        {"file": str(path), "captions": captions[number]}
        if number in captions
        else {"file": str(path), "error": explain(path) or "cannot be read"}
        for number, path in enumerate(paths)
    ]


def _describe_candidate(candidate):
    """Returns the dict of a `zoo.models.captioner.Candidate`."""
    entry = {
        "caption": candidate.text,
        "log_prob": candidate.log_prob,
        "word_log_probs": candidate.word_log_probs,
    }
    if candidate.confidence is not None:
        entry["confidence"] = candidate.confidence
        entry["unsure"] = candidate.unsure
    return entry
