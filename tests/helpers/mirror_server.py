"""An HTTP server that writes the credential which it was sent into every part of its answer, in every form."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from helpers.secret_forms import forms_of

CONTENT_TYPES = {
    "json": "application/json",
    "lines": "application/x-ndjson",
    "text": "text/html",
    "bytes": "image/png",
    "refused": "application/json",
    "redirect": "text/plain",
}
"""By the first part of the path: what it is answered with."""


@dataclass
class Mirror:
    """The server's address, and the credentials that it was sent."""

    url: str
    credentials: list[str] = field(default_factory=list)


@contextmanager
def mirror_server(header: str) -> Iterator[Mirror]:
    """Serve until the block ends. `header` is where the credential is."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            credential = self.headers[header]
            mirror.credentials.append(credential)
            kind = self.path.strip("/").partition("/")[0]
            forms = forms_of(credential)
            body = _write_body(kind, forms)
            self.send_response({"refused": 500, "redirect": 302}.get(kind, 200), " ".join(forms.values()))
            for number, form in enumerate(forms.values()):
                if all(sign.isalnum() or sign in "-_" for sign in form):
                    self.send_header(f"X-{form}", "1")
                self.send_header(f"X-Form-{number}", form)
            self.send_header("Content-Type", f"{CONTENT_TYPES[kind]}; {'; '.join(forms.values())}")
            self.send_header("Content-Length", str(len(body)))
            if kind == "redirect":
                self.send_header("Location", f"ftp://{forms['hex']}.example/{'/'.join(forms.values())}")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _serve  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    mirror = Mirror(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _write_body(kind: str, forms: dict[str, str]) -> bytes:
    if kind == "bytes":
        return b"\x89PNG\0\xff" + "\0".join(forms.values()).encode() + forms["plain"].encode("utf-16-le")
    if kind == "lines":
        return b"".join(json.dumps({form: form}).encode() + b"\n" for form in forms.values())
    return json.dumps({name: [form, {form: 1}] for name, form in forms.items()}).encode()
