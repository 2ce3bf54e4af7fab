"""The endpoint's counters in Prometheus's format. Each gateway has a registry of its own, so several fit in one process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from evolcoder.serve.engines.base import EngineStats

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    def __init__(self) -> None:
        # The client library would add a ``_created`` series to every counter. This switch is the library's own global.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("evolcoder_requests", "Requests answered.", ["route", "status"], registry=registry)
        self.in_flight = Gauge("evolcoder_requests_in_flight", "Requests being answered now.", registry=registry)
        self.seconds = Histogram("evolcoder_request_seconds", "Time to the whole answer.", buckets=_SECONDS, registry=registry)
        self.prompt_tokens = Counter("evolcoder_prompt_tokens", "Prompt tokens of answered requests.", registry=registry)
        self.completion_tokens = Counter("evolcoder_completion_tokens", "Tokens sent in answers.", registry=registry)
        self._batch = Gauge("evolcoder_engine_batch_size", "Answers that advance together now.", registry=registry)
        self._queue = Gauge("evolcoder_engine_queue", "Answers that wait for a place in the batch.", registry=registry)
        self._engine = Gauge("evolcoder_engine_total", "The engine's totals.", ["what"], registry=registry)

    def text(self, stats: EngineStats | None) -> bytes:
        """The page; ``stats`` are those of one engine replica."""
        if stats is not None:
            self._batch.set(stats.running)
            self._queue.set(stats.waiting)
            for what in ("steps", "generated_tokens", "prompt_tokens", "cancelled"):
                self._engine.labels(what).set(getattr(stats, what))
        return generate_latest(self._registry)
