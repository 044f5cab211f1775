"""`python -m keras_negrec.data prepare ...` and `python -m keras_negrec.data inspect FOLDER`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from keras_negrec.data.preparation.inspect_command import add_inspect_command
from keras_negrec.data.preparation.prepare_command import add_prepare_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; what is wrong with its input is one line on the standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_negrec.data", description="Turns raw logs into training data."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_prepare_command(commands)
    add_inspect_command(commands)
    given = parser.parse_args(arguments)
    try:
        given.run(given)
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        return 130
    except Exception as error:
        of_input = isinstance(error, (ValueError, TypeError, OSError, ImportError))
        if not of_input and type(error).__module__.split(".")[0] not in ("_duckdb", "duckdb"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
