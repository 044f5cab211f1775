"""Last.fm-1K, the listening histories of 992 users."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd

from keras_negrec.data.logs.columns import add_problems, problem_where
from keras_negrec.data.logs.feedback_rule import Rule, to_events
from keras_negrec.data.logs.files import Source, find_files
from keras_negrec.data.logs.gaps import sessions_by_gap
from keras_negrec.data.logs.read_log import read_scan
from keras_negrec.data.logs.scan_files import scan_lines

_TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"
_MBID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


def read_lastfm1k(
    path: Source,
    *,
    feedback: str | Rule = "gap",
    skip_seconds: float = 30,
    session_gap: float = 20 * 60,
    errors: str = "raise",
) -> pd.DataFrame:
    """Reads Last.fm-1K, the listening histories of 992 users, into memory.

    The log tells neither sessions nor skips; both follow from the times between plays. The file is
    taken as it is published: tab separated, without a header, the newest play first, quotes being
    text. A tab inside of a name is a problem where there is no track id, and so is a play that is
    there again (user, time and item).

    Args:
        path: `userid-timestamp-artid-artname-traid-traname.tsv`, packed (`.gz`) or not, a list of
            such files, or a folder that holds one.
        feedback: `"gap"`: -1 where the user's next play follows in under `skip_seconds`, else +1.
            Or a rule of your own, as in `read_frame`, on the columns `user`, `timestamp`
            (seconds), `artist_id`, `artist`, `track_id`, `track`, `item`, `session`, `position`
            and `seconds_to_next` (null at a user's last play).
        skip_seconds: how soon the next play comes after one that was skipped.
        session_gap: the longest time, in seconds, from one play to the next of its session.
        errors: `"raise"` or `"skip"`, as in `read_log`, which says what is raised.

    Returns:
        An events table with the columns `session` (`<user>_<n>`, n from 0), `user`, `item` (the
        track's MusicBrainz id, or `<artist>\\t<track>` where it has none), `feedback`, `position`
        (from 0 in its session) and `timestamp` (seconds since 1970), in time order of each user.

    Example:

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "plays.tsv")
    >>> _ = path.write_text(
    ...     "ann\\t2009-05-04T23:30:00Z\\t\\tNico\\t\\tAfraid\\n"
    ...     "ann\\t2009-05-04T23:00:10Z\\t\\tCan\\t\\tSing Swan Song\\n"
    ...     "ann\\t2009-05-04T23:00:00Z\\t\\tCan\\t\\tVitamin C\\n"
    ... )
    >>> keras_negrec.data.read_lastfm1k(path)[["session", "feedback"]].values.tolist()
    [['ann_0', -1], ['ann_0', 1], ['ann_1', 1]]

    Reference:
        [Celma, 2010](http://ocelma.net/MusicRecommendationDataset/lastfm-1K.html)
    """
    return read_scan(scan_lastfm1k, **locals())


def scan_lastfm1k(
    path: Source,
    connection: ibis.BaseBackend,
    *,
    feedback: str | Rule = "gap",
    skip_seconds: float = 30,
    session_gap: float = 20 * 60,
    number_rows: bool = False,
) -> ir.Table:
    """The events of `read_lastfm1k` as a lazy table."""
    files = find_files(path, "userid-timestamp-*.tsv", "userid-timestamp-*.tsv.gz")
    plays = _plays(scan_lines(files, connection, number_rows=number_rows))
    copies = ibis.window(group_by=["user", "timestamp", "item"], order_by="file")
    plays = plays.mutate(nth=ibis.row_number().over(copies))
    again = "expected each play once. Received: " + plays.item + " again"
    plays = add_problems(plays, ibis.ifelse(plays.nth > 0, again, ibis.null("string")))
    plays = sessions_by_gap(plays, session_gap, ["item"])
    is_soon = ibis.coalesce(plays.seconds_to_next < skip_seconds, False)
    rules = {"gap": lambda plays: ibis.ifelse(is_soon, -1, 1)}
    roles = ["session", "user", "item", "position", "timestamp", "seconds_to_next"]
    return to_events(plays, roles, feedback, rules)


def _plays(lines: ir.Table) -> ir.Table:
    """Lines as columns."""
    fields = lines.line.split("\t")
    count = fields.length()
    names = ("user", "time", "artist_id", "artist", "track_id", "track")
    values = {name: ibis.ifelse(count >= 6, fields[i], None) for i, name in enumerate(names)}
    plays = lines.mutate(num_fields=count, **values)
    has_id = plays.track_id.re_search(_MBID)
    time = ibis.ifelse(plays.time.re_search(_TIME), plays.time, None).try_cast("timestamp")
    fits = (plays.num_fields == 6) | ((plays.num_fields > 6) & has_id)
    unfit = "expected 6 fields separated by tabs. Received: " + plays.num_fields.cast("string")
    unfit += " in " + plays.line.substr(0, 200)
    id_expected = "expected a MusicBrainz id or nothing"
    time_expected = "expected a time like 2009-05-04T23:08:57Z"
    names_expected = "expected a track id, or else the names of artist and track"
    no_names, both = (plays.artist == "") | (plays.track == ""), plays.artist + ", " + plays.track
    wrong_id = ~has_id & (plays.track_id != "")
    plays = add_problems(
        plays,
        ibis.ifelse(fits, ibis.null("string"), unfit),
        problem_where(plays.user == "", "user", "expected an id", plays.user),
        problem_where(time.isnull(), "timestamp", time_expected, plays.time),
        problem_where(wrong_id, "track id", id_expected, plays.track_id),
        problem_where(~has_id & no_names, "track name", names_expected, both),
    )
    return plays.mutate(
        item=ibis.ifelse(has_id, plays.track_id, plays.artist + "\t" + plays.track),
        timestamp=time.epoch_seconds().cast("int64"),
    ).drop("line", "num_fields", "time")
