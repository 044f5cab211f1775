"""The track features of the Spotify Music Streaming Sessions Dataset."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from keras_negrec.data.logs.checked_columns import check_columns
from keras_negrec.data.logs.files import Source, find_files
from keras_negrec.data.logs.scan_table import scan_table


def scan_mssd_track_features(path: Source, connection: ibis.BaseBackend) -> ir.Table:
    """The features of the tracks of `scan_mssd`, to be joined on `item`.

    Args:
        path: a file `tf_*.csv` or `tf_*.csv.gz`, a list of them, or a folder that holds them.
        connection: an Ibis connection to DuckDB or PySpark.

    Returns:
        A table with the columns `item`, `file`, `problem` and all other columns of the files:
        `mode` (major or minor) as text, the rest as float64, null where there is no number.

    Raises:
        FileNotFoundError: no such file, no such files in the folder.
        ValueError: no column `track_id`, headers that differ, a file that cannot be unpacked.

    Example:

    >>> import ibis, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "tf_0.csv")
    >>> _ = path.write_text("track_id,duration,mode\\nt_a,180.5,major\\n")
    >>> features = keras_negrec.data.logs.mssd_track_features.scan_mssd_track_features(
    ...     path, ibis.duckdb.connect()
    ... )
    >>> features.select("item", "duration", "mode").to_pandas()
      item  duration   mode
    0  t_a     180.5  major

    Reference:
        [Brost et al., 2019](https://arxiv.org/abs/1901.09851)
    """
    files = find_files(path, "tf_*.csv", "tf_*.csv.gz")
    table = scan_table(files, connection, ["track_id"])
    others = ("track_id", "mode", "file", "problem")
    kinds = {name: "number" for name in table.columns if name not in others}
    table = check_columns(table, {"track_id": "id", **kinds}, files[0])
    return table.rename(item="track_id")
