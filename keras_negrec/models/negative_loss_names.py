"""Which negative-feedback losses there are."""

from __future__ import annotations

from collections.abc import Iterable

from keras_negrec.argument_checks import check_choice

NEGATIVE_LOSSES = ("contrastive", "not_to_recommend", "keep")


def negative_loss_names(negative_loss: bool | str | Iterable[str]) -> tuple[str, ...]:
    """The names that an argument `negative_loss` stands for, each once, in a fixed order.

    True is the contrastive loss; a name is itself; of several, dict keys included, all.

    Raises:
        ValueError: an unknown name.
    """
    if isinstance(negative_loss, bool):
        return NEGATIVE_LOSSES[:1] if negative_loss else ()
    names = [negative_loss] if isinstance(negative_loss, str) else list(negative_loss or ())
    for name in names:
        check_choice("negative_loss", name, (True, False, *NEGATIVE_LOSSES))
    return tuple(name for name in NEGATIVE_LOSSES if name in names)
