"""Starts a decoder from the weights of a trained one whose vocabulary is another."""

import math

import numpy as np

from zoo.text.vocabulary import UNKNOWN


def match_sizes(settings, source=None):
    """Chooses the sizes of a decoder that is to take over the weights of a trained one.

    Args:
        settings: Dict of arguments of a builder, such as `embedding_dim` and `lstm_units`.
        source: Trained `LRCNCaptioner` whose own values are taken; None keeps `settings`.

    Returns:
        Dict of arguments. Arguments that the source was built without are left out, so that the
        builder's defaults apply, as they did to the source.
    """
    if source is None:
        return settings
    config = source.get_config()
    return {name: config[name] for name in settings if name in config}


def transfer_decoder(source, target):
    """Copies the weights of a trained decoder into another one.

    Weights of equal shape are copied. The rows of the embedding and the columns of the logits are
    assigned by word, so that the vocabularies may differ. A word that the source lacks was
    `<unk>` to it: its row and column are those of `<unk>`, and its bias is lowered so that all
    such words together are as likely as `<unk>` was.

    Args:
        source: Trained `LRCNCaptioner` or `LRCNVideoDescriber` with a vocabulary.
        target: Model of one of these classes, built, with a vocabulary.

    Returns:
        Dict with `copied`, the number of weights that were copied; `kept`, the names of weights
        of the target that have no counterpart of equal shape and keep their values; and
        `new_words`, the number of words that the source lacks.

    Raises:
        ValueError: If a model has no vocabulary, or no weight fits.
    """
    for model in (source, target):
        if model.vocabulary is None:
            raise ValueError(f"Expected models with a vocabulary. {model.name} has none.")
    source_ids = {word: word_id for word_id, word in enumerate(source.vocabulary.words)}
    rows = [source_ids.get(word, UNKNOWN) for word in target.vocabulary.words]
    is_new = np.array([word not in source_ids for word in target.vocabulary.words])
    values = {_name(weight, source): np.asarray(weight) for weight in source.decoder.weights}

    copied = 0
    kept = []
    for weight in target.decoder.weights:
        name = _name(weight, target)
        value = values.get(name)
        if value is not None and name.startswith("embedding/"):
            value = value[rows]
        elif value is not None and name.startswith("logits/"):
            value = value[..., rows]
            if value.ndim == 1:
                value = value - is_new * math.log1p(is_new.sum())
                value[UNKNOWN] -= math.log1p(is_new.sum())
        if value is None or value.shape != tuple(weight.shape):
            kept.append(name)
            continue
        weight.assign(value)
        copied += 1
    if not copied:
        raise ValueError(
            f"No weight of {source.name} fits {target.name}: expected decoders of equal sizes "
            "(embedding_dim, lstm_units, projection_dim)."
        )
    return {"copied": copied, "kept": kept, "new_words": int(is_new.sum())}


def _name(weight, model):
    """Returns the path of a weight inside its decoder, such as `lstm1_input/kernel`."""
    return weight.path.split(f"{model.decoder.name}/", 1)[-1]
