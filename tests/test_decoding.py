"""Searches and samplers against plain Python, on a model that is nothing but a random table."""

import keras
import numpy as np
import pytest
from keras import ops

from zoo.decoding import EOS, BeamSearch, Constraints, Greedy, Sampling, draw_uniforms

WORDS = 4  # ids 0 to 3: the end and three words
LENGTH = 4  # words of the longest sentence, its end included
IMAGES = 6


class Table:
    """A model whose next word depends on the image and on all words before, by a random table."""

    def __init__(self, images=IMAGES, words=WORDS, length=LENGTH, seed=0):
        self.words, self.histories = words, words**length
        rng = np.random.default_rng(seed)
        self.logits = 2 * rng.standard_normal((images, self.histories, words)).astype("float32")

    def state(self, images):
        images = np.asarray(images, "int32")
        return [ops.convert_to_tensor(images), ops.zeros_like(images)]

    def step(self, token_ids, state):
        image, history = state
        history = history * self.words + token_ids
        rows = ops.reshape(ops.convert_to_tensor(self.logits), (-1, self.words))
        return ops.take(rows, image * self.histories + history, axis=0), [image, history]

    def log_probs(self, image, written):
        """Log-probabilities of the next word after `written`, a tuple; float64 `(words,)`."""
        history = 0
        for word in written:
            history = history * self.words + word
        logits = self.logits[image, history].astype("float64")
        return logits - np.log(np.exp(logits).sum())

    def sentences(self, image, length=LENGTH):
        """All sentences with their words' log-probabilities: `{(2, 1, 0): [-1.2, ...]}`."""
        found, open_ones = {}, {(): []}
        for _ in range(length):
            written, open_ones = open_ones, {}
            for ids, gains in written.items():
                for word, gain in enumerate(self.log_probs(image, ids)):
                    target = found if word == EOS else open_ones
                    target[(*ids, word)] = [*gains, gain]
        return found, open_ones


def run(table, sampler, constraints=None, uniforms=None, images=None, max_words=LENGTH):
    images = np.arange(len(table.logits)) if images is None else np.asarray(images)

    def search(uniforms):
        state = table.state(images)
        return sampler(table.step, state, len(images), max_words, constraints, uniforms)

    if keras.backend.backend() == "jax":
        import jax

        # One program instead of a hundred little ones, and quickly compiled.
        search = jax.jit(search, compiler_options={"xla_backend_optimization_level": 0})
    return [ops.convert_to_numpy(tensor) for tensor in search(uniforms)]


def words(row):
    """The words of a row of ids, without its end; and that nothing stands behind the end."""
    row = row.tolist()
    end = row.index(EOS) if EOS in row else len(row)
    assert not any(row[end:])
    return tuple(row[:end])


def assert_are(decoded, image, expected):
    """Compares an image's sentences with a list of `(ids, words' log-probabilities)`."""
    token_ids, log_probs, word_log_probs = (tensor[image] for tensor in decoded)
    for row, (ids, gains) in enumerate(expected):
        assert words(token_ids[row]) == tuple(i for i in ids if i != EOS)
        assert log_probs[row] == pytest.approx(sum(gains), abs=1e-5)
        padded = [*gains, *[0.0] * (LENGTH - len(gains))]
        np.testing.assert_allclose(word_log_probs[row], padded, atol=1e-5)


def keeps_rules(ids, rules, length=LENGTH):
    """The rules of `Constraints`, said anew about a sentence that ends: `ids` without its end."""
    n, k = rules.no_repeat_ngram, len(rules.prefix)
    if ids[:k] != rules.prefix:
        return False
    runs = [ids[i : i + n] for i in range(len(ids) - n + 1)] if n else []
    repeats = [i + n for i in range(len(runs)) if runs[i] in runs[:i]]
    return (
        not set(ids[k:]) & set(rules.forbidden_ids)
        and len(ids) >= rules.min_words
        and all(end <= k for end in repeats)  # the prefix may repeat itself
    )


