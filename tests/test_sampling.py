"""Sampling against plain Python that adds up one word's probability after another."""

import numpy as np
import pytest
from keras import ops

from zoo.decoding import EOS, Sampling, draw_uniforms
from zoo.decoding.sampling import invert

WORDS, LENGTH = 9, 6
SETTINGS = [
    {},
    {"temperature": 0.5},
    {"temperature": 1 / 1.5},
    {"top_k": 1},
    {"top_k": 4},
    {"top_k": 50},  # more than there are
    {"top_p": 0.01},
    {"top_p": 0.7},
    {"temperature": 2.0, "top_k": 5},
    {"temperature": 1.3, "top_p": 0.9},
    {"temperature": 0.8, "top_k": 6, "top_p": 0.85},
]


def softmax(logits):
    powers = np.exp(np.asarray(logits, "float64") - np.max(logits))
    return powers / powers.sum()


def kept(logits, temperature=1.0, top_k=0, top_p=1.0):
    """`[(word, probability)]` of what may be drawn, in the order in which it is added up."""
    shares = list(enumerate(softmax(np.asarray(logits, "float64") / temperature)))
    if not top_k and top_p == 1:
        return shares
    shares.sort(key=lambda share: -share[1])
    if top_k:
        shares = shares[:top_k]
    whole = sum(p for _, p in shares)
    few, so_far = [], 0.0
    for word, p in shares:
        if so_far >= top_p:
            break
        few.append((word, p / whole))
        so_far += p / whole
    return few


def draw(logits, number, **settings):
    """The word at which the running sum passes `number`."""
    shares = kept(logits, **settings)
    rest = number * sum(p for _, p in shares)
    for word, p in shares:
        rest -= p
        if rest < 0:
            return word
    return shares[-1][0]


def inverted(logits, numbers, **settings):
    numbers = np.asarray(numbers, "float32")
    logits = np.broadcast_to(np.asarray(logits, "float32"), (len(numbers), np.shape(logits)[-1]))
    words = invert(ops.convert_to_tensor(logits), ops.convert_to_tensor(numbers), **settings)
    return ops.convert_to_numpy(words)


@pytest.mark.parametrize("settings", SETTINGS)
def test_inversion_equals_adding_up_in_plain_python(settings):
    rng = np.random.default_rng(0)
    logits, numbers = 2 * rng.standard_normal((400, WORDS)), rng.random(400)
    logits, numbers = logits.astype("float32"), numbers.astype("float32")
    expected = [draw(row, u, **settings) for row, u in zip(logits, numbers, strict=True)]
    assert inverted(logits, numbers, **settings).tolist() == expected


@pytest.mark.parametrize("settings", SETTINGS)
def test_words_are_drawn_as_often_as_they_are_likely(settings):
    logits = np.random.default_rng(1).standard_normal(WORDS)
    numbers = (np.arange(4000) + 0.5) / 4000  # evenly spread: counts are exact but for rounding
    shares = np.bincount(inverted(logits, numbers, **settings), minlength=WORDS) / 4000
    few = kept(logits, **settings)
    expected = np.zeros(WORDS)
    expected[[word for word, _ in few]] = [p for _, p in few]
    np.testing.assert_allclose(shares, expected / expected.sum(), atol=2 / 4000)


def test_drawn_numbers_give_the_softmax():
    logits = np.random.default_rng(2).standard_normal(WORDS)
    numbers = draw_uniforms([7], 1, 40_000)[0, 0]
    shares = np.bincount(inverted(logits, numbers), minlength=WORDS) / 40_000
    np.testing.assert_allclose(shares, softmax(logits), atol=0.01)  # four standard errors


@pytest.mark.parametrize("settings", [{}, {"top_k": 4}, {"top_p": 0.9}])
def test_impossible_word_is_not_drawn_at_the_borders(settings):
    logits = [-1e9, 1.0, -1e9, 0.3, 0.2, -1e9]
    words = inverted(logits, [0.0, 2**-24, 0.5, 1 - 2**-24], **settings)
    assert set(words.tolist()) <= {1, 3, 4}


def test_settings_may_differ_from_row_to_row():
    logits = np.random.default_rng(3).standard_normal((50, WORDS)).astype("float32")
    numbers = np.random.default_rng(4).random(50).astype("float32")
    temperature, top_p = np.linspace(0.3, 2, 50), np.linspace(0.2, 1, 50)
    one_call = inverted(
        logits,
        numbers,
        temperature=ops.convert_to_tensor(temperature[:, None].astype("float32")),
        top_p=ops.convert_to_tensor(top_p[:, None].astype("float32")),
        top_k=7,
    )
    expected = [
        draw(logits[i], numbers[i], temperature=temperature[i], top_p=top_p[i], top_k=7)
        for i in range(50)
    ]
    assert one_call.tolist() == expected


