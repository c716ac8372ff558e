"""Concurrent requests merged into batches, after the stock server's parameters."""

import concurrent.futures
import threading
import time

import grpc
import numpy as np
import pytest
from serving_models import predict, running, stub_of, write_toy

from zoo.serving.errors import ServingError
from zoo.serving.local_server.batching import Batcher, OneByOne
from zoo.serving.local_server.batching_parameters import BatchingParameters, read_parameters

SECOND = 1_000_000


class Doubling:
    """A servable that notes what it is asked, and can be made to wait."""

    def __init__(self):
        self.asked, self.started = [], threading.Semaphore(0)
        self.open = threading.Event()
        self.open.set()

    def run(self, signature, inputs, deadline):
        self.asked.append(inputs["x"].tolist())
        self.started.release()
        assert self.open.wait(20)
        if signature == "fails":
            raise ServingError(grpc.StatusCode.INTERNAL, "it does not work")
        return {"y": inputs["x"] * 2} if signature == "double" else {"y": inputs["x"].sum()}


@pytest.fixture
def batcher():
    started = []

    def start(**parameters):
        parameters = {"num_batch_threads": 1, "max_batch_size": 4, **parameters}
        parameters.setdefault("max_execution_batch_size", parameters["max_batch_size"])
        started.append(Batcher(BatchingParameters(**parameters)))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        yield pool


def ask(pool, batcher, servable, *rows, signature="double", seconds=20):
    inputs, deadline = {"x": np.array(rows)}, time.monotonic() + seconds
    return pool.submit(batcher.run, servable, signature, inputs, deadline)


def code_of(answer):
    with pytest.raises(ServingError) as error:
        answer.result(20)
    return error.value.code.name


def test_requests_that_come_together_are_one_batch(batcher, pool):
    servable, merging = Doubling(), batcher(batch_timeout_micros=20 * SECOND)
    answers = [ask(pool, merging, servable, i) for i in range(3)]
    answers.append(ask(pool, merging, servable, 3))  # now it is full, and does not wait
    assert [a.result(20)["y"].tolist() for a in answers] == [[0], [2], [4], [6]]
    assert [sorted(x) for x in servable.asked] == [[0, 1, 2, 3]]