RULES = [
    Constraints(forbidden_ids=(1,)),
    Constraints(min_words=2),
    Constraints(no_repeat_ngram=1),
    Constraints(no_repeat_ngram=2),
    Constraints(prefix=(3, 1)),
    Constraints(prefix=(2, 2), forbidden_ids=(2,), no_repeat_ngram=1, min_words=3),
]


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0])
def test_wide_enough_beam_search_is_brute_force(length_penalty):
    table = Table()
    decoded = run(table, BeamSearch(130, n_best=40, length_penalty=length_penalty))
    greedy = run(table, Greedy())
    better = 0
    for image in range(IMAGES):
        found, _ = table.sentences(image)
        best = sorted(found.items(), key=lambda s: -sum(s[1]) / len(s[1]) ** length_penalty)
        assert len(best) == 40  # 1 + 3 + 9 + 27
        assert_are(decoded, image, best)
        better += words(greedy[0][image, 0]) != words(decoded[0][image, 0])
    assert better > 0  # the search is worth its while


@pytest.mark.parametrize("rules", RULES)
def test_wide_enough_beam_search_is_brute_force_under_constraints(rules):
    table = Table(seed=1)
    decoded = run(table, BeamSearch(130, n_best=40), rules)
    for image in range(IMAGES):
        found, _ = table.sentences(image)
        kept = [s for s in found.items() if keeps_rules(s[0][:-1], rules)]
        kept.sort(key=lambda s: -sum(s[1]))
        assert 0 < len(kept) < 40
        assert_are(decoded, image, kept)
        for row in range(len(kept), 40):  # behind them stands none that ends
            assert EOS not in decoded[0][image, row] or decoded[1][image, row] < -1e8


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_beam_one_is_greedy(length_penalty):
    table = Table(images=40, seed=2)
    greedy, beam = run(table, Greedy()), run(table, BeamSearch(1, length_penalty=length_penalty))
    for ours, theirs in zip(greedy, beam, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def little_model(chances):
    """A step from `{words so far: {next word: probability}}`; anything else is unlikely."""
    table = Table(images=1)
    table.logits[:] = np.log(1e-9)
    for written, nexts in chances.items():
        history = 0
        for word in written:
            history = history * WORDS + word
        for word, chance in nexts.items():
            table.logits[0, history, word] = np.log(chance)
    return table


def test_ended_beam_is_not_extended():
    chances = {(): {1: 0.6, 2: 0.4}, (1,): {0: 1.0}, (2,): {2: 1.0}, (2, 2): {2: 1.0}}
    table = little_model(chances | {(2, 2, 2): {2: 1.0}})
    token_ids, log_probs, _ = run(table, BeamSearch(2))
    assert token_ids[0, 0].tolist() == [1, 0, 0, 0]
    assert log_probs[0, 0] == pytest.approx(np.log(0.6), abs=1e-6)


def test_ended_beam_keeps_its_score_and_still_competes():
    chances = {(): {0: 0.3, 1: 0.7}, (1,): {2: 0.5, 3: 0.5}, (1, 2): {0: 1.0}}
    table = little_model(chances | {(1, 3): {0: 0.8, 1: 0.2}})
    token_ids, log_probs, _ = run(table, BeamSearch(3, n_best=3))
    assert [words(row) for row in token_ids[0]] == [(1, 2), (), (1, 3)]
    np.testing.assert_allclose(np.exp(log_probs[0]), [0.35, 0.3, 0.28], atol=1e-5)


def test_with_a_length_penalty_the_search_waits_for_beams_that_may_still_rise():
    table = little_model({(): {0: 0.55, 1: 0.45}, (1,): {2: 1.0}, (1, 2): {0: 1.0}})
    token_ids, log_probs, _ = run(table, BeamSearch(2, length_penalty=1.0))
    assert words(token_ids[0, 0]) == (1, 2)  # log 0.45 / 3 > log 0.55 / 1
    assert log_probs[0, 0] == pytest.approx(np.log(0.45), abs=1e-6)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_best_unfinished_beams_come_where_none_ends(length_penalty):
    table = Table(seed=3)
    sampler = BeamSearch(130, n_best=81, length_penalty=length_penalty)
    decoded = run(table, sampler, Constraints(min_words=LENGTH))
    for image in range(IMAGES):
        _, open_ones = table.sentences(image)
        assert_are(decoded, image, sorted(open_ones.items(), key=lambda s: -sum(s[1])))


def test_finished_beam_comes_before_likelier_unfinished_ones():
    table = little_model({(): {0: 0.1, 1: 0.9}, (1,): {1: 1.0}, (1, 1): {1: 1.0}})
    table.logits[0, 21] = np.log([1e-9, 1.0, 1e-9, 1e-9])  # after (1, 1, 1)
    token_ids, log_probs, _ = run(table, BeamSearch(2, n_best=2))
    assert [words(row) for row in token_ids[0]] == [(), (1, 1, 1, 1)]
    np.testing.assert_allclose(np.exp(log_probs[0]), [0.1, 0.9], atol=1e-5)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_prefix_that_fills_the_sentence_is_the_sentence(length_penalty):
    rules = Constraints(prefix=(3, 1, 2, 2))
    sampler = BeamSearch(5, n_best=2, length_penalty=length_penalty)
    token_ids, log_probs, _ = run(Table(), sampler, rules)
    assert (token_ids[:, 0] == rules.prefix).all()
    assert (log_probs[:, 0] > -100).all()
    assert (log_probs[:, 1] < -1e8).all()  # there is no second sentence


@pytest.mark.parametrize("options", [{"n_best": 6}, {"n_best": 0}, {"beam_size": 0, "n_best": 0}])
def test_beam_search_refuses_more_sentences_than_beams(options):
    with pytest.raises(ValueError, match="1 <= n_best <= beam_size"):
        BeamSearch(**options)


SAMPLERS = [
    Greedy(),
    BeamSearch(4, n_best=3),
    Sampling(4, n_best=3, temperature=1.5),
    Sampling(4, n_best=2, top_k=3, top_p=0.8),
]


def numbers(sampler, images, length=LENGTH):
    """What `sampler` draws from: a seed an image."""
    if not isinstance(sampler, Sampling):
        return None
    return draw_uniforms([100 + int(image) for image in images], sampler.num_samples, length)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_word_log_probs_are_the_models_own_and_sum_to_the_log_prob(sampler):
    table = Table(seed=5)
    rules = Constraints(min_words=2)
    decoded = run(table, sampler, rules, numbers(sampler, range(IMAGES)))
    for image, rows in enumerate(decoded[0]):
        found, open_ones = table.sentences(image)
        written = [(*words(row), EOS) if EOS in row else words(row) for row in rows]
        assert_are(decoded, image, [(ids, (found | open_ones)[ids]) for ids in written])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_row_alone_is_the_same_row_in_a_batch(sampler):
    table = Table(seed=6)
    uniforms = numbers(sampler, range(IMAGES))
    together = run(table, sampler, uniforms=uniforms)
    own = None if uniforms is None else uniforms[[3]]
    for one, many in zip(run(table, sampler, None, own, [3]), together, strict=True):
        np.testing.assert_allclose(one[0], many[3], atol=1e-6)


@pytest.mark.parametrize("sampler", [Greedy(), BeamSearch(4), Sampling(2)])
def test_loop_stops_as_soon_as_every_sentence_has_ended(sampler, monkeypatch):
    table = Table(images=3)
    table.logits[:] = [0, -30, -30, -30]
    table.logits[1, 0] = [-30, 0, -30, -30]  # image 1 has one word, the others none
    steps, loop = [], ops.while_loop

    def counting(*args, **kwargs):
        result = loop(*args, **kwargs)
        steps.append(int(result[0]))
        return result

    monkeypatch.setattr(ops, "while_loop", counting)
    uniforms = numbers(sampler, range(3), 20)
    sampler(table.step, table.state(range(3)), 3, 20, None, uniforms)
    assert steps == [2]
