"""The command line: `lrcn caption | classify | describe | search | audit | prepare | ...`.

One module a command. Nothing heavy is imported at the top of any of them: `lrcn --help` is instant.
"""

import argparse
import os
import sys
import tempfile

from zoo.cli import (
    audit,
    caption,
    classify,
    convert,
    data_service,
    demo,
    describe,
    digits,
    export,
    features,
    prepare,
    presets,
    search,
    serve,
)

COMMANDS = (
    caption,
    classify,
    describe,
    search,
    audit,
    prepare,
    features,
    data_service,
    presets,
    digits,
    demo,
    convert,
    export,
    serve,
)  # in the order of the help


def main(arguments=None):
    """Runs one command; errors that a user can mend are one line on stderr and exit code 1."""
    options = _parse(arguments)
    try:
        _import_tensorflow_quietly()
        sys.exit(options.command(options))
    except BrokenPipeError:  # who reads has enough: `lrcn caption photos/ | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OSError, ModuleNotFoundError, ValueError) as error:
        sys.exit(f"lrcn: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _parse(arguments):
    parser = argparse.ArgumentParser(
        prog="lrcn", description="LRCN: photographs and videos into words."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    options = parser.parse_args(arguments)
    if "check" in options:  # what argparse cannot say of options that do not go together
        options.check(options)
    return options


def _import_tensorflow_quietly():
    """TensorFlow greets on stderr while it is imported, whatever its log level is."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for a GPU, and complains where there is none
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
