"""The decoding settings of a preset, as its metadata keep them."""

import dataclasses

from zoo.decoding.beam_search import BeamSearch
from zoo.decoding.constraints import Constraints
from zoo.decoding.sampling import Sampling

CONSTRAINT_SETTINGS = ("no_repeat_ngram", "min_words")


def read_decoding(settings, forbidden_ids=()):
    """Builds the sampler and the constraints that a preset was scored with.

    >>> read_decoding({"beam_size": 3, "no_repeat_ngram": 3}, forbidden_ids=(1,))[0].beam_size
    3

    Args:
        settings: Dict with any of the arguments of `BeamSearch`, or of `Sampling` if it has
            `num_samples`; and `no_repeat_ngram` and `min_words` of `Constraints`.
        forbidden_ids: Ids that never appear, for example that of `<unk>`.

    Returns:
        A pair of `BeamSearch` or `Sampling`, and `Constraints`.

    Raises:
        TypeError: If a setting is unknown.
        ValueError: If a value is out of range.
    """
    of_sampler = {n: value for n, value in settings.items() if n not in CONSTRAINT_SETTINGS}
    of_constraints = {n: value for n, value in settings.items() if n in CONSTRAINT_SETTINGS}
    sampler_class = Sampling if "num_samples" in settings else BeamSearch
    constraints = Constraints(forbidden_ids=tuple(forbidden_ids), **of_constraints)
    return sampler_class(**of_sampler), constraints


def write_decoding(sampler, constraints):
    """Describes a sampler and constraints, for `read_decoding`.

    >>> write_decoding(BeamSearch(3), Constraints(no_repeat_ngram=3))
    {'beam_size': 3, 'n_best': 1, 'length_penalty': 0.0, 'no_repeat_ngram': 3}

    Args:
        sampler: A sampler of `zoo.decoding`, or another.
        constraints: `Constraints`. The forbidden ids and the prefix are left out.

    Returns:
        Dict that JSON can hold; or None for a sampler that `read_decoding` cannot build, such as
        one of KerasHub.
    """
    if not isinstance(sampler, BeamSearch | Sampling):
        return None
    settings = dataclasses.asdict(sampler)
    for name in CONSTRAINT_SETTINGS:
        if getattr(constraints, name):
            settings[name] = getattr(constraints, name)
    return settings
