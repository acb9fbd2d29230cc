"""Names and their addresses, remembered: for half a minute, and for ten minutes while they are asked for again.

An old answer is used at once while a look-up goes on in the background: a name server that is slow or silent delays
only names that are not known yet. Nothing that is remembered is trusted: the address guard vets every answer again, and
the connection goes to the vetted address itself, so a name that changes from a public to a private address between two
looks gains nothing.

Source: RFC 8767 (serving stale data); `getaddrinfo` does not give the record's own time.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from .errors import ResolveError
from .look_ups import LookUpLimits, LookUps
from .resolver import Resolver


@dataclass(frozen=True, slots=True, kw_only=True)
class NameLimits:
    """How long names are remembered, in seconds, and how many."""

    fresh_s: float = 30.0  # shorter than what operators wait after a DNS change
    stale_s: float = 600.0  # used, and asked for again
    failure_s: float = 5.0
    max_names: int = 10_000
    look_ups: LookUpLimits = field(default_factory=LookUpLimits)


@dataclass(slots=True)
class _Known:
    """An answer; no addresses for a failure. Times are monotonic seconds."""

    addresses: tuple[str, ...]
    fresh_until: float
    stale_until: float


class RememberingResolver:
    """Remembers answers and failures of another resolver, and asks it within bounds. Belongs to the loop's thread."""

    def __init__(
        self, inner: Resolver, limits: NameLimits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Wrap a resolver; `clock` is monotonic seconds."""
        self._limits = limits or NameLimits()
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._look_ups = LookUps(inner, self._limits.look_ups, ended=self._remember)

    async def resolve(self, host: str, client: str | None = None) -> tuple[str, ...]:
        """Return at least one address, in the order to try them; a look-up counts as that of `client`, None is ours.

        Raises:
            ResolveError: the name has no address, the name servers failed, or too many look-ups wait.
        """
        known = self._known.get(host)
        if known is not None and self._clock() < known.fresh_until:
            addresses = known.addresses
        elif known is not None and known.addresses and self._clock() < known.stale_until:
            self._look_ups.refresh(host, client)
            addresses = known.addresses
        else:
            addresses = await self._look_ups.look_up(host, client)
        if not addresses:
            raise ResolveError(f"the host {host} has no address")
        return addresses

    def close(self) -> None:
        """End every look-up; what waits for one is cancelled."""
        self._look_ups.close()

    def _remember(self, host: str, addresses: tuple[str, ...]) -> None:
        limits, now = self._limits, self._clock()
        known = self._known.get(host)
        if addresses:
            self._known[host] = _Known(addresses, now + limits.fresh_s, now + limits.stale_s)
        elif known is not None and known.addresses and now < known.stale_until:
            known.fresh_until = now + limits.failure_s  # the old answer still serves, and is not asked for all the time
        else:
            self._known[host] = _Known((), now + limits.failure_s, 0.0)
        self._known.move_to_end(host)
        if len(self._known) > limits.max_names:
            self._known.popitem(last=False)