FIRST_NUMBERS = [0.01154675, 0.24154919, 0.11142585]  # of seed 0, NumPy's Philox
LOGITS = np.random.default_rng(5).standard_normal((WORDS, WORDS)).astype("float32")
LOGITS[:, EOS] += 1


def step(token_ids, state):
    """The next word hangs on the last one only."""
    return ops.take(ops.convert_to_tensor(LOGITS), token_ids, axis=0), state


def sample(sampler, uniforms):
    state = [ops.zeros((len(uniforms), 1))]
    decoded = sampler(step, state, len(uniforms), LENGTH, None, uniforms)
    return [ops.convert_to_numpy(tensor) for tensor in decoded]


def sentence(numbers, **settings):
    """What one row of numbers writes, and its log-probability at temperature 1."""
    ids, log_prob, last = [], 0.0, EOS
    for number in numbers:
        last = draw(LOGITS[last], number, **settings)
        log_prob += np.log(softmax(LOGITS[ids[-1] if ids else EOS])[last])
        ids.append(last)
        if last == EOS:
            break
    return [*ids, *[EOS] * (LENGTH - len(ids))], log_prob


@pytest.mark.parametrize("settings", [{"temperature": 1.5}, {"top_k": 3}, {"top_p": 0.6}])
def test_of_many_samples_the_likeliest_at_temperature_1_are_kept(settings):
    uniforms = draw_uniforms(range(8), 10, LENGTH)
    token_ids, log_probs, _ = sample(Sampling(10, n_best=3, **settings), uniforms)
    for image in range(8):
        written = [sentence(numbers, **settings) for numbers in uniforms[image]]
        written.sort(key=lambda pair: -pair[1])
        np.testing.assert_allclose(log_probs[image], [p for _, p in written[:3]], atol=1e-5)
        assert token_ids[image, 0].tolist() == written[0][0]


def test_image_alone_draws_what_it_draws_in_a_batch():
    sampler = Sampling(3, n_best=3, temperature=1.2)
    together = sample(sampler, draw_uniforms([5, 6, 7], 3, LENGTH))
    alone = sample(sampler, draw_uniforms([6], 3, LENGTH))
    for one, many in zip(alone, together, strict=True):
        np.testing.assert_allclose(one[0], many[1], atol=1e-6)


def test_numbers_depend_on_their_seed_alone():
    numbers = draw_uniforms([3, 10**12, 3], 4, 5)
    assert numbers.shape == (3, 4, 5)
    assert numbers.dtype == "float32"
    assert (numbers >= 0).all()
    assert (numbers < 1).all()
    np.testing.assert_array_equal(numbers[0], numbers[2])
    np.testing.assert_array_equal(draw_uniforms([10**12], 4, 5)[0], numbers[1])
    assert len(np.unique(numbers[:2])) == 40
    # On every machine, today and tomorrow: what a served caption rests on.
    np.testing.assert_allclose(draw_uniforms([0], 1, 3)[0, 0], FIRST_NUMBERS, atol=1e-7)


def test_number_that_rounds_to_1_draws_no_impossible_word():
    def only_one(token_ids, state):
        return ops.tile(ops.convert_to_tensor([[0.0, 0.0, -1e9]]), (len(token_ids), 1)), state

    uniforms = np.full((2, 1, 4), np.nextafter(1.0, 0.0))  # float64
    decoded = Sampling()(only_one, [ops.zeros((2, 1))], 2, 4, None, uniforms)
    assert ops.convert_to_numpy(decoded.token_ids).max() == 1


@pytest.mark.parametrize(
    "uniforms", [None, np.zeros((2, 4, 6)), np.zeros((2, 3, 5)), np.zeros((2, 18))]
)
def test_sampling_asks_for_its_numbers(uniforms):
    with pytest.raises(ValueError, match=r"\(batch, 3, 6\) in \[0, 1\).*draw_uniforms"):
        Sampling(3)(step, [ops.zeros((2, 1))], 2, 6, None, uniforms)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_best": 2}, "n_best=2, num_samples=1"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"top_k": -1}, "top_k=-1"),
        ({"top_p": 0.0}, "top_p=0.0"),
        ({"top_p": 1.1}, "top_p=1.1"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**options)
