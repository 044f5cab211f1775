"""Logs of any format as events: one reader for all of them, one file for each format."""

__all__: list[str] = []


def __dir__() -> list[str]:
    return []
