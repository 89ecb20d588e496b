"""Celery's settings for a Redis that sentinels watch.

A `sentinel://` URL says all there is to say: `WORKFLOW_STATE_REDIS_URL=sentinel://a,b,c/0?master_name=mymaster`. Celery
wants it in several settings, which are made of it here. A team's celeryconfig may also be written Celery's own way,
with `master_name` and `sentinel_kwargs` in `broker_transport_options` and `result_backend_transport_options`.
"""

from collections.abc import Mapping
from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

from workflow_state.errors import SettingsError
from workflow_state.redis_url import SENTINEL_SCHEME, SentinelAddress, read_sentinel_url

# A sentinel that is away is left for the next one after this long: a failover is to be noticed in seconds.
_SENTINEL_TIMEOUT_S = 1.0

# The setting of the URL, then those for its options and for TLS.
_PLACES = (
    ("broker_url", "broker_transport_options", "broker_use_ssl"),
    ("broker_read_url", "broker_transport_options", "broker_use_ssl"),
    ("broker_write_url", "broker_transport_options", "broker_use_ssl"),
    ("result_backend", "result_backend_transport_options", "redis_backend_use_ssl"),
)


def with_sentinels(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return Celery's settings with what Celery needs to follow the `sentinel://` URLs among them.

    What the settings say themselves stays, and what only the URL says is added. Raises SettingsError for a URL that is
    wrong, or that no master's name belongs to; it never shows the URL.
    """
    made = dict(settings)
    for url_name, options_name, tls_name in _PLACES:
        url = _joined(made.get(url_name))
        if not url.startswith(SENTINEL_SCHEME):
            continue
        try:
            address = read_sentinel_url(url)
        except ValueError as error:
            raise SettingsError(f"{url_name} {error}") from error
        options = _with_address(made.get(options_name) or {}, address)
        if not options.get("master_name"):
            raise SettingsError(
                f"{url_name} names sentinels, but not which primary they watch: add ?master_name=NAME to it, or "
                f"master_name to {options_name}"
            )
        made |= {url_name: address.celery_url(), options_name: options}
        if address.tls is not None:
            made[tls_name] = address.tls
    return made


def _joined(url: Any) -> str:
    """Return a URL as text; Celery takes a list of a broker's URLs, too."""
    return ";".join(url) if isinstance(url, list | tuple) else str(url or "")


def _with_address(options: Mapping[str, Any], address: SentinelAddress) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        # Celery's own result backend would wait for ever for a sentinel that is silent, and ask one that is away again.
        "socket_timeout": _SENTINEL_TIMEOUT_S,
        "socket_connect_timeout": _SENTINEL_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }
    if address.sentinel_username:
        kwargs["username"] = address.sentinel_username
    if address.sentinel_password:
        kwargs["password"] = address.sentinel_password
    if address.sentinel_tls is not None:
        kwargs |= {"ssl": True, **address.sentinel_tls}
    made = {**options, "sentinel_kwargs": {**kwargs, **(options.get("sentinel_kwargs") or {})}}
    if address.master_name:
        made["master_name"] = address.master_name
    return made
