"""Counts and latencies for Prometheus, under the names that TF Serving gives them."""

from __future__ import annotations

import bisect
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable

from keras_negrec.serving.embedded.loaded_version import LoadedVersion

PATHS = ("/monitoring/prometheus/metrics", "/metrics")
_COUNT = ":tensorflow:serving:request_count"
_LATENCY = ":tensorflow:serving:request_latency"
_LOADED = ":keras_negrec:serving:model_version_loaded"
_LIMITS = [10 * 1.8**i for i in range(32)]  # microseconds


class Metrics:
    """What was answered since the start. Names that no model has are counted as ""."""

    def __init__(self):
        self._lock = threading.Lock()
        self._counts: Counter = Counter()
        self._latencies: dict[tuple, list[int]] = {}
        self._seconds: defaultdict[tuple, float] = defaultdict(float)

    def add(self, model: str, signature: str, entrypoint: str, status: str, seconds: float):
        """One answer; `entrypoint` is GRPC or REST, `status` the name of a code."""
        labels = (("model_name", model), ("API", "Predict"), ("entrypoint", entrypoint))
        with self._lock:
            self._counts[model, signature, status] += 1
            buckets = self._latencies.setdefault(labels, [0] * (len(_LIMITS) + 1))
            buckets[bisect.bisect_right(_LIMITS, 1e6 * seconds)] += 1
            self._seconds[labels] += seconds

    def page(self, served: Iterable[LoadedVersion]) -> str:
        """The text that Prometheus reads."""
        with self._lock:
            lines = [f"# TYPE {_COUNT} counter"]
            for (model, signature, status), count in sorted(self._counts.items()):
                labels = {"model_name": model, "signature_name": signature, "status": status}
                lines.append(f"{_COUNT}{_labels(labels)} {count}")
            lines.append(f"# TYPE {_LATENCY} histogram")
            for key, buckets in sorted(self._latencies.items()):
                total = 0
                for limit, count in zip([*_LIMITS, None], buckets, strict=True):
                    total += count
                    le = "+Inf" if limit is None else f"{limit:.6g}"
                    lines.append(f"{_LATENCY}_bucket{_labels({**dict(key), 'le': le})} {total}")
                lines.append(f"{_LATENCY}_sum{_labels(dict(key))} {1e6 * self._seconds[key]:.0f}")
                lines.append(f"{_LATENCY}_count{_labels(dict(key))} {total}")
        lines.append(f"# TYPE {_LOADED} gauge")
        for loaded in served:
            labels = {"model_name": loaded.name, "version": str(loaded.version)}
            lines.append(f"{_LOADED}{_labels(labels)} 1")
        return "\n".join([*lines, ""])


def _labels(labels: dict[str, str]) -> str:
    # JSON escapes what Prometheus wants escaped.
    parts = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items()]
    return f"{{{','.join(parts)}}}"
