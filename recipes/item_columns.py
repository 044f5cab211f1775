"""Options that name columns of a table about items, and the features that models get from it."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np

from keras_negrec import data
from progress import doing, say

KINDS = {
    "numeric": "columns of numbers",
    "categories": "columns of categories; COLUMN= if a cell may hold several, between commas",
    "text": "columns of text",
}


def add_options(options: argparse.ArgumentParser) -> None:
    group = options.add_argument_group(
        "features of items", "Each model is also trained with features of the items."
    )
    group.add_argument("--items", type=Path, help="table of items: .csv, .tsv or .parquet")
    group.add_argument(
        "--item-column", default="item", help="of the table: the items' ids (default: %(default)s)"
    )
    for kind, columns in KINDS.items():
        group.add_argument(f"--{kind}", nargs="+", default=[], metavar="COLUMN", help=columns)


def check(options: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Ends the program unless table and columns are given together, or neither is."""
    if (args.items is None) == any(getattr(args, kind) for kind in KINDS):
        options.error("--items goes with --numeric, --categories or --text")
    if args.items is not None and not args.items.is_file():
        options.error(f"--items must be a file. Received: {args.items}")


def fingerprint(args: argparse.Namespace) -> str | None:
    """What tells these features from others; None where there are none."""
    if args.items is None:
        return None
    named = [args.item_column, *(getattr(args, kind) for kind in KINDS)]
    content = args.items.read_bytes() + repr(named).encode()
    return hashlib.sha256(content).hexdigest()[:12]


def features(
    args: argparse.Namespace, vocabulary: data.Vocabulary
) -> tuple[data.ItemFeatureEncoder, np.ndarray] | None:
    """What `data.item_features` makes of the columns; None where there are none."""
    if args.items is None:
        return None
    categories = {
        name.removesuffix("="): "," if name.endswith("=") else None for name in args.categories
    }
    with doing(f"reading {args.items}"):
        encoder, found = data.item_features(
            args.items,
            vocabulary,
            item=args.item_column,
            numeric=args.numeric,
            categories=categories,
            text=args.text,
            missing_items="fill",
        )
    without = f", of which {encoder.num_filled} have no row" if encoder.num_filled else ""
    say(f"{found.shape[1]} features of {len(vocabulary)} items{without}")
    return encoder, found
