import json
import math
import os
import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from zoo.evaluation import java_scorers
from zoo.evaluation.captions import (
    per_caption_cider,
    perplexity,
    plain_words,
    read_results,
    score_captions,
    score_words,
    write_results,
)
from zoo.evaluation.cider_reward import CiderReward
from zoo.files import write_json

PLAIN_METRICS = ["bleu_1", "bleu_2", "bleu_3", "bleu_4", "cider", "rouge_l"]
PUBLISHED = {
    "bleu_1": 0.6164244547390402,
    "bleu_2": 0.40433419980987106,
    "bleu_3": 0.27064642101107045,
    "bleu_4": 0.18035294963755183,
    "cider": 0.3968837033740301,
    "rouge_l": 0.47660757370822077,
}
PUBLISHED_METEOR = 0.21094682206780432


@pytest.fixture(scope="module")
def oracle(real_data):
    """References and hypotheses of a published result, as words, made by its own recipe."""
    punctuation = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t', " "))
    hypotheses, references, name = {}, {}, None
    predictions = real_data / "metric_oracle" / "validation-predictions.yaml"
    for line in predictions.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):  # a long caption goes on
            hypotheses[name] += " " + line.strip()
        else:
            name, hypotheses[name] = line.split(": ", 1)
    captions = real_data / "flickr8k" / "Flickr8k.token.txt"
    for line in captions.read_text(encoding="utf-8").splitlines():
        name, caption = line.split("\t", 1)
        caption = " ".join((caption + " zeosz").lower().translate(punctuation).split())
        references.setdefault(name.split("#")[0], []).append(caption)
    return {name: references[name] for name in hypotheses}, hypotheses


