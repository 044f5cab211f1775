"""The logit of what must not count."""

MASKED_LOGIT = -1e4  # exp of it is 0, and it fits in float16
