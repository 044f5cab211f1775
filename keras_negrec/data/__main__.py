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
        is_of_engine = type(error).__module__.split(".")[0] in ("_duckdb", "duckdb")
        if not is_of_engine and not isinstance(
            error, (ValueError, TypeError, OSError, ImportError)
        ):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
