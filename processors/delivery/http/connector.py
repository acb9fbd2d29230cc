"""Opens connections: resolve, vet, connect to the vetted address itself, tunnel, TLS. The slow path, one task each.

Every stage fails with its own error (`errors.AttemptError`), and all stages together have one deadline. Without an
egress proxy the socket goes to an address that the guard has just permitted, never to a name: there is no second
look-up that could answer differently.

With an egress proxy every connection, for http targets too, is a CONNECT tunnel: the proxy sees `host:port` and vets
it, names are not resolved here (there may be no DNS inside), the target's certificate is still checked here, and the
bytes in the tunnel are the same as without a proxy, so that the rest of the client does not know. An address written in
the target's URL is judged here as well.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from hookstream.subscriptions.target_url import TargetUrl

from .address_guard import AddressGuard, IPAddress, unmapped
from .errors import ConnectError, ConnectTimeoutError, InvalidProxyError, ResolveError, ShortageError, TlsError
from .known_names import RememberingResolver
from .proxy_tunnel import ProxyTunnel

MAX_ADDRESSES_TRIED = 4
_TLS_SHUTDOWN_S = 1.0
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressProxy:
    """The proxy every request goes through; `authorization` is the header's value, or empty."""

    host: str
    port: int
    authorization: str = ""


def parse_proxy(url: str) -> EgressProxy:
    """Parse `http://[user:password@]host:port`; the operator's own, so its address is not vetted.

    Raises:
        InvalidProxyError: anything else; TLS to the proxy is not supported.
    """
    try:
        url_parts = urlsplit(url)
        host, port = url_parts.hostname, url_parts.port
    except ValueError as error:
        raise InvalidProxyError("the egress proxy is not a URL") from error
    if url_parts.scheme != "http" or not host or port is None or url_parts.path not in {"", "/"} or url_parts.query:
        raise InvalidProxyError("the egress proxy is not http://[user:password@]host:port")
    authorization = ""
    if url_parts.username is not None:
        credentials = f"{unquote(url_parts.username)}:{unquote(url_parts.password or '')}".encode()
        authorization = "Basic " + base64.b64encode(credentials).decode("ascii")
    return EgressProxy(host=host, port=port, authorization=authorization)


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """TLS 1.2 or newer, certificate and host name checked, HTTP/1.1 asked for; `ca_file` replaces the system's CAs.

    The host must stand in the certificate's subjectAltName. A common name is free text, which no authority has to
    check; Python's default would take it where there is no other name.

    Source: RFC 9525 section 2; CA/Browser Forum baseline requirements, section 7.1.4.3.
    """
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.hostname_checks_common_name = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connector:
    """Opens connections to targets; holds no connection itself."""

    def __init__(
        self,
        guard: AddressGuard,
        resolver: RememberingResolver,
        context: ssl.SSLContext,
        *,
        proxy: EgressProxy | None,
        timeout_s: float,
    ) -> None:
        """`timeout_s` is for all stages of one connection together."""
        self._guard = guard
        self._resolver = resolver
        self._context = context
        self._proxy = proxy
        self._timeout_s = timeout_s

    async def connect(
        self, target: TargetUrl, make: Callable[[], ProtocolT], timeout_s: float, client: str | None
    ) -> ProtocolT:
        """Open a connection whose protocol `make` makes, within the shorter of the two time-outs.

        A look-up of the target's name counts as `client`'s.

        Raises:
            AttemptError: by the stage that failed.
        """
        deadline = asyncio.get_running_loop().time() + min(timeout_s, self._timeout_s)
        if self._proxy is None:
            addresses = self._guard.vet(
                [str(target.address)] if target.address else await self._resolve(target.host, client, deadline)
            )
            connected = await _open_socket(addresses, target.port, deadline)
            return await self._start(connected, target, make, deadline)
        if target.address is not None:
            self._guard.vet([str(target.address)])
        return await self._tunnel(self._proxy, target, make, deadline)

    async def _resolve(self, host: str, client: str | None, deadline: float) -> tuple[str, ...]:
        try:
            async with asyncio.timeout_at(deadline):
                return await self._resolver.resolve(host, client)
        except TimeoutError as error:
            raise ResolveError(f"no address for {host} in time") from error

    async def _start(
        self, connected: socket.socket, target: TargetUrl, make: Callable[[], ProtocolT], deadline: float
    ) -> ProtocolT:
        """Put the protocol on a connected socket, with TLS if the target wants it."""
        loop = asyncio.get_running_loop()
        if not target.secure:
            _, protocol = await loop.create_connection(make, sock=connected)
            return protocol
        async with _tls_stage(target, deadline):
            _, protocol = await loop.create_connection(
                make,
                sock=connected,
                ssl=self._context,
                server_hostname=target.host,
                ssl_handshake_timeout=self._timeout_s,
                ssl_shutdown_timeout=_TLS_SHUTDOWN_S,
            )
        return protocol

    async def _tunnel(
        self, proxy: EgressProxy, target: TargetUrl, make: Callable[[], ProtocolT], deadline: float
    ) -> ProtocolT:
        """Ask the proxy for a tunnel and put the protocol into it."""
        addresses = tuple(unmapped(ip_address(text)) for text in await self._resolve(proxy.host, None, deadline))
        connected = await _open_socket(addresses, proxy.port, deadline)
        loop = asyncio.get_running_loop()
        _, tunnel = await loop.create_connection(
            lambda: ProxyTunnel(target.authority, proxy.authorization), sock=connected
        )
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    transport = await tunnel.opened
            except TimeoutError as error:
                raise ConnectTimeoutError("no answer from the egress proxy in time") from error
            protocol = make()
            if not target.secure:
                transport.set_protocol(protocol)
                protocol.connection_made(transport)
                transport.resume_reading()
                return protocol
            async with _tls_stage(target, deadline):
                secured = await loop.start_tls(
                    transport,
                    protocol,
                    self._context,
                    server_hostname=target.host,
                    ssl_handshake_timeout=self._timeout_s,
                    ssl_shutdown_timeout=_TLS_SHUTDOWN_S,
                )
            if secured is None:
                raise TlsError(f"the connection to {target.origin} was lost during the TLS handshake")
            protocol.connection_made(secured)
        except BaseException:
            tunnel.abort()
            raise
        return protocol


