"""A small training that every backend must do alike.

    python fixed_training.py OWN [OTHER]

trains, saves into the folder OWN, loads what another backend saved in the folder OTHER, and
prints losses, outputs and compile state as JSON.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

import keras_negrec

NUM_ITEMS = 12
NAMES = ("sasrec", "bert4rec", "gru4rec", "caser")
GO_ON = (
    "sasrec",
    "gru4rec",
)  # the optimizer knows nothing of the encoder, and compiling takes long
TRANSFORMER = {"num_layers": 1, "intermediate_dim": 8}


def inputs():
    """One batch: what the models see, their targets and the weights of these."""
    random = np.random.default_rng(0)
    items = random.integers(1, NUM_ITEMS + 1, (6, 8))
    items[0, :2] = 0
    items[1, :1] = 0
    feedback = np.where(items > 0, random.integers(-2, 3, items.shape), 0)
    positions = np.tile([2, 5, 7], (6, 1))  # events, not padding
    x = {"item_ids": items, "feedback": feedback, "target_positions": positions}
    x["candidate_ids"] = items
    y = {
        "next_item": random.integers(0, NUM_ITEMS, (6, 3)),
        "contrastive": random.integers(-1, 1, (6, 3, 8)),
        "not_to_recommend": random.integers(0, NUM_ITEMS, (6, 3)),
    }
    y["contrastive"][..., 4] = random.integers(0, 2, (6, 3)) * 2 - 1
    weight = {
        "next_item": random.integers(0, 2, (6, 3)).astype("float32"),
        "contrastive": np.ones((6, 3), "float32"),
        "not_to_recommend": random.integers(0, 2, (6, 3)).astype("float32"),
    }
    return (
        {key: values.astype("int32") for key, values in x.items()},
        {key: values.astype("int32") for key, values in y.items()},
        weight,
    )


def build(name):
    model = keras_negrec.build_model(
        name,
        num_items=NUM_ITEMS,
        max_length=8,
        embedding_dim=8,
        dropout=0.0,
        negative_loss={"contrastive": 0.4, "not_to_recommend": 0.7},
        temperature=0.3,
        feedback_inputs=True,
        **(TRANSFORMER if name in ("sasrec", "bert4rec") else {}),
    )
    for i, weight in enumerate(model.trainable_weights):
        random = np.random.default_rng(i)
        if len(weight.shape) > 1:  # scales and offsets start alike on every backend
            weight.assign(random.normal(scale=0.3, size=weight.shape).astype("float32"))
    return model


def outputs(model):
    found = model.predict_on_batch(inputs()[0])
    return {key: found[key].tolist() for key in sorted(found)}


def train(folder):
    report = {}
    for name in NAMES:
        model = build(name)
        x, y, weight = inputs()
        losses = [
            {key: float(value) for key, value in logs.items()}
            for logs in (model.train_on_batch(x, y, weight, return_dict=True) for _ in range(20))
        ]
        model.save(Path(folder) / f"{name}.keras")
        report[name] = {"losses": losses, **state(name, model)}
    return report


def load(folder):
    paths = {name: Path(folder) / f"{name}.keras" for name in NAMES}
    return {name: state(name, keras.saving.load_model(path)) for name, path in paths.items()}


def state(name, model):
    """What a saved model must keep: outputs, how it was compiled, and the next step's loss."""
    loss = model.loss["contrastive"]
    report = {
        "outputs": outputs(model),
        "compiled": {
            "loss_weights": model.get_compile_config()["loss_weights"],
            "loss": type(loss).__name__,
            "temperature": loss.temperature,
            "optimizer": type(model.optimizer).__name__,
            "learning_rate": float(model.optimizer.learning_rate),
            "iterations": int(model.optimizer.iterations),
        },
    }
    # The second step's loss depends on the optimizer's moments.
    steps = [model.train_on_batch(*inputs(), return_dict=True) for _ in range(2 * (name in GO_ON))]
    report["next_losses"] = [float(logs["loss"]) for logs in steps]
    return report


if __name__ == "__main__":
    own, *other = sys.argv[1:]
    report = {"trained": train(own), "loaded": load(other[0]) if other else None}
    print(json.dumps(report))
