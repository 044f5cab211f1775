"""Scans: the log formats as lazy tables of events, read out of core by DuckDB or Spark."""
