"""What a partition does every minute: repeat notices, disable what failed for five days, forget what is idle.

The first look at what is to be told of endpoints is at once: what was due while no process ran is late already.
"""

from __future__ import annotations

from .isolation import Isolation
from .ledger import Ledger
from .notices import EndpointNotices
from .operator_settings import OperatorSettings
from .timers import Timers


class PeriodicWork:
    """The work of one partition that no record and no answer brings."""

    def __init__(
        self,
        ledger: Ledger,
        timers: Timers,
        isolation: Isolation,
        settings: OperatorSettings,
        notices: EndpointNotices,
    ) -> None:
        """Work on a ledger."""
        self._ledger = ledger
        self._timers = timers
        self._isolation = isolation
        self._settings = settings
        self._notices = notices

    def begin(self) -> None:
        """Do the work after `notice_every_s`, and again and again."""
        self._timers.at(self._ledger.now, self._notices.look_at_all)
        self._again()

    def _run(self) -> None:
        self._isolation.disable_lasting_failures()
        self._isolation.repeat_notices()
        self._notices.look_at_all()
        self._settings.forget_old()
        self._ledger.tracked.forget_idle(self._ledger.now)
        self._again()

    def _again(self) -> None:
        self._timers.at(self._ledger.now + self._ledger.policy.notice_every_s, self._run)
