"""Concurrent requests, run one by one or merged into batches as the stock server merges them."""

import collections
import contextlib
import os
import threading
import time
from concurrent import futures

import numpy as np
from grpc import StatusCode

from zoo.serving.errors import ServingError
from zoo.serving.local_server.batching_parameters import allowed_size


class OneByOne:
    """Runs every request by itself, first come, first served.

    Args:
        slots: Requests that may run at the same moment; the others wait. TensorFlow spreads each
            over all cores, so more than one for each core only costs memory.
    """

    def __init__(self, slots=None):
        self._pool = futures.ThreadPoolExecutor(slots or os.cpu_count(), "one_by_one")

    def run(self, servable, signature, inputs, deadline=None):
        """Outputs of a signature.

        Args:
            servable: `Servable`.
            signature: Its signature's name.
            inputs: Dict of NumPy arrays.
            deadline: Until when an answer is of use, on the clock `time.monotonic`.

        Raises:
            ServingError: DEADLINE_EXCEEDED, or what the model says.
        """
        answer = self._pool.submit(servable.run, signature, inputs, deadline)
        try:
            return answer.result(None if deadline is None else _left(deadline))
        except futures.TimeoutError:
            when = "before the request's turn came" if answer.cancel() else "while the model ran"
            message = f"The deadline passed {when}."
            raise ServingError(StatusCode.DEADLINE_EXCEEDED, message) from None

    def stop(self):
        """Runs what waits, then ends the threads."""
        self._pool.shutdown()


