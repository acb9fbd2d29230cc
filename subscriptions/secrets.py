"""Signing secrets, and the box they are kept in: in the database and in the topic there are only ciphertexts.

A ciphertext is `version (1) | key id (4) | nonce (12) | AES-256-GCM data and tag`. The header and the context (whose
secret it is) are authenticated: a ciphertext moved to another hook does not open.

Source: Standard Webhooks 1.0, "Signature scheme" (secrets of 24 to 64 bytes, base64, prefix `whsec_`);
NIST SP 800-38D (random 96-bit nonces: at most 2^32 under one key, which is 4,000 million hooks).
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hookstream.schemas.hook import Hook

from .errors import InvalidKeyError, InvalidSecretError, TamperedError, UnknownKeyError

RandomBytes = Callable[[int], bytes]

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  # the prefix, not a secret
_SECRET_BYTES = 32
_SHORTEST_SECRET_BYTES = 24
_LONGEST_SECRET_BYTES = 64

_VERSION = b"\x01"
_KEY_BYTES = 32
_KEY_ID_BYTES = 4
_NONCE_BYTES = 12
_TAG_BYTES = 16
_HEADER_BYTES = len(_VERSION) + _KEY_ID_BYTES


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """The key that a hook's deliveries are signed with."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Raise `InvalidSecretError` for a length outside the standard."""
        if not _SHORTEST_SECRET_BYTES <= len(self.key) <= _LONGEST_SECRET_BYTES:
            msg = f"a signing secret has {_SHORTEST_SECRET_BYTES} to {_LONGEST_SECRET_BYTES} bytes"
            raise InvalidSecretError(msg)

    @classmethod
    def new(cls, random_bytes: RandomBytes = os.urandom) -> SigningSecret:
        """A fresh one of 32 bytes."""
        return cls(random_bytes(_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> SigningSecret:
        """One that an integrator has already, in the form of Standard Webhooks.

        Raises:
            InvalidSecretError: not `whsec_` and base64, or outside the standard; the message holds nothing of it.
        """
        encoded = text.removeprefix(SECRET_PREFIX)
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        secret = cls(key)
        if secret.reveal() != text:  # libraries differ in what they make of another form of the same base64
            msg = f"a signing secret is `{SECRET_PREFIX}` and base64, padded"
            raise InvalidSecretError(msg)
        return secret

    def reveal(self) -> str:
        """`whsec_…`, as the integrator sees it once."""
        return SECRET_PREFIX + base64.b64encode(self.key).decode()


@dataclass(frozen=True, slots=True)
class MasterKey:
    """What secrets are sealed under. Its id is derived from it, so that operators need not number keys."""

    material: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Raise `InvalidKeyError` for anything but 32 bytes."""
        if len(self.material) != _KEY_BYTES:
            msg = f"a master key has {_KEY_BYTES} bytes"
            raise InvalidKeyError(msg)

    @property
    def id(self) -> bytes:
        """Four bytes that tell keys apart and say nothing about them."""
        return hashlib.sha256(b"hookstream master key id\0" + self.material).digest()[:_KEY_ID_BYTES]


@dataclass(frozen=True, slots=True, repr=False)
class SecretBox:
    """Seals under the first key and opens under any. May be used from any thread."""

    keys: tuple[MasterKey, ...]
    _ciphers: dict[bytes, AESGCM] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Raise `InvalidKeyError` where there is no key."""
        if not self.keys:
            msg = "no master key"
            raise InvalidKeyError(msg)
        object.__setattr__(self, "_ciphers", {key.id: AESGCM(key.material) for key in reversed(self.keys)})

    def __repr__(self) -> str:
        """Key ids alone."""
        return f"SecretBox({', '.join(key.id.hex() for key in self.keys)})"

    def seal(self, data: bytes, *, context: bytes, random_bytes: RandomBytes = os.urandom) -> bytes:
        """Encrypt for that context alone."""
        header = _VERSION + self.keys[0].id
        nonce = random_bytes(_NONCE_BYTES)
        return header + nonce + self._ciphers[self.keys[0].id].encrypt(nonce, data, header + context)

    def open(self, sealed: bytes, *, context: bytes) -> bytes:
        """Decrypt what was sealed for that context.

        Raises:
            UnknownKeyError: under a key that is not ours; the message names its id.
            TamperedError: not a ciphertext of ours, altered, or sealed for another context.
        """
        if sealed[:1] != _VERSION or len(sealed) < _HEADER_BYTES + _NONCE_BYTES + _TAG_BYTES:
            msg = "not a ciphertext of a version that this release knows"
            raise TamperedError(msg)
        header, nonce = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
        cipher = self._ciphers.get(header[1:])
        if cipher is None:
            msg = f"sealed under master key {header[1:].hex()}, which is not among {self!r}"
            raise UnknownKeyError(msg)
        try:
            return cipher.decrypt(nonce, sealed[_HEADER_BYTES + _NONCE_BYTES :], header + context)
        except InvalidTag:
            msg = "altered, or sealed for something else"
            raise TamperedError(msg) from None

    def key_id(self, sealed: bytes) -> str:
        """The id, in hex, of the key that a ciphertext is under."""
        return sealed[1:_HEADER_BYTES].hex()

    def sealed_under_first(self, sealed: bytes) -> bool:
        """Whether a rotation of the master key has nothing to do here."""
        return sealed[1:_HEADER_BYTES] == self.keys[0].id


def hook_context(client: str, event: str, hook_id: int) -> bytes:
    """Whose secret it is: the subscription key and the hook that has it."""
    return f"hook|{client}|{event}|{hook_id}".encode()


def open_hook_secrets(box: SecretBox, hook: Hook) -> tuple[SigningSecret, ...]:
    """What that row's deliveries are signed with, newest first.

    Raises:
        SecretError: a ciphertext of the row does not open.
    """
    context = hook_context(hook.client, hook.event, hook.id)
    return tuple(SigningSecret(box.open(sealed, context=context)) for sealed in hook.secrets)
