"""The benchmarks' two sides take turns, and no ratio is printed of what does not agree."""

import os
import pathlib
import sys
import time

import numpy as np
import pytest

sys.path.append(str(pathlib.Path(__file__).parents[1] / "benchmarks"))

from harness import OURS, PEER, Side, compare, same_losses, same_pixels


def ready(value, seconds=0.0):
    """A side whose turns take so long."""

    def turn():
        time.sleep(seconds)
        return value, os.getpid()

    return turn


def sides(**settings):
    function = f"{__name__}:ready"
    return {OURS: (function, {"value": 1.0}), PEER: (function, {"value": 1.0, **settings})}


def same(ours, peers):
    return same_losses(ours[0], peers[0])


def test_ratio_is_the_peers_time_over_ours(capsys):
    figures = compare("sleep", sides(seconds=0.1), same, goal=1.5, rounds=3)
    assert figures["ratio"] > 1.5 and len(figures[OURS]["seconds"]) == 3
    assert min(figures[PEER]["seconds"]) >= 0.1 and figures[PEER]["peak_mb"] > 1
    assert "| sleep |" in capsys.readouterr().out


def test_a_goal_that_is_not_reached_is_called_missed(capsys):
    compare("sleep", sides(), same, goal=1e9, rounds=1)
    assert "| missed |" in capsys.readouterr().out


def test_sides_that_do_not_agree_are_not_timed(capsys):
    with pytest.raises(SystemExit, match="sleep: the two sides differ: losses 1.0 and 1.1"):
        compare("sleep", sides(value=1.1), same, goal=1.0)
    assert "| sleep |" not in capsys.readouterr().out


def test_each_side_has_a_process_of_its_own_and_a_failing_one_says_so():
    side = Side(f"{__name__}:ready", {"value": 1})
    (_, process), _ = side.turn()
    side.close()
    assert process != os.getpid()
    with pytest.raises(SystemExit, match="ready failed"):
        Side(f"{__name__}:ready", {"wrong": 1}).turn()


def test_pixels_may_differ_by_a_level_on_average():
    ours = np.zeros((2, 4, 4, 3))
    assert same_pixels(ours, ours + 0.9) is None
    assert "1.10 levels" in same_pixels(ours, ours + 1.1)
    assert same_pixels(ours, ours[:1]) is not None
