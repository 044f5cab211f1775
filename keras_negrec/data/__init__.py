"""From raw logs to sessions, splits and training batches."""

import lazy_loader

# DuckDB, Ibis and TensorFlow load when they are used: `__init__.pyi` says from where.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