class Batcher:
    """Merges requests for the same signature into batches, and splits the answers.

    There is one queue for each version and signature (and for each shape of a row, so that
    requests that cannot be merged do not fail each other), and one pool of threads for all.

    Args:
        parameters: `BatchingParameters`, see `read_parameters`.
    """

    def __init__(self, parameters):
        self.parameters = parameters
        self._queues = {}  # key -> deque of _Batch, the last one open
        self._changed = threading.Condition()
        self._stopped = False
        name = parameters.thread_pool_name
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{i}", daemon=True)
            for i in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, servable, signature, inputs, deadline=None):
        """Outputs of a signature, like `OneByOne.run`.

        Raises:
            ServingError: Also UNAVAILABLE where the queue is full, RESOURCE_EXHAUSTED where the
                deadline passes in the queue, INVALID_ARGUMENT where inputs have no common number
                of rows or too many.
        """
        rows = _rows(inputs)
        if rows == 0:
            return servable.run(signature, inputs, deadline)  # nothing to merge
        limit = self.parameters.max_batch_size
        if rows > limit:
            raise ServingError(
                StatusCode.INVALID_ARGUMENT,
                f"A request has at most {limit} rows (max_batch_size). Got {rows}.",
            )
        # A large request goes in pieces where the parameters allow it.
        size = self.parameters.max_execution_batch_size
        pieces = [
            _Task({name: x[i : i + size] for name, x in inputs.items()}, deadline)
            for i in range(0, rows, size)
        ]
        self._enqueue((servable, signature, self._form(inputs)), pieces)
        answers = [_wait(piece.answer, deadline) for piece in pieces]
        return {name: np.concatenate([a[name] for a in answers]) for name in answers[0]}

    def stop(self):
        """Runs what is in the queues, then ends the threads."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _form(self, inputs):
        """What requests have in common that can be merged."""
        # The stock server refuses to fill up what is empty; here it stays apart instead.
        may_grow = self.parameters.pad_variable_length_inputs and all(
            x.size for x in inputs.values()
        )
        return tuple(
            (name, x.ndim if may_grow else x.shape[1:]) for name, x in sorted(inputs.items())
        )

    def _enqueue(self, key, pieces):
        size = self.parameters.max_execution_batch_size
        with self._changed:
            if self._stopped:
                raise ServingError(StatusCode.UNAVAILABLE, "The server is going down.")
            queue = self._queues.get(key, ())
            free = self.parameters.max_enqueued_batches - len(queue)
            fits = bool(queue) and queue[-1].rows + pieces[0].rows <= size
            if len(pieces) - fits > free:
                raise ServingError(
                    StatusCode.UNAVAILABLE,
                    f"The queue of the batches is full: {len(queue)} wait, max_enqueued_batches is "
                    f"{self.parameters.max_enqueued_batches}. Try again a little later.",
                )
            queue = self._queues.setdefault(key, collections.deque())
            for piece in pieces:
                if not queue or queue[-1].rows + piece.rows > size:
                    queue.append(_Batch())
                queue[-1].tasks.append(piece)
                queue[-1].rows += piece.rows
            self._changed.notify_all()

    def _work(self):
        while self._run_next():
            pass  # a thread that waits keeps no old version of a model in memory

    def _run_next(self):
        work = self._next_batch()
        if work is None:
            return False
        (servable, signature, _), batch = work
        # Whoever waits no longer has taken the task back.
        tasks = [task for task in batch.tasks if task.answer.set_running_or_notify_cancel()]
        try:
            answers = self._run_batch(servable, signature, tasks) if tasks else []
        except BaseException as error:  # it is waited for in other threads
            for task in tasks:
                task.answer.set_exception(error)
        else:
            for task, answer in zip(tasks, answers, strict=True):
                task.answer.set_result(answer)
        return True

    def _next_batch(self):
        """Waits for a batch that is full, or old enough; None when all is done."""
        with self._changed:
            while True:
                due = {key: self._due(queue) for key, queue in self._queues.items()}
                key = min(due, key=due.get, default=None)
                if key is None and self._stopped:
                    return None
                if key is not None and (self._stopped or due[key] <= time.monotonic()):
                    batch = self._queues[key].popleft()
                    if not self._queues[key]:
                        del self._queues[key]
                    return key, batch
                self._changed.wait(None if key is None else _left(due[key]))

    def _due(self, queue):
        """When the first batch of a queue may run: at once if it cannot grow any more."""
        first, size = queue[0], self.parameters.max_execution_batch_size
        full = len(queue) > 1 or first.rows >= size
        return first.since + (0 if full else self.parameters.batch_timeout_micros / 1e6)

    def _run_batch(self, servable, signature, tasks):
        ends = np.cumsum([task.rows for task in tasks])
        padding = allowed_size(self.parameters, ends[-1]) - ends[-1]
        merged = {}
        for name in tasks[0].inputs:
            arrays = _fill_up([task.inputs[name] for task in tasks])
            # A row of a real request: whatever the model is, it can answer it.
            arrays += [arrays[0][:1]] * padding
            merged[name] = np.concatenate(arrays)
        deadlines = [task.deadline for task in tasks]
        outputs = servable.run(signature, merged, None if None in deadlines else max(deadlines))
        for name, output in outputs.items():
            if output.ndim == 0 or len(output) != ends[-1] + padding:
                raise ServingError(
                    StatusCode.FAILED_PRECONDITION,
                    f"The output {name} cannot be split into requests: expected "
                    f"{ends[-1] + padding} rows, its shape is {list(output.shape)}.",
                )
        return [
            {name: output[end - task.rows : end] for name, output in outputs.items()}
            for task, end in zip(tasks, ends, strict=True)
        ]


class _Task:
    def __init__(self, inputs, deadline):
        self.inputs, self.rows = inputs, _rows(inputs)
        self.deadline, self.answer = deadline, futures.Future()


class _Batch:
    def __init__(self):
        self.tasks, self.rows, self.since = [], 0, time.monotonic()


def _fill_up(arrays):
    """Brings arrays to one shape, rows aside, as the stock server does: with their first element.

    Source:
        tensorflow_serving/batching/batching_util.cc
    """
    shape = np.max([array.shape[1:] for array in arrays], axis=0).astype(int).tolist()
    filled = []
    for array in arrays:
        if list(array.shape[1:]) != shape:
            small = array
            array = np.full([len(small), *shape], small.flat[0], small.dtype)
            array[tuple(map(slice, small.shape))] = small
        filled.append(array)
    return filled


def _rows(inputs):
    sizes = {x.shape[0] if x.ndim else None for x in inputs.values()}
    if len(sizes) != 1 or None in sizes:
        raise ServingError(
            StatusCode.INVALID_ARGUMENT,
            "To be merged with others, the inputs of a request need the same number of rows. Got "
            + ", ".join(f"{name} {list(x.shape)}" for name, x in inputs.items()),
        )
    return sizes.pop()


def _wait(answer, deadline):
    with contextlib.suppress(futures.TimeoutError):
        return answer.result(None if deadline is None else _left(deadline))
    if answer.cancel():
        raise ServingError(
            StatusCode.RESOURCE_EXHAUSTED, "The deadline passed in the queue of the batches."
        )
    raise ServingError(StatusCode.DEADLINE_EXCEEDED, "The deadline passed while the model ran.")


def _left(deadline):
    return max(deadline - time.monotonic(), 0)
