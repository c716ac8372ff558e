"""The decoding settings of a preset become a sampler and constraints."""

import pytest

from zoo.decoding import BeamSearch, Constraints, Sampling, read_decoding


def test_settings_of_a_beam_search_become_one_with_its_constraints():
    settings = {"beam_size": 3, "length_penalty": 1.0, "no_repeat_ngram": 3}
    sampler, constraints = read_decoding(settings, forbidden_ids=[1])
    assert sampler == BeamSearch(3, length_penalty=1.0)
    assert constraints == Constraints(forbidden_ids=(1,), no_repeat_ngram=3)


def test_no_settings_give_the_default_beam_search():
    assert read_decoding({}) == (BeamSearch(), Constraints())


def test_a_number_of_samples_asks_for_sampling():
    sampler, _ = read_decoding({"num_samples": 100, "temperature": 0.5})
    assert sampler == Sampling(num_samples=100, temperature=0.5)


def test_an_unknown_setting_is_refused():
    with pytest.raises(TypeError, match="beams"):
        read_decoding({"beams": 3})
