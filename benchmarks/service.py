"""The HTTP service that the benchmarks call: `python service.py FILE` writes its port there, and serves until it ends.

It answers JSON, after `?delay_ms=…`, at next to no cost: what is measured is who calls it, and that is why it is a
process of its own.
"""

import asyncio
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Answer(asyncio.Protocol):
    """One connection, kept alive; requests have no body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self.transport, self.read = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        *requests, self.read = (self.read + data).split(b"\r\n\r\n")
        for request in requests:
            url = urlsplit(request.split(b" ", 2)[1].decode())
            delay_s = int(parse_qs(url.query).get("delay_ms", ["0"])[0]) / 1000
            body = b'{"name": "%s", "ok": true}' % url.path.rpartition("/")[2].encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            asyncio.get_running_loop().call_later(delay_s, self.transport.write, head + body)  # type: ignore[attr-defined]


async def serve(port_file: Path) -> None:
    """Serve on a port of loopback that is free."""
    server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", 0)
    partial = port_file.with_suffix(".partial")
    partial.write_text(str(server.sockets[0].getsockname()[1]))
    partial.rename(port_file)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