def test_batch_runs_when_it_has_waited_long_enough(batcher, pool):
    servable, merging = Doubling(), batcher(batch_timeout_micros=SECOND // 5)
    start = time.monotonic()
    assert ask(pool, merging, servable, 1).result(20)["y"].tolist() == [2]
    assert 0.2 <= time.monotonic() - start < 10


def test_batch_is_filled_up_with_its_first_row(batcher, pool):
    servable, merging = Doubling(), batcher(max_batch_size=8, allowed_batch_sizes=(2, 8))
    assert ask(pool, merging, servable, 5, 6, 7).result(20)["y"].tolist() == [10, 12, 14]
    assert servable.asked == [[5, 6, 7, 5, 5, 5, 5, 5]]


def test_queue_that_is_full_is_unavailable_and_others_are_not(batcher, pool):
    servable, merging = Doubling(), batcher(max_enqueued_batches=1)
    servable.open.clear()
    running = ask(pool, merging, servable, 0)
    assert servable.started.acquire(timeout=20)
    waiting = ask(pool, merging, servable, 1, 2, 3)
    while not merging._queues:
        time.sleep(0.01)
    assert code_of(ask(pool, merging, servable, 4, 5)) == "UNAVAILABLE"
    fits = ask(pool, merging, servable, 4)
    other = ask(pool, merging, servable, 9, signature="fails")
    servable.open.set()
    assert [a.result(20)["y"].tolist() for a in (running, waiting, fits)] == [[0], [2, 4, 6], [8]]
    assert code_of(other) == "INTERNAL"


def test_requests_of_other_shapes_signatures_or_versions_stay_apart(batcher, pool):
    first, second = Doubling(), Doubling()
    merging = batcher(batch_timeout_micros=SECOND // 10)
    answers = [
        ask(pool, merging, first, 1),
        ask(pool, merging, second, 2),
        ask(pool, merging, first, [3, 4]),
        ask(pool, merging, first, 5, signature="fails"),
    ]
    assert [a.result(20)["y"].tolist() for a in answers[:3]] == [[2], [4], [[6, 8]]]
    assert code_of(answers[3]) == "INTERNAL"
    assert len(first.asked) == 3 and len(second.asked) == 1


def test_requests_of_other_lengths_are_filled_up_with_their_first_element(batcher, pool):
    servable = Doubling()
    merging = batcher(batch_timeout_micros=20 * SECOND, pad_variable_length_inputs=True)
    answers = [ask(pool, merging, servable, *x) for x in ([[1, 2]], [[3, 4, 5], [6, 7, 8]], [[9]])]
    assert [a.result(20)["y"].tolist() for a in answers] == [
        [[2, 4, 2]],
        [[6, 8, 10], [12, 14, 16]],
        [[18, 18, 18]],
    ]
    assert len(servable.asked) == 1


def test_empty_inputs_and_other_ranks_stay_apart(batcher, pool):
    servable = Doubling()
    merging = batcher(batch_timeout_micros=SECOND // 10, pad_variable_length_inputs=True)
    answers = [ask(pool, merging, servable, *x) for x in ([[]], [[1, 2]], [3])]
    assert [a.result(20)["y"].tolist() for a in answers] == [[[]], [[2, 4]], [6]]
    assert len(servable.asked) == 3


def test_large_request_is_refused_or_split(batcher, pool):
    servable = Doubling()
    assert code_of(ask(pool, batcher(), servable, *range(5))) == "INVALID_ARGUMENT"
    split = batcher(max_batch_size=8, enable_large_batch_splitting=True, max_execution_batch_size=3)
    answer = ask(pool, split, servable, *range(7)).result(20)
    assert answer["y"].tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert [len(x) for x in servable.asked] == [3, 3, 1]


def test_deadline_that_passes_in_the_queue_takes_the_request_back(batcher, pool):
    servable, merging = Doubling(), batcher()
    servable.open.clear()
    running = ask(pool, merging, servable, 0, seconds=0.2)
    assert servable.started.acquire(timeout=20)
    assert code_of(ask(pool, merging, servable, 1, seconds=0.1)) == "RESOURCE_EXHAUSTED"
    assert code_of(running) == "DEADLINE_EXCEEDED"
    servable.open.set()
    assert ask(pool, merging, servable, 2).result(20)["y"].tolist() == [4]
    assert servable.asked == [[0], [2]]


def test_deadline_that_passes_before_its_turn_is_exceeded(pool):
    servable, one_by_one = Doubling(), OneByOne(slots=1)
    servable.open.clear()
    running = ask(pool, one_by_one, servable, 0)
    assert servable.started.acquire(timeout=20)
    assert code_of(ask(pool, one_by_one, servable, 1, seconds=0.1)) == "DEADLINE_EXCEEDED"
    servable.open.set()
    assert running.result(20)["y"].tolist() == [0]


def test_what_cannot_be_merged_or_split_is_an_error(batcher, pool):
    merging, servable = batcher(), Doubling()
    inputs = {"x": np.zeros(2), "z": np.zeros(3)}
    assert code_of(pool.submit(merging.run, servable, "double", inputs)) == "INVALID_ARGUMENT"
    scalar = {"x": np.float32(1)}
    assert code_of(pool.submit(merging.run, servable, "double", scalar)) == "INVALID_ARGUMENT"
    assert code_of(ask(pool, merging, servable, 1, signature="sum")) == "FAILED_PRECONDITION"


def test_stopping_runs_what_is_in_the_queue(batcher, pool):
    servable, merging = Doubling(), batcher(batch_timeout_micros=60 * SECOND)
    answer = ask(pool, merging, servable, 1)
    while not merging._queues:
        time.sleep(0.01)
    merging.stop()
    assert answer.result(20)["y"].tolist() == [2]
    assert code_of(ask(pool, merging, servable, 1)) == "UNAVAILABLE"


def test_parameters_are_read_from_the_stock_servers_file(tmp_path):
    file = tmp_path / "batching_parameters.txt"
    file.write_text(
        "max_batch_size { value: 32 }\n"
        "batch_timeout_micros { value: 5000 }  # a comment\n"
        "max_enqueued_batches { value: 64 }\n"
        "num_batch_threads { value: 2 }\n"
        "allowed_batch_sizes: 1\nallowed_batch_sizes: 8\nallowed_batch_sizes: 32\n"
        "pad_variable_length_inputs: true\n"
        "thread_pool_name { value: 'batches' }\n"
    )
    assert read_parameters(file) == BatchingParameters(
        max_batch_size=32,
        batch_timeout_micros=5000,
        max_enqueued_batches=64,
        num_batch_threads=2,
        thread_pool_name="batches",
        allowed_batch_sizes=(1, 8, 32),
        pad_variable_length_inputs=True,
        max_execution_batch_size=32,
    )
    file.write_text("")
    assert read_parameters(file).max_batch_size == 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: 3", "holds no batching parameters"),
        ("batch_size { value: 3 }", "batch_size"),
        ("max_batch_size { value: 0 }", "at least 1"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: 2", "the last one is the largest"),
        ("max_batch_size { value: 2 } allowed_batch_sizes: [2, 2]", "rise"),
        ("batch_timeout_micros { value: -1 }", "not negative"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(tmp_path, text, message):
    file = tmp_path / "parameters.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_parameters(file)


def test_server_with_batching_gives_each_client_its_own_rows(tmp_path):
    write_toy(tmp_path / "models", factor=2.0)
    parameters = tmp_path / "parameters.txt"
    parameters.write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 20000 }"
        "num_batch_threads { value: 1 } allowed_batch_sizes: [1, 4, 8]"
    )
    with running(tmp_path / "models", batch=parameters) as server, stub_of(server) as stub:
        rows = [[[float(i), float(j)] for j in range(1 + i % 3)] for i in range(24)]
        answers = [stub.Predict.future(predict(inputs={"x": x}), timeout=20) for x in rows]
        for x, answer in zip(rows, answers, strict=True):
            assert answer.result().outputs["y"].float_val == (2 * np.array(x)).ravel().tolist()
            assert answer.result().outputs["sum"].float_val == [sum(row) for row in x]
        with pytest.raises(grpc.RpcError) as error:
            stub.Predict(predict("name: 'toy' signature_name: 'mean'", {"x": [1.0]}), timeout=20)
        assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
