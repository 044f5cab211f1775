"""What a whole model with sampled negatives puts out, against its definition."""

import math

import numpy as np
import pytest
from small_models import batch_of, build, layer_outputs
from toy_sessions import NUM_ITEMS, toy_sessions

NUM_NEGATIVES = 7
REMOVED = -1e3  # what is at most this stands for minus infinity


@pytest.mark.parametrize("objective", ["softmax", "gbce", "bpr"])
@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_against_the_definition(name, objective):
    model = build(
        name,
        max_length=16,
        objective=objective,
        num_sampled_negatives=NUM_NEGATIVES,
        sampling_distribution="log_uniform",
        skips_as_negatives=True,
        negative_loss="not_to_recommend",
    )
    table = np.random.default_rng(0).normal(size=(NUM_ITEMS, 8)).astype("float32")
    model.item_embedding.embeddings.assign(table)
    table = np.concatenate([np.zeros((1, 8)), table])  # row i is item i
    x, y, weight = batch_of(model, toy_sessions(8), batch_size=8)
    found = layer_outputs(model, x, negatives="negative_sampler", predictions="prediction_head")
    negatives = found["negatives"][0]

    def log_count(item):
        """Log of how often an item is expected in the sample; 0 without the correction."""
        if objective != "softmax":
            return 0.0
        return math.log(NUM_NEGATIVES * math.log((item + 1) / item) / math.log(NUM_ITEMS + 1))

    def sampled(scores, item):
        return [-math.inf if n == item else scores[n] - log_count(n) for n in negatives]

    num_targets = num_skips = 0
    for row, slot in np.ndindex(x["target_ids"].shape):
        prediction = found["predictions"][row, slot]
        target, skipped = x["target_ids"][row, slot], x["skip_target_ids"][row, slot]
        own = x["skipped_ids"][row]

        scores = table @ prediction
        if target:
            expected = [scores[target] - log_count(target), *sampled(scores, target)]
            expected += [-math.inf if i in (0, target) else scores[i] for i in own]
            check(found["next_item"][row, slot], expected)
            num_targets += 1
        if skipped:
            # It is no draw but certain to be there: its own logit is not corrected.
            expected = [scores[skipped], *sampled(scores, skipped)]
            check(found["not_to_recommend"][row, slot], expected)
            num_skips += 1
    assert num_targets == weight["next_item"].sum() > 0
    assert num_skips == weight["not_to_recommend"].sum() > 0
    assert (y["next_item"] == 0).all()  # the target is class 0


def check(found, expected):
    expected = np.array(expected)
    removed = np.isneginf(expected)
    assert (found[removed] < REMOVED).all()
    np.testing.assert_allclose(found[~removed], expected[~removed], rtol=1e-4, atol=1e-4)
