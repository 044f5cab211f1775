"""`python -m keras_negrec.serving saved_models` serves the exported models of a folder."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

DESCRIPTION = """\
Answers what TF Serving answers, over REST and gRPC, for every exported model of a folder:

    FOLDER/NAME/VERSION/saved_model.pb

It serves the newest version of each model, and takes up new ones while it runs. It is made for a
laptop and for a first deployment. Where one machine is not enough, or where requests come from
strangers, give the same folder to TF Serving (recipes/serving/compose.yaml): clients stay as they
are.
"""


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(
        prog="python -m keras_negrec.serving",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("folder", type=Path, help="the folder of the models' folders")
    options.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at; default: 127.0.0.1, which only this machine reaches. There "
        "are no passwords: 0.0.0.0 lets everybody ask who reaches this machine",
    )
    options.add_argument("--port", type=int, default=8500, help="port of gRPC; default: 8500")
    options.add_argument(
        "--rest-api-port", type=int, default=8501, help="port of REST; default: 8501"
    )
    options.add_argument(
        "--max-request-mb",
        type=float,
        default=16,
        help="size of the largest request that is read, in MiB; default: 16",
    )
    options.add_argument(
        "--poll-seconds",
        type=float,
        default=1,
        help="how often the folder is looked at for new versions; default: 1",
    )
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGTERM or Ctrl-C; what is wrong is one line on the standard error."""
    given = parser().parse_args(arguments)
    if given.max_request_mb <= 0 or given.poll_seconds <= 0:
        parser().error("--max-request-mb and --poll-seconds must be positive")
    _say(f"Starting TensorFlow for the models of {given.folder} (Ctrl-C ends it) ...")
    _keep_native_logs_away()
    try:
        from keras_negrec.serving.embedded.server import Server
        from keras_negrec.serving.embedded.service import Limits
    except ImportError as error:
        print(f"error: {error}. Try: pip install 'keras-negrec[serve]'", file=sys.stderr)
        return 1
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    server = Server(
        given.folder,
        host=given.host,
        port=given.port,
        rest_api_port=given.rest_api_port,
        limits=Limits(request_bytes=int(given.max_request_mb * 2**20)),
        poll_seconds=given.poll_seconds,
        say=_say,
    )
    try:
        server.run()
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads any more
        print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _keep_native_logs_away() -> None:
    """Libraries in C++ write to the standard error past Python, whose own messages stay.

    TF_CPP_MIN_LOG_LEVEL=0 in the environment shows what they say.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        return
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
