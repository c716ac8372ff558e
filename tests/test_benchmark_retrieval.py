"""The benchmark of retrieval compares equal things, and fails where it should."""

import pathlib
import sys

import numpy as np
import pytest
from serving_models import WORDS, tiny_captioner

from zoo.text.vocabulary import Vocabulary

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "benchmarks"))

import retrieval as benchmark  # the benchmarks are scripts, no package

GOOD = {
    "difference": 1e-6,
    "at_once": [300.0, 400.0, 500.0],
    "by_pair": [100.0, 100.0, 90.0],
    "large_seconds": 3599.0,
}


def test_small_run_prints_both_ways_and_their_scores_agree(tmp_path, monkeypatch, capsys):
    captioner = tiny_captioner()
    captioner.vocabulary = Vocabulary(WORDS)
    captioner.prior_features = np.random.default_rng(5).normal(size=(7, 6)).astype("float32")
    captioner.save_to_preset(tmp_path / "tiny")
    monkeypatch.setattr(benchmark, "PAIRS", (3, 5))
    monkeypatch.setattr(benchmark, "FASTER", 0.0)  # so few pairs are no gain
    monkeypatch.setattr(benchmark, "LONGEST", np.inf)
    with pytest.raises(SystemExit) as stopped:
        benchmark.main(["--model", str(tmp_path / "tiny")])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "3 images x 5 sentences" in out and "all pairs at once" in out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"difference": 2e-4}, "differ by 0.0002"),
        ({"by_pair": [200.0] * 3}, "2.00 times as fast"),
        ({"large_seconds": 3700.0}, "would take 3700 s"),
    ],
)
def test_each_failure_is_a_problem(change, message):
    assert benchmark.problems(GOOD) == []
    (problem,) = benchmark.problems({**GOOD, **change})
    assert message in problem
