"""The event columns of a model beside items and feedback."""

from __future__ import annotations

from keras_negrec.data.event_columns import EVENT_COLUMNS, EventColumn


def further_inputs(model) -> list[EventColumn]:
    """The columns that the model's encoder is given beside `item_ids` and `feedback`.

    Requests may leave them out: they are then 0 for all events.
    """
    names = getattr(model, "serving_model", None)
    names = [] if names is None else list(names.input)
    return [EVENT_COLUMNS[name] for name in names if name not in ("item_ids", "feedback")]