def no_java(monkeypatch, tmp_path, script=None):
    """Leaves only an empty folder, or one with this script as `java`, on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    if script is not None:
        (folder / "java").write_text("#!/bin/sh\n" + script)
        (folder / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


TINY = ({1: ["A dog runs."], 2: ["Two men sit."]}, {1: "a dog runs", 2: "a dog"})


class TestPublishedScores:
    def test_bleu_cider_and_rouge_are_the_published_ones(self, oracle):
        assert score_words(*oracle) == pytest.approx(PUBLISHED, abs=1e-9, rel=0)

    def test_plain_words_keep_what_the_published_recipe_keeps(self, oracle, real_data):
        references, _ = oracle
        captions = (real_data / "flickr8k" / "Flickr8k.token.txt").read_text(encoding="utf-8")
        raw = {name: [] for name in references}
        for line in captions.splitlines():
            name, caption = line.split("\t", 1)
            raw.get(name.split("#")[0], []).append(plain_words(caption + " zeosz"))
        assert raw == references

    @pytest.mark.skipif(shutil.which("java") is None, reason="METEOR needs Java on the PATH")
    @pytest.mark.slow
    def test_with_java_meteor_is_the_published_one_too(self, oracle):
        scores = score_captions(*oracle)  # words stay what they are under `plain_words`
        assert scores["meteor"] == pytest.approx(PUBLISHED_METEOR, abs=1e-9, rel=0)
        assert {name: scores[name] for name in PUBLISHED} == pytest.approx(PUBLISHED, abs=1e-9)
        for name in PLAIN_METRICS:
            assert scores["ptb_" + name] == pytest.approx(scores[name], abs=0.01)
        assert all(type(s) is float for n, s in scores.items() if n not in TEXTS)
        assert ("spice" in scores) != ("spice" in scores.get("left_out", ""))


TEXTS = ("tokenisation", "left_out")


class TestHandWorkedScores:
    def test_bleu_clips_repeated_words(self):
        scores = score_words({1: ["the cat is on the mat"]}, {1: " ".join(["the"] * 7)})
        assert scores["bleu_1"] == pytest.approx(2 / 7)

    def test_bleu_punishes_short_captions_of_the_whole_corpus(self):
        references = {1: ["a b c d"], 2: ["a b c d"]}
        scores = score_words(references, {1: "a b c d", 2: "a b"})
        assert scores["bleu_1"] == pytest.approx(math.exp(1 - 8 / 6))

    def test_rouge_weighs_recall_more_than_precision(self):
        scores = score_words({1: ["a b c d"]}, {1: "a c"})  # precision 1, recall 1/2
        assert scores["rouge_l"] == pytest.approx(2.44 * 0.5 / (0.5 + 1.44))

    def test_cider_is_cider_d(self):
        references = {1: ["x y"], 2: ["p q r s"]}
        cider = per_caption_cider(references, {1: "x x x", 2: "p q r s"})
        # "x" is counted once, as the reference has it; bigrams differ by one; no bigram is shared.
        cosine = 1 / (3 * math.sqrt(2))
        assert cider[1] == pytest.approx(10 * cosine / 4 * math.exp(-1 / 72))
        assert cider[2] == pytest.approx(10)

    def test_cider_gives_words_of_every_image_no_weight(self):
        cider = per_caption_cider({1: ["a dog"], 2: ["a cat"]}, {1: "a cow", 2: "a cat"})
        assert cider == pytest.approx({1: 0, 2: 10 * 2 / 4})

    def test_perplexity_is_that_of_a_word(self):
        assert perplexity([math.log(1 / 8), math.log(1 / 4)], [3, 2]) == pytest.approx(2)
        assert perplexity([-np.inf], [3]) == np.inf
        for bad in (([-1.0], [0]), ([-1.0], [1, 1]), ([], [])):
            with pytest.raises(ValueError, match="for each sentence"):
                perplexity(*bad)


class TestScoreCaptions:
    @pytest.fixture(autouse=True)
    def without_java(self, monkeypatch, tmp_path):
        no_java(monkeypatch, tmp_path)

    def test_perfect_captions_score_best(self):
        references = {"a": ["A dog runs in a field.", "Dog."], "b": ["Two men sit on a bench!"]}
        scores = score_captions(references, {k: v[0].upper() for k, v in references.items()})
        for name in PLAIN_METRICS:
            if name != "cider":  # which averages over references
                assert scores[name] == pytest.approx(1)
        assert 5 < scores["cider"] < 10

    def test_scores_are_plain_floats_that_json_keeps(self):
        scores = score_captions(*TINY)
        assert list(scores) == [*PLAIN_METRICS, "tokenisation", "left_out"]
        assert all(type(scores[name]) is float for name in PLAIN_METRICS)
        assert json.loads(json.dumps(scores)) == scores

    def test_nothing_is_printed(self, capfd):
        score_captions(*TINY)
        assert capfd.readouterr() == ("", "")

    def test_empty_captions_score_nothing(self):
        references = {1: ["a dog runs home"], 2: ["two men sit here"]}
        scores = score_captions(references, {1: "", 2: " .. "})
        assert [scores[name] for name in PLAIN_METRICS] == [0] * 6
        assert score_captions(references, {1: "", 2: "two men sit here"})["bleu_4"] > 0.3

    def test_order_of_ids_does_not_matter(self):
        references, hypotheses = TINY
        backwards = dict(reversed(hypotheses.items()))
        assert score_captions(references, backwards) == score_captions(*TINY)
        assert list(per_caption_cider(references, backwards)) == [1, 2]

    def test_mean_of_the_single_ciders_is_cider(self):
        single = per_caption_cider(*TINY)
        assert np.mean(list(single.values())) == pytest.approx(score_captions(*TINY)["cider"])

    def test_references_without_a_word_are_passed_over(self):
        references, hypotheses = TINY
        more = {1: ["A dog runs.", " . ", "'"], 2: ["Two men sit."]}
        assert score_captions(more, hypotheses) == score_captions(references, hypotheses)

    @pytest.mark.parametrize(
        ("references", "hypotheses", "says"),
        [
            ({}, {}, "same ids"),
            ({1: ["a"], 2: ["b"]}, {1: "a"}, r"1 have no hypothesis: \[2\]"),
            ({1: ["a"]}, {1: "a", "7": "b"}, r"1 have no references: \['7'\]"),
            ({1: ["a"]}, {"1": "a"}, r"\(1 and '1' are two\)"),
            ({1: []}, {1: "a"}, "at least one reference"),
            ({1: ["", " . "]}, {1: "a"}, "at least one reference with a word"),
            ({1: "a dog"}, {1: "a"}, "references of image 1 to be a list.*'a dog'"),
            ({1: ["a", 3]}, {1: "a"}, "list of strings"),
            ({1: ["a"]}, {1: ["a"]}, r"hypothesis of image 1 to be one string.*\['a'\]"),
            ({1: ["a"]}, {1: None}, "one string. Received None"),
            ([["a"]], {1: "a"}, "`references` to be a dict"),
            ({1: ["a"]}, ["a"], "`hypotheses` to be a dict"),
        ],
    )
    def test_bad_input_is_named(self, references, hypotheses, says):
        for score in (score_captions, per_caption_cider):
            with pytest.raises(ValueError, match=says):
                score(references, hypotheses)


class TestPlainWords:
    @pytest.mark.parametrize(
        ("caption", "words"),
        [
            ("A Dog , running .", "a dog running"),
            ("don't", "don't"),
            ("don’t", "don't"),
            ("man 's hat", "man 's hat"),
            ("T-shirt_no 3.5", "t shirt no 3 5"),
            ("Cafe\u0301 NAÏVE", "café naïve"),
            ("a dog 🐕 ❤\ufe0f!", "a dog"),
            ("हिन्दी 犬。", "हिन्दी 犬"),
            ("a\u2028b\x85c\n", "a b c"),
            (" ... ", ""),
        ],
    )
    def test_words_are_kept_and_punctuation_is_not(self, caption, words):
        assert plain_words(caption) == words
        assert plain_words(words) == words


class TestJava:
    def test_without_java_one_line_says_what_was_left_out(self, monkeypatch, tmp_path):
        no_java(monkeypatch, tmp_path)
        left_out = score_captions(*TINY)["left_out"]
        assert left_out.startswith("meteor, ptb_*") and "no Java found" in left_out
        assert "spice" in left_out and "\n" not in left_out

    @pytest.mark.parametrize(
        ("script", "says"),
        [
            ("exit 1", "Java does not run"),
            ("exec /bin/sleep 60", "timed out"),
            ("test $1 = -version || { echo no memory >&2; exit 1; }", "no memory"),
            ("test $1 = -version || echo 1", "PTB tokeniser lost captions"),
            ("test $1 = -version || exec /bin/sleep 60", "no answer in 1 seconds"),
        ],
    )
    def test_broken_java_is_a_metric_left_out(self, monkeypatch, tmp_path, script, says):
        no_java(monkeypatch, tmp_path, script + "\n")
        if "timed out" in says:
            monkeypatch.setattr(java_scorers, "PROBE_SECONDS", 0.2)
        monkeypatch.setattr(java_scorers, "START_SECONDS", 1 if "sleep" in script else 20)
        monkeypatch.setattr(java_scorers, "SECONDS_PER_IMAGE", 0)
        scores = score_captions(*TINY)
        assert says in scores["left_out"]
        assert not {"meteor", "ptb_cider", "spice"} & set(scores)
        assert scores["bleu_1"] > 0

    def test_java_that_hangs_is_ended(self, monkeypatch, tmp_path):
        survived = tmp_path / "survived"
        script = f"test $1 = -version || {{ /bin/sleep 1.5; : > {survived}; }}\n"
        no_java(monkeypatch, tmp_path, script)
        monkeypatch.setattr(java_scorers, "START_SECONDS", 1)
        monkeypatch.setattr(java_scorers, "SECONDS_PER_IMAGE", 0)
        with pytest.raises(java_scorers.JavaError, match="no answer in 1 seconds"):
            java_scorers.ptb_words(*TINY)
        time.sleep(1)
        assert not survived.exists()

    @pytest.mark.skipif(shutil.which("java") is None, reason="the PTB tokeniser is Java")
    def test_ptb_words_stay_with_their_images(self):
        references = {"b": ["A man's hat, please!", "x\u2028y", "..."], "a": ["3.5 café\r\nz"]}
        words = java_scorers.ptb_words(references, {"a": "don't", "b": ""})
        assert words == (
            {"b": ["a man 's hat please", "x y", ""], "a": ["3.5 café z"]},
            {"b": "", "a": "do n't"},
        )

    def test_spice_is_not_asked_without_its_model_files(self, monkeypatch):
        monkeypatch.setattr(java_scorers, "SPICE_MODELS", ("absent.jar",))
        monkeypatch.setattr(java_scorers, "_run", pytest.fail)
        with pytest.raises(java_scorers.JavaError, match=r"no absent\.jar"):
            java_scorers.spice(*TINY)

    def test_script_needs_nothing_of_zoo(self):
        code = f"import runpy, sys; runpy.run_path({java_scorers.__file__!r}); print(*sys.modules)"
        command = [sys.executable, "-P", "-c", code]
        modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert not {"zoo", "keras", "numpy"} & set(modules.split())


class TestCiderReward:
    def test_reward_is_the_official_cider_d(self):
        random.seed(0)
        words = ["a", "dog", "man's", "red,", "runs", "Two", "on", "in", ".", "field"]

        def caption():
            return " ".join(random.choices(words, k=random.randint(1, 12)))

        references = [[caption() for _ in range(random.randint(1, 5))] for _ in range(40)]
        references = [[*captions, "red field", "", "."] for captions in references]
        captions = [caption() for _ in references]
        captions[1:3] = ["", "unseen words"]
        reward = CiderReward(references).reward(range(len(references)), captions)
        official = per_caption_cider(dict(enumerate(references)), dict(enumerate(captions)))
        assert reward.dtype == "float32" and max(reward) > 1
        np.testing.assert_allclose(reward, list(official.values()), atol=1e-6)

    def test_reward_is_the_official_cider_d_on_real_captions(self, oracle):
        references, hypotheses = oracle
        cider = CiderReward(list(references.values()))
        reward = cider.reward(range(len(references)), list(hypotheses.values()))
        official = per_caption_cider(references, hypotheses)
        np.testing.assert_allclose(reward, list(official.values()), atol=1e-6)

    def test_each_caption_is_scored_for_its_image(self):
        cider = CiderReward([["a dog runs home"], ["two men sit here"]])
        captions = ["two men sit here", "two men sit here", "a dog runs home"]
        np.testing.assert_allclose(cider.reward(np.array([1, 0, 0]), captions), [10, 0, 10])
        assert cider.reward([], []).shape == (0,)

    def test_bad_input_is_named(self):
        with pytest.raises(ValueError, match="at least two images"):
            CiderReward([["a dog"]])
        with pytest.raises(ValueError, match=r"image 1, at least one with a word. Received \[\]"):
            CiderReward([["a dog"], []])
        cider = CiderReward([["a dog"], ["a man"]])
        with pytest.raises(ValueError, match="1 indices and 2 captions"):
            cider.reward([0], ["a", "b"])
        with pytest.raises(ValueError, match="from 0 to 1. Received -1 to 0"):
            cider.reward([-1, 0], ["a", "b"])


class TestResultsFiles:
    def test_results_come_back_as_they_were_written(self, tmp_path):
        captions = {3: "a café", "x.jpg": "", 1: 'he said "hi" \udc80'}
        write_results(tmp_path / "new" / "results.json", captions)
        assert read_results(tmp_path / "new" / "results.json") == captions
        assert os.listdir(tmp_path / "new") == ["results.json"]

    def test_file_is_cocos(self, tmp_path):
        write_results(tmp_path / "results.json", {3: "a dog"})
        text = (tmp_path / "results.json").read_text()
        assert json.loads(text) == [{"image_id": 3, "caption": "a dog"}]

    def test_a_failed_write_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "metrics.json"
        write_json(path, {"cider": 0.5})
        with pytest.raises(TypeError):
            write_json(path, {"cider": object()})
        assert json.loads(path.read_text()) == {"cider": 0.5}
        assert os.listdir(tmp_path) == ["metrics.json"]

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "not JSON"),
            ('{"image_id": 1}', "Received a dict"),
            ("[1]", "Entry 0 is 1"),
            ('[{"image_id": 1, "caption": "a"}, {"image_id": 2}]', "Entry 1 is"),
            ('[{"image_id": true, "caption": "a"}]', "Entry 0 is"),
            ('[{"image_id": 1, "caption": ["a"]}]', "Entry 0 is"),
            (
                '[{"image_id": 1, "caption": "a"}, {"image_id": 1, "caption": "b"}]',
                "one caption an image, but entry 1",
            ),
        ],
    )
    def test_a_bad_file_is_named_with_what_was_expected(self, tmp_path, text, says):
        path = tmp_path / "results.json"
        path.write_text(text)
        with pytest.raises(ValueError, match=f"results.json: expected.*{says}"):
            read_results(path)
