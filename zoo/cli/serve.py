"""`lrcn serve`: a model server for one machine."""

from zoo.cli.arguments import positive


def add_parser(commands):
    """Adds the command."""
    p = commands.add_parser(
        "serve",
        help="serve exported models on this machine",
        description="For one machine. The same folder goes to the stock TensorFlow model server "
        "as it is; that both answer alike rests on the tests, which were not run against it.",
    )
    p.set_defaults(command=run)
    p.add_argument("saved_models", metavar="SAVED_MODELS", help="folder, or a models.config")
    p.add_argument("--host", default="127.0.0.1", help="where it listens; default: this machine")
    p.add_argument("--port", type=int, default=8500, help="of gRPC; 0 takes a free one")
    p.add_argument("--rest-port", type=int, default=8501)
    p.add_argument("--key", metavar="FILE", help="of TLS")
    p.add_argument("--certificate", metavar="FILE", help="of TLS")
    p.add_argument("--batch", metavar="FILE", help="merge requests as this parameters file says")
    p.add_argument("--max-message-bytes", type=positive)
    p.add_argument("--max-in-flight", type=positive)


def run(options):
    """Serves exported models until it is told to stop."""
    limits = {
        name: getattr(options, name)
        for name in ("max_message_bytes", "max_in_flight")
        if getattr(options, name) is not None
    }
    import_server().serve(
        options.saved_models,
        host=options.host,
        port=options.port,
        rest_port=options.rest_port,
        key=options.key,
        certificate=options.certificate,
        batch=options.batch,
        **limits,
    )
    return 0


def import_server():
    """Gives `zoo.serving.local_server.server`, or an error that says how to get what it needs."""
    try:
        from zoo.serving.local_server import server
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{error}. The server needs more packages: pip install "lrcn-zoo[serve]"'
        ) from None
    return server
