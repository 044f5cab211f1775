"""Settings that worked well, by what a log looks like."""

from __future__ import annotations

from typing import Any

# Arguments of `build_model`, each measured on the log that is named (recipes/RESULTS.md).
RECIPES: dict[str, dict[str, Any]] = {
    # MovieLens 1M: histories of a hundred events and more, with their times.
    "long-histories-with-times": {
        "encoder": "hstu",
        "max_length": 200,
        "dropout": 0.2,
    },
    # Toys and Games: most histories have fewer than ten events, of many items.
    "short-histories": {
        "encoder": "sasrec",
        "block": "ligr",
        "positions": "rotary",
        "num_heads": 1,
        "dropout": 0.5,
        "event_dropout": 0.2,
    },
    # LastFM: what was heard tells more than in which order.
    "order-says-little": {
        "encoder": "sasrec",
        "num_layers": 4,
        "use_position_embedding": False,
        "dropout": 0.5,
        "event_dropout": 0.2,
    },
    # KuaiRand-Pure: most of what is shown is skipped.
    "many-skips": {
        "encoder": "sasrec",
        "feedback_inputs": True,
        "negative_loss": "keep",
        "learning_rate": 0.002,
    },
}
