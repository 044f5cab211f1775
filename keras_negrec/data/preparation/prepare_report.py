"""What `prepare` kept and why it dropped the rest, in words."""

from __future__ import annotations

from typing import Any


def prepare_report(manifest: dict[str, Any], name: str) -> str:
    """Some lines about a prepared folder of that name."""
    counts = manifest["counts"]
    kept = {noun: counts["kept"][noun] for noun in ("rows", "events", "items")}
    lines = [f"{name}: " + _list(kept)]
    lines += [f"left out: {message}" for message in counts["unreadable_files"].values()]
    if not counts["dropped"] and not counts["unreadable_files"]:
        lines[0] += "; nothing was dropped"
    for drop in counts["dropped"]:
        what = _list({noun: drop[noun] for noun in ("events", "sessions", "items")})
        lines.append(f"dropped {what}: {drop['reason']}")
    lines += [f"kept, but odd: {count:,} {what}" for what, count in counts["odd"].items() if count]
    split = manifest["split"]
    line = "train: " + _list(split["train"])
    for part in ("validation", "test"):
        examples = split[part]
        line += (
            f"; {part}: {examples['examples']:,} examples, {examples['with_skip']:,} with a skip"
        )
        if examples["targets_not_in_training"]:
            line += f", {examples['targets_not_in_training']:,} of items not in training"
    return "\n".join([*lines, line])


def _list(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {noun}" for noun, count in counts.items() if count)
