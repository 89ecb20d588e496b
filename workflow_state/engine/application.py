"""Our Celery application's class: its settings are there as a whole, or not at all, whichever thread asks first."""

from threading import RLock
from typing import Any

from celery import Celery


class Application(Celery):
    """Celery's, whose settings are read by one thread.

    Celery shows the settings to other threads before the defaults are in them. Two threads of an API that submitted
    their first plans at once met an application without a result backend.
    """

    _is_configured = False
    _is_configuring = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._configuring = RLock()
        super().__init__(*args, **kwargs)

    @property
    def conf(self) -> Any:
        """The settings; the first to ask reads them, and everybody else waits for that."""
        if self._is_configured:
            return self._conf
        with self._configuring:
            if not self._is_configured and not self._is_configuring:
                self._is_configuring = True
                try:
                    # Celery reads all of them where one is asked for.
                    _ = super().conf.broker_url
                    self._is_configured = True
                finally:
                    self._is_configuring = False
            return self._conf

    @conf.setter
    def conf(self, settings: Any) -> None:
        self._conf = settings
