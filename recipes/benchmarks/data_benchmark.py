"""How fast logs are prepared and read: against pandas, and against training.

1. A simulated log in the layout of the Spotify Music Streaming Sessions Dataset is written.
2. `python -m keras_negrec.data prepare` makes training data of it, under a memory limit for
   DuckDB; time and peak memory are those of the whole process, imports included.
3. The same preparation, written plainly in pandas in its fastest way, runs on as many of the files
   as pandas holds with ease. Both read and check all files, find duplicates and sessions that
   contradict themselves, count and number the tracks, cut each session for leave-one-out and write
   Parquet.
4. The batches of the prepared folder are read alone, and then by a SASRec that trains on them.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parents[1]))  # the recipes
from progress import doing


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rows", type=int, default=20_000_000, help="about so many")
    options.add_argument("--files", type=int, default=64)
    options.add_argument("--sample-files", type=int, default=2, help="how many pandas is given")
    options.add_argument("--num-items", type=int, default=200_000)
    options.add_argument("--memory-limit", default="2GB", help="of DuckDB")
    options.add_argument("--folder", type=Path, help="for the log and all else; kept when given")
    options.add_argument("--only", choices=["log", "pandas", "pipeline"], help=argparse.SUPPRESS)
    options.add_argument("paths", nargs="*", type=Path, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.only == "log":
        write_log(args, *args.paths)
    elif args.only == "pandas":
        prepare_in_pandas(*args.paths)
    elif args.only == "pipeline":
        time_pipeline(*args.paths)
    elif args.folder:
        run(args, args.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            run(args, Path(folder))


def run(args, folder: Path) -> None:
    logs, sample = folder / "logs", folder / "sample"
    if not logs.exists():  # in a process of its own, as all else that takes memory
        sizes = [f"--rows={args.rows}", f"--files={args.files}", f"--num-items={args.num_items}"]
        subprocess.run([sys.executable, __file__, "--only", "log", *sizes, logs], check=True)
    sample.mkdir(exist_ok=True)
    for file in sorted(logs.glob("log_*.csv"))[: args.sample_files]:
        if not (sample / file.name).exists():
            (sample / file.name).symlink_to(file.resolve())

    table = Table(title="from log to training data")
    for column in ("", "rows", "seconds", "µs a row", "peak memory"):
        table.add_column(column, justify="right" if column else "left")
    limit = ["--memory-limit", args.memory_limit]

    def prepare(source: Path) -> float:
        out = folder / "prepared"
        shutil.rmtree(out, ignore_errors=True)
        command = ["-m", "keras_negrec.data", "prepare", "--format", "mssd", *limit]
        return timed(f"prepare, {source.name}", [*command, "--input", source, "--output", out])

    def timed(name: str, command: list) -> float:
        source = sample if "sample" in name else logs
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
        with doing(name):
            _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        if status:
            raise SystemExit(f"{command} failed")
        rows = rows_of(source)
        table.add_row(
            name,
            f"{rows:,}",
            f"{seconds:.1f}",
            f"{1e6 * seconds / rows:.2f}",
            f"{usage.ru_maxrss / 2**20:.2f} GiB",
        )
        return seconds / rows

    whole = prepare(logs)
    inspected = folder / "prepared_whole"
    shutil.rmtree(inspected, ignore_errors=True)
    (folder / "prepared").rename(inspected)
    prepare(sample)
    command = [__file__, "--only", "pandas", sample, folder / "plain"]
    plain = timed("pandas, sample", command)
    Console(width=80).print(table)
    print(f"a row takes pandas {plain / whole:.1f} times as long as prepare")
    subprocess.run(
        [sys.executable, __file__, "--only", "pipeline", inspected, folder / "small"], check=True
    )


def write_log(args, folder: Path) -> None:
    from benchmarks.write_mssd import write_mssd
    from keras_negrec.data import simulate_sessions

    sessions = args.rows // 14  # that many rows are written of a session
    log = simulate_sessions(sessions, args.num_items, num_users=max(1, sessions // 8))
    started = time.perf_counter()
    counts = write_mssd(log, folder, num_files=args.files)
    print(f"log written in {time.perf_counter() - started:.0f} s: {counts}", flush=True)


def rows_of(folder: Path) -> int:
    lines = 0
    for file in folder.glob("log_*.csv"):
        with open(file, "rb") as log:
            lines += sum(chunk.count(b"\n") for chunk in iter(lambda: log.read(2**24), b"")) - 1
    return lines


CUTS = ["train_end", "validation_at", "test_at"]


def cut(feedback: list[int]) -> tuple[int, int, int]:
    kept = [i for i, value in enumerate(feedback) if value > 0]
    if len(kept) < 3:
        return len(feedback), -1, -1
    return kept[-3] + 1, kept[-3] + 1, kept[-2] + 1


def prepare_in_pandas(folder: Path, out: Path) -> None:
    """What `prepare` does, as it comes to mind in pandas."""
    log = pd.concat(
        [pd.read_csv(file).assign(file=str(file)) for file in sorted(folder.glob("log_*.csv"))],
        ignore_index=True,
    )
    position = pd.to_numeric(log["session_position"], errors="coerce")
    length = pd.to_numeric(log["session_length"], errors="coerce")
    wrong = position.isna() | length.isna() | ~position.between(1, length)
    wrong |= log["session_id"].isna() | log["track_id_clean"].isna()
    for column in ("skip_1", "skip_2", "skip_3", "not_skipped"):
        wrong |= ~log[column].isin([True, False])
    if wrong.any():
        raise ValueError(f"bad rows, first: {log[wrong].iloc[0].to_dict()}")
    log = log.drop_duplicates(["session_id", "session_position", "track_id_clean"])
    heard = log["not_skipped"] | log["skip_3"]
    log["feedback"] = 0
    log.loc[heard, "feedback"] = 1
    log.loc[log["skip_1"] | log["skip_2"], "feedback"] = -1
    counts = log["track_id_clean"].value_counts().sort_index()
    counts = counts.sort_values(ascending=False, kind="stable")
    log["id"] = log["track_id_clean"].map(pd.Series(range(1, len(counts) + 1), counts.index))
    log = log.sort_values(["session_id", "session_position"])
    first = log.groupby("session_id").agg({"file": "nunique", "session_length": "first"})
    frame = log.groupby("session_id").agg({"id": list, "feedback": list})
    lengths = frame["id"].map(len)
    if (first["file"] > 1).any() or (lengths != first["session_length"]).any():
        raise ValueError("a session is in two files or not whole")
    cuts = pd.DataFrame(frame["feedback"].map(cut).tolist(), frame.index, CUTS)
    frame = frame.rename(columns={"id": "item_ids"}).join(cuts).reset_index(names="key")
    frame = frame.sample(frac=1, random_state=0)
    train = log.groupby("session_id").cumcount() < log["session_id"].map(
        pd.Series(frame["train_end"].to_numpy(), frame["key"])
    )
    items = pd.DataFrame({"item": counts.index, "count": counts.to_numpy()})
    items["train_count"] = items["item"].map(log.loc[train, "track_id_clean"].value_counts())
    out.mkdir(exist_ok=True)
    items.to_parquet(out / "items.parquet")
    for shard in range(8):
        frame[shard::8].to_parquet(out / f"part-{shard}.parquet")


def time_pipeline(folder: Path, small: Path) -> None:
    """Sessions a second of the batches alone, and of a training on them."""
    import keras_negrec

    # A small catalogue makes the training as fast as it can be.
    if not small.exists():
        log = keras_negrec.data.simulate_sessions(320_000, 1000)
        events = {"session": "session", "item": "item", "feedback": "feedback"}
        options = {"format_options": events | {"position": "position"}, "verbose": False}
        keras_negrec.data.prepare(log.events, small, **options)
    for name, path, num_sampled_negatives in (
        ("the log, sampled softmax of 256", folder, 256),
        ("1,000 items, sampled softmax of 256", small, 256),
        ("1,000 items, full softmax", small, None),
    ):
        prepared = keras_negrec.data.load_prepared(path)
        model = keras_negrec.build_model(
            *("sasrec",),
            vocabulary=prepared.vocabulary,
            max_length=50,
            embedding_dim=64,
            num_layers=2,
            num_sampled_negatives=num_sampled_negatives,
        )
        dataset = model.training_dataset(prepared, batch_size=128, repeat=True)
        num_steps = len(model.training_dataset(prepared, batch_size=128))
        num_sessions = sum(shard["rows"] for shard in prepared.manifest["shards"])
        a_step = num_sessions / num_steps
        model.fit(dataset, steps_per_epoch=20, epochs=1, verbose=0, shuffle=False)
        started, steps = time.perf_counter(), 60
        model.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False)
        training = a_step * steps / (time.perf_counter() - started)
        batches = iter(dataset)
        next(batches)
        started, read = time.perf_counter(), 0
        while time.perf_counter() - started < 10:
            next(batches)
            read += 1
        alone = a_step * read / (time.perf_counter() - started)
        print(
            f"{name}: batches alone {alone:,.0f} sessions a second, SASRec trains "
            f"{training:,.0f} of them, {alone / training:.0f} times fewer",
            flush=True,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of reading and training: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
