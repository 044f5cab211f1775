import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_negrec.evaluation import example_metrics


def reference(target, skip, preference, k):
    """The figures of one example, by their definitions."""
    values = {"mrr": 1 / target, "feedback_auc": preference}
    values["skip_mrr"] = math.nan if math.isnan(skip) else 1 / skip
    for cutoff in k:
        hit = target <= cutoff
        values[f"hr@{cutoff}"] = 1.0 if hit else 0.0
        values[f"ndcg@{cutoff}"] = 1 / math.log2(1 + target) if hit else 0.0
        values[f"mrr@{cutoff}"] = values[f"map@{cutoff}"] = 1 / target if hit else 0.0
        values[f"skip_hr@{cutoff}"] = math.nan if math.isnan(skip) else float(skip <= cutoff)
    return values


RANKS = st.sampled_from([1.0, 1.5, 2.0, 3.0, 10.0, 10.5, 99.0, math.inf])


@given(
    st.lists(
        st.tuples(
            RANKS,
            st.none() | st.tuples(RANKS, st.sampled_from([0.0, 0.5, 1.0])),
        ),
        max_size=5,
    ),
    st.lists(st.integers(1, 20), max_size=3),
)
def test_against_the_definitions(examples, k):
    rows = [(target, *(skip or (math.nan, math.nan))) for target, skip in examples]
    columns = np.array(rows).reshape(-1, 3).T
    ranks = dict(zip(("target", "skip_target", "preference"), columns, strict=True))
    values = example_metrics(ranks, k=k)
    assert set(values) == set(reference(1.0, 1.0, 1.0, k))
    for name, of_examples in values.items():
        assert of_examples.dtype == "float64" and of_examples.shape == (len(rows),)
        expected = [reference(*row, k)[name] for row in rows]
        np.testing.assert_allclose(of_examples, expected, rtol=1e-12)


def test_cut_offs_must_be_positive():
    with pytest.raises(ValueError, match=r"`k` must be a positive integer. Received: k=0"):
        example_metrics({}, k=(5, 0))