@asynccontextmanager
async def _tls_stage(target: TargetUrl, deadline: float) -> AsyncIterator[None]:
    """Translate what a TLS handshake raises."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError as error:
        raise ConnectTimeoutError(f"no TLS session with {target.origin} in time") from error
    except OSError as error:  # ssl.SSLError among them; a reset in mid-handshake is how many servers say no
        raise TlsError(f"no TLS session with {target.origin}: {error}") from error


async def _open_socket(addresses: Sequence[IPAddress], port: int, deadline: float) -> socket.socket:
    """Connect to the first address that accepts, each in turn with an equal share of the time that is left.

    Raises:
        ShortageError: this machine has no socket for it; no other address would be had either.
        ConnectTimeoutError, ConnectError: what the last address failed with.
    """
    now = asyncio.get_running_loop().time
    tried = addresses[:MAX_ADDRESSES_TRIED]
    failure: OSError = ConnectionError("no address")
    for left, address in zip(range(len(tried), 0, -1), tried, strict=True):
        begun = now()
        try:
            return await _open_one(address, port, begun + (deadline - begun) / left)
        except OSError as error:  # TimeoutError among them
            failure = error
            if error.errno in _SHORTAGES:
                break
    if failure.errno in _SHORTAGES:
        raise ShortageError(f"no socket: {failure}") from failure
    raise (ConnectTimeoutError if isinstance(failure, TimeoutError) else ConnectError)(
        f"no connection to port {port}: {failure}"
    ) from failure


async def _open_one(address: IPAddress, port: int, deadline: float) -> socket.socket:
    """Connect to one address; the socket is closed where that fails.

    Raises:
        OSError: also where the kernel has no sockets of this kind (EAFNOSUPPORT) or no more of them (EMFILE).
    """
    connecting = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)  # noqa: PLR2004 (IPv6)
    try:
        connecting.setblocking(False)  # noqa: FBT003 (the standard library's signature)
        async with asyncio.timeout_at(deadline):
            await asyncio.get_running_loop().sock_connect(connecting, (str(address), port))
    except BaseException:
        connecting.close()
        raise
    return connecting
