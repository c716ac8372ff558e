"""`lrcn data-service`: processes that decode pictures and clips for a training elsewhere."""

import signal

from zoo.cli.arguments import positive


def add_parser(commands):
    """Adds the command."""
    p = commands.add_parser(
        "data-service",
        help="decode pictures and clips for a training, in other processes or on other machines",
        description="One dispatcher, any number of workers, and then a recipe with --data-service "
        "grpc://HOST:PORT. TensorFlow's server asks for no password and listens on all addresses "
        "of the machine: keep both in a network of your own.",
    )
    roles = p.add_subparsers(required=True, metavar="ROLE")
    p = roles.add_parser("dispatcher", help="deals out batches to workers; decodes nothing")
    p.set_defaults(command=dispatch)
    p.add_argument("--port", type=positive, default=5050)
    p = roles.add_parser("worker", help="decodes; sees the files where the recipe sees them")
    p.set_defaults(command=work)
    p.add_argument("dispatcher", metavar="HOST:PORT", help="of the dispatcher")
    p.add_argument(
        "--address",
        default="localhost",
        metavar="HOST",
        help="by which the recipe reaches this worker; default: localhost, for one machine",
    )


def dispatch(options):
    """Runs a dispatcher until it is told to stop."""
    import tensorflow as tf

    service = tf.data.experimental.service
    server = service.DispatchServer(service.DispatcherConfig(port=options.port))
    print(f"dispatcher: {server.target}", flush=True)
    signal.pause()  # `server.join` would not hear Ctrl-C


def work(options):
    """Runs a worker until it is told to stop."""
    import tensorflow as tf

    service = tf.data.experimental.service
    config = service.WorkerConfig(options.dispatcher, f"{options.address}:%port%")
    server = service.WorkerServer(config)
    print(f"worker of {options.dispatcher}", flush=True)
    signal.pause()
    del server
