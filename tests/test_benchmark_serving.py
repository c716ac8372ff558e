"""The load proof of the server finds what it is there to find, and a small load passes it."""

import pathlib
import shutil
import socket
import sys
import time

import pytest
from serving_models import LOOPBACK, captioner_export, tiny_captioner

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "benchmarks"))

import serving as benchmark  # the benchmarks are scripts, no package
from serving_clients import Answer, Case, ask_all, difference, make_cases

FLAT = {"ready": 110, "1/4": 100, "1/2": 104, "end": 105, "peak": 150}


@pytest.fixture(scope="module")
def cases():
    return make_cases(tiny_captioner(), requests=60, bad_share=0.1)


def a_run(**what):
    run = {"batching": "on", "requests_per_second": 30.0, "p50_ms": 1.0, "p99_ms": 2.0}
    run |= {"wrong": [], "lost": [], "by_new_version": 9, "took_over": True, "megabytes": FLAT}
    return benchmark.Run(**{**run, **what})


@pytest.mark.slow
def test_small_load_is_answered_through_a_swap_and_one_wrong_answer_is_found(cases, tmp_path):
    saved_models = shutil.copytree(captioner_export(), tmp_path / "saved_models")
    last = len(cases) - 1 - [case.status for case in cases[::-1]].index("ok")
    wrong = [*cases[:last], cases[last]._replace(caption="a lie"), *cases[last + 1 :]]
    run = benchmark.load_run(saved_models, wrong, 4, 60, benchmark.BATCHING)
    assert len(run.wrong) == 1 and "a lie" in run.wrong[0]
    assert run.lost == []
    assert run.took_over and run.by_new_version >= 8  # two from each client came after it
    assert 0 < run.p50_ms <= run.p99_ms and run.requests_per_second > 0
    assert set(run.megabytes) == set(benchmark.MARKS)


def test_cases_are_varied_good_ones_and_bad_ones_of_every_kind(cases):
    good = [case for case in cases if case.status == "ok"]
    assert len(cases) == 60 and len(good) == 54
    assert len({case.image for case in good}) > 20 and len({case.caption for case in good}) > 1
    kinds = {"empty", "not an image", "damaged", "too large"}
    assert {case.status for case in cases} - {"ok"} == kinds
    assert cases == make_cases(tiny_captioner(), requests=60, bad_share=0.1)


@pytest.mark.parametrize(
    "change",
    [{"caption": "a red squar"}, {"log_prob": -2.0002}, {"log_prob": float("nan")}]
    + [{"status": "damaged"}],
)
def test_answer_that_differs_is_wrong(change):
    case, answer = Case(b"", "ok", "a red square", -2.0), Answer("ok", "a red square", -2.0, 1, 0.1)
    assert difference(case, answer) is None
    assert difference(case, answer._replace(log_prob=-2.00005)) is None
    assert "a red square" in difference(case, answer._replace(**change))


def test_requests_without_an_answer_are_lost_and_say_why(cases):
    with socket.create_server((LOOPBACK, 0)) as free:
        address = f"{LOOPBACK}:{free.getsockname()[1]}"
    answers = ask_all(address, cases[:5], 2, time.monotonic() + 30)
    assert len(answers) == 5 and all(answer.startswith("UNAVAILABLE") for answer in answers)


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ({"wrong": ["expected this"]}, "batching on: wrong: expected this"),
        ({"lost": ["UNAVAILABLE: gone"]}, "batching on: lost: UNAVAILABLE: gone"),
        ({"took_over": False}, "batching on: the new version did not take over"),
        ({"megabytes": {**FLAT, "1/2": 106}}, "batching on: memory is not flat"),
        ({"megabytes": {**FLAT, "end": 106}}, "batching on: memory is not flat"),
    ],
)
def test_each_thing_that_goes_wrong_is_a_problem(what, problem):
    assert a_run().problems() == []
    (found,) = a_run(**what).problems()
    assert found.startswith(problem)


def test_table_has_a_row_for_each_run(capsys):
    benchmark.print_table([a_run(batching="off"), a_run()])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| o")]
    memory = "110, 100, 104, 105, 150"
    assert rows == [f"| {word} | 30.0 | 1 | 2 | 0 | 0 | 9 | {memory} |" for word in ("off", "on")]
