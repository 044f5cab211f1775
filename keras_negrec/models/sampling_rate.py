"""The sampling rate of gBCE."""

from __future__ import annotations


def sampling_rate(num_sampled_negatives: int, num_items: int) -> float:
    """The share of the items other than the target that is sampled, at most 1."""
    return min(1.0, num_sampled_negatives / max(1, num_items - 1))
