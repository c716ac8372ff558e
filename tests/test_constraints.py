"""Constraints: each rule said anew in plain Python, on models whose next word hangs on the last."""

import numpy as np
import pytest
from keras import ops

from zoo.decoding import EOS, BeamSearch, Constraints, Greedy, Sampling, draw_uniforms

WORDS, LENGTH, ROWS = 5, 9, 25


def write(sampler, rules, logits, rows=ROWS):
    """Sentences of a model with `logits (last word, next word)`, as tuples without their ends."""
    logits = ops.convert_to_tensor(np.asarray(logits, "float32"))
    state = [ops.zeros((rows, 1))]

    def step(token_ids, state):
        return ops.take(logits, token_ids, axis=0), state

    uniforms = None
    if isinstance(sampler, Sampling):
        uniforms = draw_uniforms(range(rows), sampler.num_samples, LENGTH)
    decoded = sampler(step, state, rows, LENGTH, rules, uniforms)
    token_ids = ops.convert_to_numpy(decoded.token_ids).reshape(-1, LENGTH).tolist()
    return [tuple(row[: (row + [EOS]).index(EOS)]) for row in token_ids]


def repeated(ids, n):
    """Runs of `n` words that stand twice in a sentence."""
    runs = [ids[i : i + n] for i in range(len(ids) - n + 1)]
    return {run for run in runs if runs.count(run) > 1}


SAMPLERS = [BeamSearch(4, n_best=4), Sampling(3, n_best=3), Sampling(3, n_best=3, top_k=4)]
TALKATIVE = np.log([[0.02, 0.5, 0.2, 0.1, 0.18]] * WORDS)  # seldom ends, likes word 1
SHORT = np.log([[0.6, 0.1, 0.1, 0.1, 0.1]] * WORDS)


@pytest.mark.parametrize("sampler", [Greedy(), *SAMPLERS])
def test_forbidden_word_is_never_written(sampler):
    assert any(1 in ids for ids in write(sampler, None, TALKATIVE))
    for ids in write(sampler, Constraints(forbidden_ids=(1, 4)), TALKATIVE):
        assert not {1, 4} & set(ids)


@pytest.mark.parametrize("sampler", [Greedy(), *SAMPLERS])
def test_sentence_has_at_least_min_words(sampler):
    assert min(map(len, write(sampler, None, SHORT))) == 0
    assert min(map(len, write(sampler, Constraints(min_words=3), SHORT))) == 3


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_run_of_words_stands_twice(sampler, n):
    assert any(repeated(ids, n) for ids in write(sampler, None, TALKATIVE))
    for ids in write(sampler, Constraints(no_repeat_ngram=n), TALKATIVE):
        assert not repeated(ids, n)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_greedy_takes_the_likeliest_word_that_repeats_nothing(n):
    likeliest_first = np.argsort(-TALKATIVE[0])
    expected = ()
    while len(expected) < LENGTH:
        fresh = [(*expected, word) for word in likeliest_first]
        best = next(ids for ids in fresh if ids[-1] == EOS or not repeated(ids, n))
        if best[-1] == EOS:
            break
        expected = best
    assert write(Greedy(), Constraints(no_repeat_ngram=n), TALKATIVE) == [expected] * ROWS


def test_prefix_begins_every_sentence_and_wins_over_the_other_rules():
    rules = Constraints(prefix=(3, 3, 1), forbidden_ids=(1, 3), no_repeat_ngram=1, min_words=4)
    for sampler in (Greedy(), *SAMPLERS):
        for ids in write(sampler, rules, SHORT):
            assert ids[:3] == rules.prefix
            assert 4 <= len(ids) == len({2, 4} & set(ids[3:])) + 3


@pytest.mark.parametrize("rules", [{"forbidden_ids": (0,)}, {"prefix": (2, 0)}])
def test_end_can_neither_be_forbidden_nor_stand_in_a_prefix(rules):
    with pytest.raises(ValueError, match=r"Id 0 ends a sentence.*min_words"):
        Constraints(**rules)


@pytest.mark.parametrize(
    "rules",
    [{"min_words": -1}, {"no_repeat_ngram": -1}, {"forbidden_ids": (-2,)}, {"prefix": (3, -1)}],
)
def test_negative_numbers_are_refused(rules):
    with pytest.raises(ValueError, match="no negative numbers"):
        Constraints(**rules)


@pytest.mark.parametrize("rules", [Constraints(forbidden_ids=[7]), Constraints(prefix=[1, 7])])
def test_id_outside_the_vocabulary_is_refused(rules):
    with pytest.raises(ValueError, match="id 7, but the vocabulary ends at 6"):
        rules.check(vocabulary_size=7, max_words=5)
    rules.check(vocabulary_size=8, max_words=5)


@pytest.mark.parametrize("rules", [Constraints(prefix=(1, 1, 1)), Constraints(min_words=3)])
def test_rules_that_do_not_fit_into_the_sentence_are_refused(rules):
    with pytest.raises(ValueError, match="max_words=2 leaves no room"):
        rules.check(vocabulary_size=8, max_words=2)
    rules.check(vocabulary_size=8, max_words=3)
