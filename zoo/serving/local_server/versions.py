"""One version of a model, from the moment it is found until long after it is gone."""

import time

from grpc import StatusCode
from tensorflow_serving.apis import get_model_status_pb2

from zoo.serving.errors import ServingError
from zoo.serving.local_server.sources import fingerprint

State = get_model_status_pb2.ModelVersionStatus.State
# The stock server's --max_num_load_retries and --load_retry_interval_micros.
LOAD_RETRIES = 5
RETRY_SECONDS = 60


class Version:
    """What is known of a version.

    Args:
        name: Of the model.
        number: Of the version.
        path: Its folder.

    Attributes:
        state: `State`, as GetModelStatus shows it.
        error: `ServingError` of the last load, or None.
        servable: `Servable`, or None where it is not in memory.
        users: Requests that hold it.
    """

    def __init__(self, name, number, path):
        self.name, self.number, self.path = name, number, path
        self.state, self.error = State.START, None
        self.servable, self.users = None, 0
        self._tries, self._tried, self._seen = 0, 0.0, None

    @property
    def available(self):
        """Whether requests find it."""
        return self.state == State.AVAILABLE

    @property
    def gone(self):
        """Whether it ended in good order: found again, it is a new one."""
        return self.state == State.END and self.error is None

    def may_load(self):
        """A failed load is tried again when the files have changed, and from time to time."""
        if self.state not in (State.START, State.END):
            return False
        return (
            self._tries == 0
            or fingerprint(self.path) != self._seen
            or (self._tries <= LOAD_RETRIES and time.monotonic() - self._tried > RETRY_SECONDS)
        )

    def begin(self):
        """Notes that it is being loaded."""
        self.state, self.error = State.LOADING, None
        self._tries, self._tried = self._tries + 1, time.monotonic()
        self._seen = fingerprint(self.path)

    def fail(self, error):
        """Notes why it could not be loaded."""
        self.state, self.error = State.END, error

    def status(self):
        """`ModelVersionStatus`."""
        status = get_model_status_pb2.ModelVersionStatus(version=self.number, state=self.state)
        error = self.error or ServingError(StatusCode.OK, "")
        status.status.error_code = error.code.value[0]
        status.status.error_message = error.message
        return status
