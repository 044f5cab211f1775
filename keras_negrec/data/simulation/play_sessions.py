"""Many sessions of a simulated log at once, round by round."""

from __future__ import annotations

import numpy as np

from keras_negrec.data.simulation.log_truth import LogTruth, SessionStates, keep_probability


def play_sessions(
    truth: LogTruth, states: SessionStates, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All events of the sessions, session by session and in order.

    Genres are drawn for all sessions at once, and then a track of the genre, so that the cost
    does not depend on the size of the catalogue.

    Returns:
        Session (counted from 0), item index, and feedback of each event.
    """
    # The longest sessions first: those that go on are always the first rows.
    order = np.argsort(-states.num_kept, kind="stable")
    num_kept = states.num_kept[order]
    moods, num_rows = states.moods[order], len(order)
    match = moods @ truth.genres.T  # (rows, genres)
    odds_against = np.exp(-(match + states.patience[order, np.newaxis]))
    catalogue = _Catalogue(truth, num_rows)
    successors = np.append(truth.successors, np.zeros_like(truth.successors[:1]), axis=0)
    last_genre = np.full(num_rows, -1)  # that of no track: the row of zeros
    avoided = np.zeros_like(moods)
    event_rows, event_items, event_kept = [], [], []
    for nth in range(num_kept[0]):
        going = np.flatnonzero(catalogue.num_heard[: np.sum(num_kept > nth)] < len(truth.items))
        if len(going) == 0:
            break
        rows = slice(len(going)) if going[-1] == len(going) - 1 else going  # a slice is no copy
        wanted = successors[last_genre[rows]] + truth.insight * moods[rows]
        logits = (wanted - truth.avoidance * avoided[rows]) @ truth.genres.T
        logits -= logits.max(axis=1, keepdims=True)
        weights = np.exp(logits) * catalogue.left[rows].astype("float32")
        kept_weights = weights * keep_probability(
            odds_against[rows] * np.exp(truth.reluctance(nth))
        )

        # Presentations of a round are independent draws, so how many are skipped, which ones,
        # and which one is kept can be drawn apart from each other.
        ends = kept_weights.sum(axis=1, dtype="float64") / weights.sum(axis=1, dtype="float64")
        num_skips = random.geometric(np.minimum(ends, 1)) - 1
        nth_skip = np.repeat(np.arange(len(going)), num_skips)
        skip_genres = _draw((weights - kept_weights)[nth_skip], random)
        kept_genres = _draw(kept_weights, random)
        skip_rows = going[nth_skip]
        drawn_rows = np.concatenate([skip_rows, going])
        items = catalogue.draw(drawn_rows, np.concatenate([skip_genres, kept_genres]), random)
        catalogue.hear(drawn_rows, items)

        last_genre[rows] = kept_genres
        avoided[rows] *= truth.memory
        shares = np.repeat(1 / np.maximum(num_skips, 1), num_skips).astype("float32")
        np.add.at(avoided, skip_rows, shares[:, np.newaxis] * truth.genres[skip_genres])
        event_rows.append(drawn_rows)
        event_items.append(items)
        event_kept.append(np.arange(len(items)) >= len(skip_rows))
    row, item, kept = (np.concatenate(part) for part in (event_rows, event_items, event_kept))
    is_strong = truth.is_strong(match[row, truth.genre_of[item]], kept)
    feedback = (np.where(kept, 1, -1) * (1 + is_strong)).astype("int8")
    session = order[row]
    in_order = np.argsort(session, kind="stable")  # a row's events were added in order of time
    return session[in_order], item[in_order], feedback[in_order]


class _Catalogue:
    """Draws tracks of a genre that a session has not heard.

    Popularities are whole numbers, so that what is left of a genre stays exact, and is 0 when
    all its tracks were heard.
    """

    def __init__(self, truth: LogTruth, num_rows: int):
        self.weights = truth.weights
        self.genre_of = truth.genre_of
        self.by_genre = np.argsort(truth.genre_of, kind="stable")
        self.cumulative = np.cumsum(truth.weights[self.by_genre])
        ends = np.cumsum(np.bincount(truth.genre_of, minlength=len(truth.genres)))
        self.ends = np.append(0, self.cumulative)[ends]
        self.starts = np.append(0, self.ends[:-1])
        self.left = np.tile(self.ends - self.starts, (num_rows, 1))
        self.heard = np.full((num_rows, 32), -1, "int32")
        self.num_heard = np.zeros(num_rows, int)

    def draw(self, rows: np.ndarray, genres: np.ndarray, random: np.random.Generator):
        """A track of each genre, by popularity, that its row has not heard."""
        items = np.empty(len(rows), "int32")
        waiting = np.arange(len(rows))
        width = self.num_heard.max(initial=0)
        for _ in range(20):
            start, end = self.starts[genres[waiting]], self.ends[genres[waiting]]
            place = start + random.random(len(waiting)) * (end - start)
            nth = np.searchsorted(self.cumulative, np.minimum(place, end - 1), side="right")
            items[waiting] = self.by_genre[nth]
            heard = self.heard[rows[waiting], :width] == items[waiting, np.newaxis]
            waiting = waiting[heard.any(axis=1)]
            if len(waiting) == 0:
                return items
        for place in waiting:  # hardly anything is left of the genre
            tracks = np.flatnonzero(self.genre_of == genres[place])
            tracks = np.setdiff1d(tracks, self.heard[rows[place]])
            weights = self.weights[tracks]
            items[place] = random.choice(tracks, p=weights / weights.sum())
        return items

    def hear(self, rows: np.ndarray, items: np.ndarray) -> None:
        """The rows' tracks are not presented again."""
        distinct = np.unique(rows * len(self.weights) + items)  # in the order of the rows
        rows, items = np.divmod(distinct, len(self.weights))
        np.subtract.at(self.left, (rows, self.genre_of[items]), self.weights[items])
        counts = np.bincount(rows, minlength=len(self.num_heard))
        place = self.num_heard[rows] + np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]
        self.num_heard += counts
        missing = self.num_heard.max() - self.heard.shape[1]
        if missing > 0:
            more = np.full((len(self.heard), missing + 32), -1, "int32")
            self.heard = np.concatenate([self.heard, more], axis=1)
        self.heard[rows, place] = items


def _draw(weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One column for each row, drawn in proportion to the row's weights."""
    cumulative = np.cumsum(weights, axis=1)
    # The draw stays clear of the end, where rounding would lead past the last column.
    drawn = random.random(len(weights), dtype="float32") * np.float32(1 - 1e-6)
    return (cumulative <= (drawn * cumulative[:, -1])[:, np.newaxis]).sum(axis=1)
