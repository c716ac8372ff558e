"""`lrcn search` ranks as the model scores, keeps an index, and says what it left out."""

import json

import numpy as np
import pytest
from PIL import Image
from serving_models import WORDS, tiny_captioner

from zoo.cli import main
from zoo.data.images.decode import read_images
from zoo.presets import from_preset
from zoo.text.vocabulary import Vocabulary

SENTENCE = "a red square on grass"


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset") / "tiny"
    captioner = tiny_captioner()
    captioner.vocabulary = Vocabulary(WORDS)
    captioner.prior_features = np.random.default_rng(5).normal(size=(7, 6)).astype("float32")
    captioner.save_to_preset(folder)
    return str(folder)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for n in range(8):
        pixels = random.integers(0, 256, (2, 2, 3), np.uint8).repeat(10, 0).repeat(12, 1)
        Image.fromarray(pixels).save(folder / f"{n}.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def run(capsys, *arguments, code=0):
    with pytest.raises(SystemExit) as stopped:
        main(["search", *map(str, arguments)])
    out, err = capsys.readouterr()
    if code == 0:
        assert stopped.value.code == 0, err
    return out, err + str(stopped.value.code)


def expected_scores(preset, paths, sentence):
    captioner = from_preset(preset)
    images = np.stack([x for _, x in read_images(list(map(str, paths)), 16).as_numpy_iterator()])
    log_probs = captioner.score(images, [sentence] * len(images))[0]
    others = captioner.score(captioner.prior_features, [sentence] * 7)[0]
    return log_probs - np.log(np.exp(others.astype("float64")).mean())


def test_photographs_are_ranked_by_the_models_score(preset, photos, capsys, tmp_path):
    page = tmp_path / "page.html"
    out, err = run(capsys, SENTENCE, "--images", photos, "--model", preset, "--json", "--top", 3,
                   "--html", page)  # fmt: skip
    found, paths = json.loads(out), sorted(photos.glob("*.png"))
    scores = expected_scores(preset, paths, SENTENCE)
    best = np.argsort(-scores)[:3]
    assert [result["file"] for result in found["results"]] == [str(paths[n]) for n in best]
    np.testing.assert_allclose([r["score"] for r in found["results"]], scores[best], atol=0.01)
    assert found["num_images"] == found["num_new"] == 8 and "7 images of the preset" in err
    assert "not an image" in found["unreadable"][str(photos / "broken.jpg")]
    assert page.read_text().count("<figure") == 3


def test_second_search_encodes_only_what_is_new(preset, photos, capsys):
    run(capsys, SENTENCE, "--images", photos, "--model", preset)
    Image.new("RGB", (20, 20), "red").save(photos / "new.png")
    (photos / "0.png").unlink()
    out, err = run(capsys, SENTENCE, "--images", photos, "--model", preset, "--json")
    found = json.loads(out)
    assert (found["num_images"], found["num_new"], found["num_removed"]) == (8, 1, 1)
    assert "1 new or changed, 1 gone, 1 unreadable" in err


def test_sentences_are_ranked_for_a_photograph(preset, photos, capsys, tmp_path):
    sentences = ["a red square", "a blue square on grass", "café"]  # with a known word each
    file = tmp_path / "sentences.txt"
    file.write_text("\n".join([*sentences, "", "a red square", "!"]), encoding="utf-8")
    photo = photos / "3.png"
    out, _ = run(capsys, "--image", photo, "--captions", file, "--model", preset, "--json")
    found = json.loads(out)
    scores = np.array([expected_scores(preset, [photo], s)[0] for s in sentences])
    best = np.argsort(-scores)
    assert [result["sentence"] for result in found["results"]] == [sentences[n] for n in best]
    np.testing.assert_allclose([r["score"] for r in found["results"]], scores[best], atol=0.01)


def test_unknown_words_of_a_sentence_are_named_with_similar_ones(preset, photos, capsys):
    out, err = run(capsys, "two squares on grass", "--images", photos, "--model", preset, "--json")
    assert "unknown word: squares; similar: square\n" in err and "unknown word: two\n" in err
    assert json.loads(out)["unknown_words"] == [
        {"word": "two", "num_sentences": 1, "similar": []},
        {"word": "squares", "num_sentences": 1, "similar": ["square"]},
    ]
    out, err = run(capsys, SENTENCE, "--images", photos, "--model", preset, "--json")
    assert json.loads(out)["unknown_words"] == [] and "unknown word:" not in err


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        ("", "at least one word. Received: ''"),
        ("?!", "at least one word. Received: '?!'"),
        ("Two squares", "unknown word: two; unknown word: squares; similar: square"),
    ],
)
def test_sentence_without_a_known_word_is_an_error(preset, photos, sentence, message, capsys):
    out, err = run(capsys, sentence, "--images", photos, "--model", preset, "--json", code=1)
    assert message in err and not out and len(err.splitlines()) == 1


def test_unknown_words_of_a_file_are_counted_and_named(preset, photos, capsys, tmp_path):
    file = tmp_path / "sentences.txt"
    lines = ["a squares", "two squares on grass", "two three", "!", "a red square"]
    file.write_text("\n".join(lines), encoding="utf-8")
    arguments = ["--image", photos / "3.png", "--captions", file, "--model", preset]
    out, err = run(capsys, *arguments, "--json")
    found = json.loads(out)
    assert found["num_sentences"] == 3 and found["left_out"] == ["two three", "!"]
    assert found["unknown_words"] == [
        {"word": "squares", "num_sentences": 2, "similar": ["square"]},
        {"word": "two", "num_sentences": 1, "similar": []},
    ]
    assert "2 lines are left out, the first one 'two three'" in err
    assert "2 unknown words in 2 of 3 sentences" in err
    file.write_text("two three\n")
    assert "unknown word: two" in run(capsys, *arguments, code=1)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([SENTENCE], "either SENTENCE --images DIR"),
        ([SENTENCE, "--images", "x", "--captions", "y"], "either SENTENCE --images DIR"),
        (["--image", "x"], "either SENTENCE --images DIR"),
        ([SENTENCE, "--images", "{tmp}"], "holds no picture"),
        (["--image", "{tmp}/no.png", "--captions", "{tmp}/no.txt"], "no.txt"),
    ],
)
def test_what_cannot_be_searched_is_an_error(preset, arguments, message, capsys, tmp_path):
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    _, err = run(capsys, *arguments, "--model", preset, code=1)
    assert message in err
