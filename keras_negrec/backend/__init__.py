"""Code that is written for one backend. All else in the package runs on Keras's own operations."""
