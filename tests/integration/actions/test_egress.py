"""Where requests go and where they don't: with answers that lie, change or never come, and in a network of its own."""

import json
import queue
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from helpers.waiting import in_time

from workflow_state.actions.execute import execute_http_action
from workflow_state.actions.network.client import close_client
from workflow_state.actions.network.lookup import MAX_LOOKUPS, look_up
from workflow_state.errors import HttpActionError
from workflow_state.schema import ActionDefinition
from workflow_state.settings import get_settings

CANARY = Path(__file__).parents[2] / "helpers" / "forbidden_addresses.py"
resolve = socket.getaddrinfo


class Resolver:
    """What stands for the system's resolver: answers by name, in turn, and a count of the look-ups."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self.blocked = threading.Event()
        self.blocked.set()

    def __call__(self, host, port, *arguments, **options):
        """Answer as getaddrinfo does."""
        self.asked.append(host)
        self.blocked.wait(20)
        if host not in self.answers:
            return resolve(host, port, *arguments, **options)
        turns = self.answers[host]
        addresses = turns.pop(0) if len(turns) > 1 else turns[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


@pytest.fixture
def resolver(monkeypatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.blocked.set()


@pytest.fixture
def dialled(monkeypatch) -> list[str]:
    """Note each address that a socket is connected to; nothing leaves this machine."""
    seen: list[str] = []
    connect = socket.socket.connect

    def note(sock, address):
        seen.append(address[0])
        if not address[0].startswith("127."):
            raise ConnectionRefusedError("the test does not let it out")
        connect(sock, address)

    monkeypatch.setattr(socket.socket, "connect", note)
    return seen


@pytest.fixture(autouse=True)
def allow(monkeypatch):
    """Set the rules anew for a test, with no connection left from before."""

    def set_rules(**rules: str) -> None:
        for name in ("ALLOW_PRIVATE_NETWORKS", "ALLOWED_HOSTS", "DENIED_HOSTS"):
            monkeypatch.setenv(f"WORKFLOW_STATE_{name}", rules.get(name.lower(), ""))
        get_settings.cache_clear()
        close_client()

    set_rules()
    yield set_rules
    close_client()
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.fixture
def server():
    """Serve requests on loopback, and note the Host of each."""
    hosts: queue.SimpleQueue[str] = queue.SimpleQueue()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hosts.put(self.headers["Host"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            # Each request gets a connection of its own, and so a look-up.
            self.send_header("Connection", "close")
            self.end_headers()

        def log_message(self, *_) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        running.hosts = hosts
        yield running
        running.shutdown()
        thread.join()


def call(url, **endpoint):
    definition = {"id": "test", "endpoint": {"url": url, "timeout": 2_000, **endpoint}}
    return execute_http_action(ActionDefinition.model_validate(definition), {})


def refusal(url, **endpoint):
    with pytest.raises(HttpActionError) as caught:
        call(url, **endpoint)
    return caught.value


def test_a_refused_address_is_not_dialled_not_retried_and_not_told(resolver, dialled):
    resolver.answers["inside.example"] = [["10.9.8.7"]]
    error = refusal("http://inside.example/x")
    detail = error.detail
    assert (detail.category, detail.code, detail.retryable) == ("network_connection_refused", "egress_refused", False)
    assert "WORKFLOW_STATE_ALLOW_PRIVATE_NETWORKS" in detail.message
    assert dialled == []
    told = json.dumps([detail.to_json_data(), error.http_trace, str(error)])
    assert "10.9.8.7" not in told
    assert "outcome" not in detail.context
    [entry] = error.http_trace
    assert entry["error"] == detail.message
    assert "response" not in entry


def test_nothing_tells_a_private_host_that_is_up_from_one_that_is_down(server, dialled):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        down = refusal(f"http://127.0.0.1:{unused.getsockname()[1]}/").detail
    up = refusal(f"http://127.0.0.1:{server.server_port}/").detail
    assert {**up.to_json_data(), "context": {}} == {**down.to_json_data(), "context": {}}
    assert dialled == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0",
        "0.0.0.0",  # noqa: S104
        "[::]",
        "[::ffff:a9fe:a9fe]",
        "169.254.169.254",
        "2852039166",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fec0::1]",
        "168.63.129.16",
        "[fd00:ec2::254]",
    ],
)
def test_every_way_to_write_a_refused_address_is_refused(host, dialled):
    assert refusal(f"http://{host}:1/").detail.code == "egress_refused"
    assert dialled == []


@pytest.mark.parametrize("answer", [["93.184.216.34", "10.0.0.1"], ["10.0.0.1", "93.184.216.34"]])
def test_public_and_private_answers_together_are_refused(resolver, dialled, answer):
    resolver.answers["both.example"] = [answer]
    assert refusal("http://both.example/").detail.code == "egress_refused"
    assert dialled == []


def test_a_name_is_looked_up_once_for_a_connection_and_what_was_checked_is_dialled(resolver, dialled):
    resolver.answers["rebinding.example"] = [["93.184.216.34"], ["127.0.0.1"]]
    assert refusal("http://rebinding.example/").detail.code == "connection_refused"
    assert (resolver.asked, dialled) == (["rebinding.example"], ["93.184.216.34"])
    assert refusal("http://rebinding.example/").detail.code == "egress_refused"
    assert (resolver.asked, dialled) == (["rebinding.example"] * 2, ["93.184.216.34"])


def test_host_stays_by_name_and_each_connection_has_its_own_look_up(resolver, dialled, server, allow):
    allow(allow_private_networks="loopback")
    resolver.answers["service.example"] = [["127.0.0.1"]]
    for _ in range(3):
        call(f"http://service.example:{server.server_port}/")
    assert [server.hosts.get() for _ in range(3)] == [f"service.example:{server.server_port}"] * 3
    assert resolver.asked == ["service.example"] * 3
    assert dialled == ["127.0.0.1"] * 3


def test_tls_asks_for_the_name_and_wants_a_certificate_for_it(resolver, dialled, allow, tmp_path):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    for_address = ["-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *for_address],
        check=True,
        capture_output=True,
    )
    asked_for: list[str | None] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    tls.sni_callback = lambda _socket, name, _context: asked_for.append(name)

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(ssl.SSLError):
            tls.wrap_socket(connection, server_side=True).close()

    allow(allow_private_networks="loopback")
    resolver.answers["service.example"] = [["127.0.0.1"]]
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.MonkeyPatch.context() as environment:
        # The certificate's own authority is trusted: only the name is wrong, and it is the name that counts.
        environment.setenv("SSL_CERT_FILE", str(certificate))
        thread = threading.Thread(target=serve)
        thread.start()
        detail = refusal(f"https://service.example:{listener.getsockname()[1]}/").detail
        thread.join()
    assert asked_for == ["service.example"]
    assert dialled == ["127.0.0.1"]
    assert detail.code == "bad_certificate"
    assert "service.example" in detail.message


def test_loopback_alone_does_not_open_another_network(resolver, dialled, allow):
    allow(allow_private_networks="loopback")
    resolver.answers["inside.example"] = [["127.0.0.1", "10.0.0.1"]]
    assert refusal("http://inside.example/").detail.code == "egress_refused"
    assert dialled == []


def test_a_host_that_is_not_on_the_list_is_not_even_looked_up(resolver, allow):
    allow(allowed_hosts="api.example, *.ours.example", allow_private_networks="1")
    resolver.answers["api.example"] = resolver.answers["a.b.ours.example"] = [["127.0.0.1"]]
    error = refusal("http://secret-in-a-name.evil.example/").detail
    assert error.code == "egress_refused"
    assert "WORKFLOW_STATE_ALLOWED_HOSTS" in error.message
    assert resolver.asked == []
    for host in ("api.example", "a.b.ours.example"):
        assert refusal(f"http://{host}:1/").detail.code == "connection_refused"


def test_a_private_network_on_the_list_is_reached_and_its_neighbour_is_not(resolver, dialled, server, allow):
    allow(allowed_hosts="127.0.0.0/30")
    resolver.answers |= {"ours.example": [["127.0.0.1"]], "neighbour.example": [["127.0.0.4"]]}
    call(f"http://ours.example:{server.server_port}/")
    assert "WORKFLOW_STATE_ALLOWED_HOSTS" in refusal("http://neighbour.example/").detail.message
    assert dialled == ["127.0.0.1"]


def test_what_is_denied_stays_denied(resolver, dialled, allow):
    allow(allow_private_networks="1", denied_hosts="127.0.0.2,*.bad.example")
    resolver.answers["fine.example"] = [["127.0.0.1", "127.0.0.2"]]
    assert "WORKFLOW_STATE_DENIED_HOSTS" in refusal("http://fine.example/").detail.message
    assert "WORKFLOW_STATE_DENIED_HOSTS" in refusal("http://x.bad.example/").detail.message
    assert (resolver.asked, dialled) == (["fine.example"], [])


# --- Looking up takes part of the time


@pytest.mark.parametrize("timeout_ms", [200, 1_000])
def test_a_resolver_that_does_not_answer_is_left_when_the_time_is_over(resolver, timeout_ms):
    resolver.blocked.clear()
    error = in_time(timeout_ms / 1000 + 0.5, lambda: refusal("http://slow.example/", method="POST", timeout=timeout_ms))
    detail = error.detail
    assert (detail.category, detail.code, detail.retryable) == ("network_timeout", "connect_timeout", True)


def test_no_more_threads_wait_for_a_dead_resolver_than_its_bound(resolver):
    resolver.blocked.clear()
    places = threading.BoundedSemaphore(4)
    before = set(threading.enumerate())
    for _ in range(12):
        with pytest.raises(TimeoutError):
            look_up("slow.example", 80, 0.02, places)
    assert len(set(threading.enumerate()) - before) == 4
    assert len(resolver.asked) == 4
    resolver.blocked.set()
    resolver.answers["slow.example"] = [["93.184.216.34"]]
    # The places are free again, and a thread that was left behind has nothing more to say.
    assert len(look_up("slow.example", 80, 5, places)) == 1
    assert MAX_LOOKUPS >= 16


def test_a_process_that_can_start_no_thread_has_a_retryable_failure(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    places = threading.BoundedSemaphore(1)
    for _ in range(2):
        with pytest.raises(OSError, match="thread"):
            look_up("a.example", 80, 1, places)


def test_a_worker_stops_though_a_look_up_hangs():
    """A look-up's thread is a daemon: Python does not wait for it at the end."""
    code = (
        "import socket, threading, time\n"
        "from workflow_state.actions.network.lookup import look_up\n"
        "socket.getaddrinfo = lambda *a, **k: time.sleep(30)\n"
        "try: look_up('x.example', 80, 0.05, threading.BoundedSemaphore(1))\n"
        "except TimeoutError: print('left')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout == "left\n"


# --- A network of its own


def _find_namespace_problem() -> str | None:
    if not (shutil.which("unshare") and shutil.which("ip")):
        return "unshare and ip (util-linux, iproute2) make the network"
    script = "ip link set lo up && ip address add 10.0.0.1/32 dev lo && ip address add fec0::1/128 dev lo nodad"
    tried = subprocess.run(["unshare", "-rn", "sh", "-c", script], capture_output=True, check=False)
    return (
        None if tried.returncode == 0 else "this machine permits no network namespace of one's own with IPv4 and IPv6"
    )


@pytest.fixture(scope="module")
def canary():
    """Run the helper in a network namespace in which the forbidden addresses are its own, and return what it saw."""
    if problem := _find_namespace_problem():
        pytest.skip(problem)
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, CANARY], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_packet_reaches_a_forbidden_address(canary):
    """Not one connection, whichever way the address is written; the same canaries do see what is allowed."""
    refused = canary["refused"]
    assert len(refused) >= 30
    assert {case["code"] for case in refused.values()} == {"egress_refused"}
    assert sum(case["connections"] for case in refused.values()) == 0
    assert canary["packets"] == 0


def test_the_canaries_see_what_is_allowed(canary):
    """Otherwise seeing nothing would prove nothing."""
    assert canary["public"] == {"93.184.216.34": 1, "[2606:4700::1111]": 1, "public.example": 1}
    opened = canary["opened"]
    assert {host for host, connections in opened.items() if connections != 1} == set()
    assert len(opened) >= 15
