import keras
import numpy as np
import pytest

import keras_negrec
from keras_negrec.data import Sessions


@pytest.mark.parametrize("model", ["sasrec", "bert4rec"])
def test_epoch_has_few_shapes_and_all_events(model):
    random = np.random.default_rng(0)
    lengths = random.integers(2, 120, size=400)
    sessions = Sessions.from_lists(
        [random.integers(1, 50, size=length).tolist() for length in lengths],
        [random.choice([-1, 1], size=length).tolist() for length in lengths],
    )
    model = keras_negrec.build_model(model, num_items=49, max_length=100, num_sampled_negatives=3)
    batches = sessions.batches(batch_size=8, max_length=100)
    assert sum(np.count_nonzero(batch["item_ids"]) for batch in batches) == lengths.sum()
    shapes, num_rows = set(), 0
    for inputs, *_ in model.training_dataset(sessions, batch_size=8):
        num_rows += len(inputs["item_ids"])
        shapes.add((*inputs["item_ids"].shape, *inputs["target_ids"].shape))
    assert num_rows >= len(sessions)
    if keras.config.backend() == "jax":
        assert len(shapes) <= 2 * 4 * 2  # lengths by slots, of full batches and the last ones
