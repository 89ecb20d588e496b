"""A collector of OTLP/HTTP on loopback: it keeps the spans that it is sent."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Span:
    """One span, with what a test asks about."""

    id: bytes
    parent_id: bytes
    trace_id: bytes
    name: str
    attributes: dict[str, Any]
    service: str
    is_error: bool


@dataclass
class Collector:
    """Where it listens, the spans that came, and all of it as text."""

    url: str
    spans: list[Span] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def ancestors(self, span: Span) -> list[Span]:
        """Return the spans above one, the nearest first; it ends where a parent has not come."""
        by_id = {other.id: other for other in list(self.spans)}
        found = []
        while (above := by_id.get(span.parent_id)) is not None:
            found.append(above)
            span = above
        return found

    def of_action(self, execution_id: str, action_id: str) -> list[Span]:
        """Return the spans of an action's runs."""
        wanted = {"workflow_state.execution.id": execution_id, "workflow_state.action.id": action_id}
        return [span for span in list(self.spans) if wanted.items() <= span.attributes.items()]

    def below(self, span: Span) -> list[Span]:
        """Return the spans right below one."""
        return [other for other in list(self.spans) if other.parent_id == span.id]


@contextmanager
def otlp_collector() -> Iterator[Collector]:
    """Listen until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    server.collector = collector  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        collector: Collector = self.server.collector  # type: ignore[attr-defined]
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            raw = gzip.decompress(raw)
        message = ExportTraceServiceRequest()
        message.ParseFromString(raw)
        collector.text.append(str(message))
        for part in message.resource_spans:
            service = next(item.value.string_value for item in part.resource.attributes if item.key == "service.name")
            for span in (span for scope in part.scope_spans for span in scope.spans):
                attributes = {
                    item.key: getattr(item.value, item.value.WhichOneof("value") or "string_value")
                    for item in span.attributes
                }
                ids = (span.span_id, span.parent_span_id, span.trace_id)
                collector.spans.append(Span(*ids, span.name, attributes, service, span.status.code == 2))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
