"""Whether the tests that take long run too."""

import os

THOROUGH = os.environ.get("KERAS_NEGREC_THOROUGH", "") not in ("", "0")
