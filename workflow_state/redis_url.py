"""Reading a `sentinel://` URL, and showing the address of a Redis without its passwords.

    sentinel://NAME:PASSWORD@a:26379,b:26379,c:26379/0?master_name=mymaster&sentinel_password=SECRET&ssl=true

Name and password before the hosts are those of the data nodes. Celery writes the hosts one by one, each with a URL of
its own: `sentinel://a:26379;sentinel://b:26379`. That is understood as well.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

SENTINEL_SCHEME = "sentinel://"

_AUTHORITY = re.compile(r"([a-z+]+://)([^/?#]*)(.*)", re.DOTALL)
_DEFAULT_PORT = 26379
_NO_URL = "is no URL; a password with special characters has to be percent-encoded"
_MASTER_NAMES = ("master_name", "master", "service_name")
_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_KNOWN = (
    *_MASTER_NAMES,
    "sentinel_username",
    "sentinel_password",
    "ssl",
    "sentinel_ssl",
    "ssl_cert_reqs",
    "ssl_check_hostname",
    *_TLS_FILES,
)
_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_CERT_REQS = {name: name for name in ("required", "optional", "none")}
_CERT_REQS |= {f"CERT_{name.upper()}": name for name in _CERT_REQS}


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """What a `sentinel://` URL says.

    `hosts` are the sentinels. `username` and `password` are those of the data nodes. `tls` and `sentinel_tls` are
    redis-py's own options of a TLS connection to either; None where there is none.
    """

    hosts: tuple[tuple[str, int], ...]
    database: int = 0
    master_name: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: dict[str, Any] | None = None
    sentinel_tls: dict[str, Any] | None = None

    def celery_url(self) -> str:
        """Return the URL as Celery takes it: each sentinel has one of its own, with the login and the database."""
        login = ""
        if self.username or self.password:
            login = f"{quote(self.username or '', safe='')}:{quote(self.password or '', safe='')}@"
        return ";".join(f"{SENTINEL_SCHEME}{login}{_shown_host(*host)}/{self.database}" for host in self.hosts)


def read_sentinel_url(url: str) -> SentinelAddress:
    """Return what the URL says. Raises ValueError, which never shows the URL: a password may be in it."""
    chunks = [_split(chunk) for chunk in _chunks(url)]
    hosts = tuple(host for chunk in chunks for host in _read_hosts(chunk))
    login = _one("login", (chunk.netloc.rpartition("@")[0] for chunk in chunks))
    name, _, password = login.partition(":")
    database = _one("database", (chunk.path.removeprefix("/") for chunk in chunks))
    if database and not database.isdecimal():
        raise ValueError("must end in the number of a database, as in sentinel://HOST:26379/0?master_name=NAME")
    options = _read_options(chunks)
    tls = _read_tls(options)
    master_name = _one("master_name", (options.get(alias, "") for alias in _MASTER_NAMES))
    return SentinelAddress(
        hosts=hosts,
        database=int(database or 0),
        master_name=master_name or None,
        username=unquote(name) or None,
        password=unquote(password) or None,
        sentinel_username=options.get("sentinel_username") or None,
        sentinel_password=options.get("sentinel_password") or None,
        tls=tls,
        sentinel_tls=(tls or {}) if _flag(options, "sentinel_ssl", default=tls is not None) else None,
    )


def shown_address(url: str) -> str:
    """Return the URL of a Redis, or of several sentinels, without passwords and options."""
    shown = []
    for chunk in _chunks(url):
        parts = _split_several(chunk)
        login, _, hosts = parts.netloc.rpartition("@")
        name, colon, _ = login.partition(":")
        masked = f"{name}{':**' if colon else ''}@" if login else ""
        shown.append(f"{parts.scheme}://{masked}{hosts}{parts.path}")
    return ";".join(shown)


def _chunks(url: str) -> list[str]:
    """Return the URLs that the text is made of: `sentinel://a;sentinel://b`, and also `sentinel://a;b`."""
    if not url.startswith(SENTINEL_SCHEME):
        return [url]
    parts = re.split(r";|,(?=sentinel://)", url)
    return [part if "://" in part else f"{SENTINEL_SCHEME}{part}" for part in parts if part]


def _split_several(url: str) -> SplitResult:
    """Return the parts of a URL that may name several hosts.

    Some versions of Python take the brackets of an address for a mistake where another host stands before them.
    """
    found = _AUTHORITY.match(url)
    if found is None:
        return urlsplit(url)
    scheme, authority, rest = found.groups()
    return urlsplit(f"{scheme}host{rest}")._replace(netloc=authority)


def _split(chunk: str) -> SplitResult:
    try:
        parts = _split_several(chunk)
    except ValueError as error:
        raise ValueError(_NO_URL) from error
    if parts.scheme != "sentinel" or parts.fragment:
        raise ValueError("is no URL of sentinels; a password with special characters has to be percent-encoded")
    return parts


def _read_hosts(chunk: SplitResult) -> list[tuple[str, int]]:
    return [_read_host(host) for host in chunk.netloc.rpartition("@")[2].split(",")]


def _read_host(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
    except ValueError as error:
        raise ValueError(_NO_URL) from error
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(
            "has a sentinel whose port is not 1 to 65535; a password with special characters has to be percent-encoded"
        ) from error
    if not host:
        raise ValueError("names no host of a sentinel, as in sentinel://HOST:26379/0?master_name=NAME")
    if port == 0:
        raise ValueError("has a sentinel whose port is not 1 to 65535")
    return host, port or _DEFAULT_PORT


def _read_options(chunks: Iterable[SplitResult]) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in [pair for chunk in chunks for pair in parse_qsl(chunk.query, keep_blank_values=True)]:
        if name not in _KNOWN:
            raise ValueError(f"has an option {name!r} that is not known; there are {', '.join(_KNOWN)}")
        if options.setdefault(name, value) != value:
            raise ValueError(f"says {name} twice, and not the same")
    return options


def _read_tls(options: dict[str, str]) -> dict[str, Any] | None:
    """Return redis-py's options of TLS. A certificate counts unless the URL says otherwise."""
    details = {name: options[name] for name in _TLS_FILES if options.get(name)}
    said = {"ssl_cert_reqs", "ssl_check_hostname"}.intersection(options)
    if not _flag(options, "ssl", default=bool(details or said)):
        return None
    reqs = options.get("ssl_cert_reqs", "required")
    if reqs not in _CERT_REQS:
        raise ValueError("has an ssl_cert_reqs that is not required, optional or none")
    counts = _CERT_REQS[reqs] != "none"
    return {
        **details,
        "ssl_cert_reqs": _CERT_REQS[reqs],
        "ssl_check_hostname": _flag(options, "ssl_check_hostname", default=counts),
    }


def _flag(options: dict[str, str], name: str, *, default: bool) -> bool:
    text = options.get(name)
    if text is None:
        return default
    if text.lower() not in _FLAGS:
        raise ValueError(f"has an option {name} that is not true or false")
    return _FLAGS[text.lower()]


def _one(what: str, values: Iterable[str]) -> str:
    """Return the one value that is said, or nothing; the text may say it several times."""
    said = {value for value in values if value}
    if len(said) > 1:
        raise ValueError(f"says more than one {what}; all sentinels lead to the same data nodes")
    return said.pop() if said else ""


def _shown_host(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
