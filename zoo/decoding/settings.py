"""The decoding settings of a preset, as its metadata keep them."""

from zoo.decoding.beam_search import BeamSearch
from zoo.decoding.constraints import Constraints

CONSTRAINT_SETTINGS = ("no_repeat_ngram", "min_words")


def read_decoding(settings, forbidden_ids=()):
    """Builds the sampler and the constraints that a preset was scored with.

    >>> read_decoding({"beam_size": 3, "no_repeat_ngram": 3}, forbidden_ids=(1,))[0].beam_size
    3

    Args:
        settings: Dict with any of the arguments of `BeamSearch`, and `no_repeat_ngram` and
            `min_words` of `Constraints`.
        forbidden_ids: Ids that never appear, for example that of `<unk>`.

    Returns:
        A pair of `BeamSearch` and `Constraints`.

    Raises:
        TypeError: If a setting is unknown.
        ValueError: If a value is out of range.
    """
    beam = {name: value for name, value in settings.items() if name not in CONSTRAINT_SETTINGS}
    rules = {name: value for name, value in settings.items() if name in CONSTRAINT_SETTINGS}
    return BeamSearch(**beam), Constraints(forbidden_ids=tuple(forbidden_ids), **rules)
