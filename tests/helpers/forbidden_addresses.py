"""Actions against forbidden addresses, which are all this machine's own: `unshare -rn python forbidden_addresses.py`.

Every address is on the loopback device and one server listens on all of them, so that a request that gets out is seen.
Prints JSON: for each host the error's code and the connections that the server saw, with and without leave.
"""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from workflow_state.actions.execute import execute_http_action
from workflow_state.actions.network.client import close_client
from workflow_state.errors import HttpActionError
from workflow_state.schema import ActionDefinition
from workflow_state.settings import get_settings

PORT = 8080
SETTING = "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS"
OWN_ADDRESSES = [
    *("10.0.0.1/32", "100.64.0.1/32", "100.100.100.200/32", "168.63.129.16/32", "169.254.169.254/32"),
    *("172.16.0.1/32", "192.0.0.192/32", "192.168.0.1/32", "198.18.0.1/32", "93.184.216.34/32"),
    *("64:ff9b::7f00:1/128", "64:ff9b::a9fe:a9fe/128", "64:ff9b:1::1/128", "2001:0:7f00:1::/128"),
    *("2001:db8::1/128", "2002:7f00:1::/128", "fd00:ec2::254/128", "fc00::1/128", "fec0::1/128"),
    *("2606:4700::5efe:a00:1/128", "2606:4700::1111/128"),
]
NAMES = {
    "inside.example": ["10.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "both.example": ["93.184.216.34", "127.0.0.1"],
    "public.example": ["93.184.216.34"],
}
REFUSED = [
    *("127.0.0.1", "127.1", "127.8.8.8", "2130706433", "0x7f000001", "0177.1", "localhost", "0", "0.0.0.0"),  # noqa: S104
    *("[::]", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "169.254.169.254", "2852039166", "0xa9fea9fe"),
    *("10.0.0.1", "10.1", "100.64.0.1", "100.100.100.200", "168.63.129.16", "172.16.0.1", "192.0.0.192"),
    *("192.168.0.1", "198.18.0.1", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::1]"),
    *("[2001:0:7f00:1::]", "[2001:db8::1]", "[2002:7f00:1::]", "[fd00:ec2::254]", "[fc00::1]", "[fec0::1]"),
    *("[2606:4700::5efe:a00:1]", "inside.example", "metadata.example", "both.example"),
]
PUBLIC = ["93.184.216.34", "[2606:4700::1111]", "public.example"]

connections = 0


def serve(listener: socket.socket) -> None:
    """Count connections, and answer each with 204."""
    global connections  # noqa: PLW0603  the one thing that this program is about
    while True:
        connection, _ = listener.accept()
        connections += 1
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


def count_packets() -> int:
    """Return how many packets went over the one device that there is."""
    statistics = Path("/proc/net/dev").read_text()
    found = re.search(r"lo:\s*\d+\s+(\d+)", statistics)
    return int(found[1]) if found else -1


def resolve(host, port, *arguments, real=socket.getaddrinfo, **options):
    """Answer for the names above; what is not among them is a number."""
    addresses = NAMES.get(host, [host])
    return [info for address in addresses for info in real(address, port, *arguments, **options)]


def call(host: str) -> dict[str, object]:
    """Send one request, and return what came of it."""
    before = connections
    endpoint = {"url": f"http://{host}:{PORT}/", "timeout": 2_000}
    try:
        execute_http_action(ActionDefinition.model_validate({"id": "x", "endpoint": endpoint}), {})
        code = "completed"
    except HttpActionError as error:
        code = str(error.detail.code)
    return {"code": code, "connections": connections - before}


def allow(private_networks: str) -> None:
    """Set the rule anew."""
    os.environ[SETTING] = private_networks
    get_settings.cache_clear()
    close_client()


def main() -> None:
    """Make the network, try every host, and print what was seen."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in OWN_ADDRESSES:
        # Without the look for duplicates an IPv6 address is there at once.
        options = ["nodad"] if ":" in address else []
        subprocess.run(["ip", "address", "add", address, "dev", "lo", *options], check=True)
    listener = socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    socket.getaddrinfo = resolve
    for name in [name for name in os.environ if name.startswith("WORKFLOW_STATE_")]:
        del os.environ[name]
    allow("0")
    packets = count_packets()
    refused = {host: call(host) for host in REFUSED}
    # A stray packet would be there by now.
    time.sleep(0.1)
    packets = count_packets() - packets
    public = {host: call(host)["connections"] for host in PUBLIC}
    allow("1")
    opened = {host: call(host)["connections"] for host in REFUSED}
    json.dump({"refused": refused, "packets": packets, "public": public, "opened": opened}, sys.stdout)


if __name__ == "__main__":
    main()
