"""Options that name columns of a table about items, and the features that models get from it."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from keras_negrec import data
from progress import doing, say

KINDS = {
    "numeric": "columns of numbers",
    "categories": "columns of categories; COLUMN=, where commas are between several in a cell",
    "text": "columns of text",
}


def add_options(options: argparse.ArgumentParser) -> None:
    group = options.add_argument_group(
        "features of items", "What a model is told of the items, where they are given."
    )
    table = (
        ".csv, .tsv, .parquet, a RecBole .item, or JSON of items and their lists, in column value"
    )
    group.add_argument("--items", type=Path, help=f"table of items: {table}")
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
    args: argparse.Namespace, vocabulary: data.Vocabulary, **options
) -> tuple[data.ItemFeatureEncoder, np.ndarray] | None:
    """What `data.item_features` makes of the columns, with its options; None where none are."""
    if args.items is None:
        return None
    named = (each.partition("=") for each in args.categories)
    categories = {name: separator or None for name, _, separator in named}
    with doing(f"reading {args.items}"):
        encoder, found = data.item_features(
            read(args.items, args.item_column, vocabulary),
            vocabulary,
            item=args.item_column,
            numeric=args.numeric,
            categories=categories,
            text=args.text,
            missing_items="fill",
            **options,
        )
    without = f", of which {encoder.num_filled} have no row" if encoder.num_filled else ""
    say(f"{found.shape[1]} features of {len(vocabulary)} items{without}")
    return encoder, found


def read(path: Path, item: str, vocabulary: data.Vocabulary) -> pd.DataFrame | Path:
    """A table that `data.item_features` takes: the path itself, or what it does not read."""
    if path.suffix == ".json":
        table = pd.Series(json.loads(path.read_text())).rename_axis(item).reset_index(name="value")
    elif path.suffix == ".item":
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        table = table.rename(columns=lambda name: name.partition(":")[0])
    else:
        return path
    return table.astype({item: vocabulary.items.dtype})
