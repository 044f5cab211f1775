"""Positions that are counted from the start."""

from __future__ import annotations

from keras import ops


def from_start(positions, length):
    """The same positions, of which none is negative.

    Args:
        positions: int tensor of any shape; negative ones count from the end, -1 being the last.
        length: int or int tensor. Of the sequences.

    Returns:
        int32 tensor of that shape.
    """
    positions = ops.cast(positions, "int32")
    # Not the modulus, which ONNX files from TensorFlow round towards 0.
    return ops.where(positions < 0, positions + length, positions)
