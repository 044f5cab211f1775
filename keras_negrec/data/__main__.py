"""`python -m keras_negrec.data prepare ...` and `python -m keras_negrec.data inspect FOLDER`."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence

from keras_negrec.data.preparation.inspect_command import add_inspect_command
from keras_negrec.data.preparation.prepare_command import add_prepare_command

_EXAMPLE = """\
example:
  python -m keras_negrec.data prepare --format mssd --input logs/ --output plays
  python -m keras_negrec.data inspect plays

Then, in Python: keras_negrec.data.load_prepared("plays") trains a model.
`prepare --help` and `inspect --help` explain the options of each command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; what is wrong with its input is one line on the standard error."""
    parser = _Parser(
        prog="python -m keras_negrec.data",
        description="Turns raw logs into folders to train on, and shows what is in them.",
        epilog=_EXAMPLE,
    )
    commands = parser.add_subparsers(required=True, title="commands", metavar="COMMAND")
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
        print("error: " + str(error).replace("\n", " "), file=sys.stderr)
        return 1
    return 0


class _Parser(argparse.ArgumentParser):
    """Its errors are one line, without the usage; so are those of the commands' parsers."""

    def __init__(self, **options):
        super().__init__(formatter_class=_HelpFormatter, **options)

    def error(self, message: str):
        self.exit(2, f"error: {message}. See {self.prog} --help\n")


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of a help text: the first one, and one for each choice, indented."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        wrapper = textwrap.TextWrapper(width, break_on_hyphens=False)
        first, *choices = text.splitlines()
        lines = wrapper.wrap(first)
        wrapper.initial_indent, wrapper.subsequent_indent = "  ", "    "
        for choice in choices:
            lines += wrapper.wrap(choice)
        return lines


if __name__ == "__main__":
    sys.exit(main())
