"""What can go wrong with a request: a code of gRPC, chosen as the stock server does, and why."""

from grpc import StatusCode

LONGEST_MESSAGE = 1000  # characters; a client drops an answer whose trailers pass 8 KB

# By code; the table is the one of tensorflow_serving/model_servers/http_server.cc.
HTTP_STATUS = {
    StatusCode.OK: 200,
    StatusCode.CANCELLED: 499,
    StatusCode.UNKNOWN: 500,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.DEADLINE_EXCEEDED: 504,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.ABORTED: 409,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.INTERNAL: 500,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DATA_LOSS: 500,
    StatusCode.UNAUTHENTICATED: 401,
}
BY_NUMBER = {code.value[0]: code for code in StatusCode}  # TensorFlow has the same numbers


class ServingError(Exception):
    """A request is answered with an error.

    Args:
        code: `grpc.StatusCode`.
        message: What was expected, what arrived.
    """

    def __init__(self, code, message):
        self.code = code
        self.message = message[:LONGEST_MESSAGE]
        super().__init__(f"{code.name}: {self.message}")
