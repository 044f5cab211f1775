import keras
import numpy as np
import pytest
from toy_sessions import NUM_ITEMS, toy_sessions

import keras_negrec
from keras_negrec.callbacks import RankingEvaluation
from keras_negrec.data import Sessions, leave_one_out
from keras_negrec.models import Popularity


@pytest.fixture(scope="module")
def split():
    return leave_one_out(toy_sessions(48, length=16))


def build():
    return keras_negrec.build_model(
        "sasrec",
        num_items=NUM_ITEMS,
        max_length=15,
        embedding_dim=8,
        num_layers=1,
        dropout=0.0,
        learning_rate=0.01,
    )


def test_best_weights_are_restored(split):
    model = build()

    def ruin_what_was_learned(epoch, learning_rate):
        return 1.0 if epoch == 5 else 0.03

    history = model.fit(
        model.training_dataset(split.train, batch_size=16),
        epochs=12,
        verbose=0,
        callbacks=[
            keras.callbacks.LearningRateScheduler(ruin_what_was_learned),
            RankingEvaluation(split.validation, k=(1, 5), exclude_seen=False),
            keras.callbacks.EarlyStopping(
                "val_mrr", mode="max", patience=3, restore_best_weights=True
            ),
        ],
    ).history
    figures = history["val_mrr"]
    assert len(figures) < 12  # stopped when it fell
    assert {"val_hr@1", "val_hr@5", "val_ndcg@5", "val_feedback_auc", "val_skip_mrr"} <= set(
        history
    )
    assert not any("num_" in name for name in history)
    metrics = keras_negrec.evaluate(model, split.validation, k=(1, 5), exclude_seen=False)
    assert figures[-1] < max(figures)
    assert metrics["mrr"] == pytest.approx(max(figures), abs=1e-6)


def test_every_other_epoch(split):
    class Guess:
        num_items = NUM_ITEMS
        calls = 0

        def score(self, histories):
            self.calls += 1
            return np.full((len(histories), NUM_ITEMS), self.calls, "float32") * np.arange(
                NUM_ITEMS
            )

    callback = RankingEvaluation(split.validation, k=(3,), every=2)
    guess = Guess()
    callback.set_model(guess)
    expected = keras_negrec.evaluate(guess, split.validation, k=(3,))
    guess.calls = 0
    for epoch, calls in [(0, 1), (1, 1), (2, 2), (3, 2)]:
        logs = {"loss": 1.0}
        callback.on_epoch_end(epoch, logs)
        assert guess.calls == calls
        assert logs["val_ndcg@3"] == expected["ndcg@3"]
        assert not any("num_" in name for name in logs)


def test_every_must_be_positive(split):
    with pytest.raises(ValueError, match="`every` must be a positive integer"):
        RankingEvaluation(split.validation, every=0)


def test_figures_that_rest_on_nothing_are_left_out():
    split = leave_one_out(Sessions.from_lists([[1, 2, 3, 4]] * 4))
    callback = RankingEvaluation(split.validation)
    callback.set_model(Popularity(split.train, 4))
    logs = {}
    callback.on_epoch_end(0, logs)
    assert "val_hr@10" in logs
    assert not [name for name in logs if "skip" in name or "feedback" in name]
