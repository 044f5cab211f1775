"""What was kept, dropped and held out of a log, in words for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from typing import Any


def report(manifest: dict[str, Any], name: str) -> str:
    """What `prepare` says at its end."""
    kept = manifest["counts"]["kept"]
    lines = [f"{name}: {count_all(kept, 'rows', 'events', 'items')}"]
    lines += [*dropped_lines(manifest["counts"]), *split_lines(manifest["split"])]
    if manifest["num_repeats"]:
        lines += wrap(repeats(manifest["num_repeats"] / kept["events"]))
    return "\n".join(lines)


def dropped_lines(counts: dict[str, Any]) -> list[str]:
    """What was dropped and why, and what is odd."""
    lines = [f"Left out: {message}" for message in counts["unreadable_files"].values()]
    if counts["dropped"]:
        gone = sum(drop["events"] for drop in counts["dropped"])
        lines.append(f"Dropped {gone:,} of {count('events', counts['read']['events'])}:")
    elif not lines:
        lines.append("Nothing was dropped.")
    for drop in counts["dropped"]:
        lines.append(f"  {count_all(drop, 'events', 'sessions', 'items')}: {drop['reason']}")
    for what, number in counts["odd"].items():
        if number:
            lines.append(f"Kept, but odd: {number:,} {what}")
    return [line for long in lines for line in wrap(long)]


def split_lines(split: dict[str, Any]) -> list[str]:
    """What trains, and how many examples there are to rank."""
    lines = [f"Training has {count('events', split['train']['events'])} of "]
    lines[0] += f"{count('rows', split['train']['rows'])}."
    if not any(split[part]["examples"] for part in ("validation", "test")):
        return [*lines, "Nothing is held out."]
    lines.append("held out        examples    with a skip    of items not in training")
    for part in ("validation", "test"):
        numbers = split[part]
        line = f"{part:<10}{numbers['examples']:>14,}{numbers['with_skip']:>15,}"
        lines.append(f"{line}{numbers['targets_not_in_training']:>28,}")
    if "test_from" in split:
        lines.append(f"Validation begins {_date(split['validation_from'])},")
        lines.append(f"the test {_date(split['test_from'])}.")
    return lines


def repeats(share: float) -> str:
    """How often items come back, and what follows from it."""
    return (
        f"{share:.1%} of the events have an item that is in their row before. Items of the history "
        "are left out of evaluation and recommendations. Where people come back to them, as to "
        "music: build_model(exclude_seen=False)."
    )


def count(noun: str, number: int) -> str:
    """`1 event`, `2,000 events`."""
    return f"{number:,} {noun.removesuffix('s') if number == 1 else noun}"


def count_all(counts: dict[str, Any], *nouns: str) -> str:
    """Those counts that are not 0."""
    return ", ".join(count(noun, counts[noun]) for noun in nouns if counts[noun])


def wrap(text: str, indent: str = "") -> list[str]:
    """Lines of at most 80 columns, in which no word is cut; a long path is a longer line."""
    own = indent + " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(
        text,
        80,
        initial_indent=indent,
        subsequent_indent=own + "  " if own != indent else own,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _date(time: float) -> str:
    """A time, with its date if it can be seconds since 1970."""
    if not 5e8 < time < 5e9:
        return f"at {time:,.15g}"
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M} UTC (time {time:.15g})"
