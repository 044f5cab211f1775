"""Code that is written for one backend. All else in the package runs on Keras's own operations."""

import os

# On CPUs, TensorFlow gives the memory of large tensors back to the system and asks for it again
# at each step, which can take a quarter of it. It reads this before its first operation.
os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "true")
