"""What a whole model with sampled negatives puts out, against its definition."""

import math

import keras
import numpy as np
import pytest
from keras import ops
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec

NUM_NEGATIVES = 7
REMOVED = -1e3  # what is at most this stands for minus infinity


@pytest.mark.parametrize("objective", ["softmax", "gbce", "bpr"])
@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_against_the_definition(name, objective):
    model = keras_negrec.build_model(
        name,
        num_items=NUM_ITEMS,
        max_length=16,
        embedding_dim=8,
        num_layers=1,
        dropout=0.0,
        objective=objective,
        num_sampled_negatives=NUM_NEGATIVES,
        sampling_distribution="log_uniform",
        skips_as_negatives=True,
        negative_loss="not_to_recommend",
    )
    table = np.random.default_rng(0).normal(size=(NUM_ITEMS, 8)).astype("float32")
    model.item_embedding.embeddings.assign(table)
    table = np.concatenate([np.zeros((1, 8)), table])  # row i is item i
    dataset = model.training_dataset(toy_sessions(8), batch_size=8, shuffle=False)
    x, y, weight = next(iter(dataset))
    x = {key: values.numpy() for key, values in x.items()}
    outputs = {
        **model.output,
        "negatives": model.get_layer("negative_sampler").output[0],
        "predictions": model.get_layer("prediction_head").output,
    }
    found = keras.Model(model.input, outputs)(x)
    found = {key: ops.convert_to_numpy(values) for key, values in found.items()}
    negatives = found["negatives"]

    def log_count(item):
        """Log of how often an item is expected in the sample; 0 without the correction."""
        if objective != "softmax":
            return 0.0
        return math.log(NUM_NEGATIVES * math.log((item + 1) / item) / math.log(NUM_ITEMS + 1))

    num_targets = num_skips = 0
    for row in range(len(x["target_ids"])):
        own = x["skipped_ids"][row]
        for slot in range(x["target_ids"].shape[1]):
            prediction = found["predictions"][row, slot]
            target, skipped = x["target_ids"][row, slot], x["skip_target_ids"][row, slot]
            sampled = {
                item: [
                    -math.inf if n == item else prediction @ table[n] - log_count(n)
                    for n in negatives
                ]
                for item in (target, skipped)
            }
            if target:
                expected = [prediction @ table[target] - log_count(target), *sampled[target]]
                expected += [-math.inf if i in (0, target) else prediction @ table[i] for i in own]
                check(found["next_item"][row, slot], expected)
                num_targets += 1
            if skipped:
                # It is no draw but certain to be there: its own logit is not corrected.
                check(
                    found["not_to_recommend"][row, slot],
                    [prediction @ table[skipped], *sampled[skipped]],
                )
                num_skips += 1
    assert num_targets == weight["next_item"].numpy().sum() > 0
    assert num_skips == weight["not_to_recommend"].numpy().sum() > 0
    assert (y["next_item"].numpy() == 0).all()  # the target is class 0


def check(found, expected):
    expected = np.array(expected)
    removed = np.isneginf(expected)
    assert (found[removed] < REMOVED).all()
    np.testing.assert_allclose(found[~removed], expected[~removed], rtol=1e-4, atol=1e-4)
