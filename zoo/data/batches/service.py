"""Batches whose pictures are read here, or by other processes and machines: tf.data service."""

import contextlib
import functools
import queue
import socket
import threading
import time
import urllib.parse

import numpy as np
import tensorflow as tf

WAIT = 10  # seconds for the dispatcher to answer
PATIENCE = 300  # seconds without the batch that is due, before a worker counts as lost
MOST_EARLY = 64  # batches that wait in memory for an earlier one; then others are fetched slowly,
PAUSE = 1  # seconds each


def read_batches(drawn, read, service=None):
    """Reads the examples of batches, in the order in which they were drawn.

    Args:
        drawn: Arrays `(num_batches, batch_size, ...)`: what was drawn for each example.
        read: Function from what was drawn for one example to its tensors. For a service, in
            TensorFlow alone, and of files that its workers find at the same place.
        service: Address of a tf.data service, `"grpc://HOST:PORT"`; None reads in this process.

    Returns:
        `tf.data.Dataset` of batches of what `read` gives.

    Raises:
        ConnectionError: If nothing answers at the address.
    """
    if service is None:
        batches = _read(drawn, read).map(lambda numbers, batch: batch)
    else:
        _check_answer(service)
        signature = _read(drawn, read).element_spec[1]
        in_order = functools.partial(_in_order, drawn, read, service)
        batches = tf.data.Dataset.from_generator(in_order, output_signature=signature)
    # Neither says how many there are, and without that there is no progress bar.
    return batches.apply(tf.data.experimental.assert_cardinality(len(drawn[0])))


def _read(drawn, read):
    """Gives the batches, each with its number, from 0, once an example."""
    num_batches, batch_size = drawn[0].shape[:2]
    numbers = np.repeat(np.arange(num_batches)[:, None], batch_size, axis=1)
    # A slice is a batch: a service deals out slices, and so whole batches.
    examples = tf.data.Dataset.from_tensor_slices((numbers, *drawn)).unbatch()

    def read_numbered(number, *drawn):
        return number, read(*drawn)

    examples = examples.map(read_numbered, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(batch_size, drop_remainder=True)


def _in_order(drawn, read, service):
    """Yields batches in order, however they come: one worker is faster than another."""
    deal = tf.data.experimental.service.distribute(
        tf.data.experimental.service.ShardingPolicy.DYNAMIC, service, compression=None
    )
    early, due, num_batches = {}, 0, len(drawn[0])
    since = time.monotonic()  # when the last batch was yielded
    with contextlib.closing(_arriving(_read(drawn, read).apply(deal))) as arriving:
        for numbers, batch in arriving:
            early[int(numbers[0])] = batch
            while due in early:
                yield early.pop(due)
                due, since = due + 1, time.monotonic()
            if due == num_batches or time.monotonic() - since > PATIENCE:
                break
            if len(early) > MOST_EARLY:
                time.sleep(PAUSE)
    if due < num_batches:
        raise ConnectionError(
            f"Batch {due} of {num_batches} has not come from {service}: a worker was lost with it. "
            "Start dispatcher and workers anew and give the command again; it goes on from its "
            "last checkpoint."
        )


def _arriving(batches):
    """Yields batches until none comes: TensorFlow itself waits for a lost worker for ever."""
    arrived, over = queue.Queue(maxsize=1), threading.Event()

    def put(item):
        while not over.is_set():
            with contextlib.suppress(queue.Full):
                return arrived.put(item, timeout=1)

    def fetch():
        try:
            for batch in batches:
                put(batch)
                if over.is_set():
                    return
            put(None)
        except Exception as error:  # whatever it is, it belongs to the thread that trains
            put(error)

    threading.Thread(target=fetch, daemon=True).start()
    try:
        with contextlib.suppress(queue.Empty):
            while (batch := arrived.get(timeout=PATIENCE)) is not None:
                if isinstance(batch, Exception):
                    raise batch
                yield batch
    finally:
        over.set()


def _check_answer(service):
    """TensorFlow would wait for a dispatcher for ever."""
    address = urllib.parse.urlsplit(service)
    if address.scheme != "grpc" or not address.port:
        raise ConnectionError(f"A data service is called grpc://HOST:PORT; got {service!r}.")
    try:
        socket.create_connection((address.hostname, address.port), WAIT).close()
    except OSError as error:
        raise ConnectionError(
            f"No data service answers at {service} ({error}): `lrcn data-service dispatcher`."
        ) from None
