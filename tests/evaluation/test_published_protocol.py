"""Somebody else's split, from their tables, with nothing written around it."""

import numpy as np
import pandas as pd
import pytest
from table_scorer import TableScorer

import keras_negrec
from keras_negrec.data import Split, Vocabulary


def ratings():
    """Users rate films in the order of a clock; 4 and more is positive."""
    rng = np.random.default_rng(0)
    films = [rng.permutation(30)[:12] for _ in range(40)]
    table = pd.DataFrame({"session": np.repeat(np.arange(40), 12), "item": np.concatenate(films)})
    table["timestamp"] = rng.permutation(len(table))
    table["feedback"] = np.where(rng.integers(1, 6, len(table)) >= 4, 1, -1)
    return table.sort_values(["session", "timestamp"], kind="stable")


def test_films_liked_and_disliked_after_all_else_a_user_rated():
    """The last event of a later user is ranked among all films that the user has not rated."""
    table = ratings()
    cut = table["timestamp"].quantile(0.9, interpolation="nearest")
    train, later = (part for _, part in table.groupby(table["timestamp"] >= cut))
    known = later["item"].isin(train["item"]) & later["session"].isin(train["session"])
    is_validation = later["session"] % 2 == 0
    vocabulary = Vocabulary.from_items(train["item"])
    split = Split.from_tables(
        train,
        later[known & is_validation],
        later[known & ~is_validation],
        vocabulary,
        predict="last",
        target="next",
    )
    model = TableScorer(np.random.default_rng(1).normal(size=(40, len(vocabulary))))
    metrics = keras_negrec.evaluate(model, split.test, k=(10,))

    liked, disliked = [], []
    test_users = later.loc[known & ~is_validation, "session"].unique()
    known_ratings = pd.concat([train, later[known]]).sort_values("timestamp")
    for user in test_users:
        rated = known_ratings[known_ratings["session"] == user]
        ids = vocabulary.encode(rated["item"])
        scores = model.scores[user].copy()
        scores[ids[:-1] - 1] = -np.inf
        hit = (scores > scores[ids[-1] - 1]).sum() < 10
        (liked if rated["feedback"].iloc[-1] > 0 else disliked).append(hit)
    assert len(liked) > 3 and len(disliked) > 3
    found = metrics["hr@10"], metrics["skip_hr@10"]
    assert found == pytest.approx((np.mean(liked), np.mean(disliked)))
    assert metrics["hr_difference@10"] == pytest.approx(np.mean(liked) - np.mean(disliked))
    assert (metrics["num_examples"], metrics["num_skip_examples"]) == (len(liked), len(disliked))
    assert np.isnan(metrics["feedback_auc"])  # no user has both
