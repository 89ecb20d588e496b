"""Encryption of what is stored. Pure: the caller gives the keys.

    sealed = seal(b"a plan", keys, "order-17", "record plan")
    unseal(sealed, keys, "order-17", "record plan")             # b"a plan"

The first of the keys encrypts, and all of them decrypt: that is how keys are rotated. Without keys nothing is
encrypted. What was stored without encryption is read as it is, because a sealed value begins with a mark.

The cipher is AES-256-GCM with a random nonce. Each execution has a key of its own, which is derived from the
deployment's key and the execution's id (HMAC-SHA256). So no key ever encrypts so many values that two of their nonces
could be the same. A sealed value is bound to its place: the execution and the field (associated data). In another place
it can't be decrypted.
"""

import hashlib
import hmac
import importlib
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from workflow_state.errors import DecryptionError, MissingKeyError

KEY_BYTES: Final = 32

# Neither JSON nor any text of ours begins with it.
_MARK: Final = b"\0ws1"
_KEY_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = len(_MARK) + _KEY_ID_BYTES

Keys = Sequence[bytes]


def seal(data: bytes, keys: Keys, execution_id: str, field: str) -> bytes:
    """Return the data encrypted by the first key, for this field of this execution; as it is without keys.

    It becomes 36 bytes longer. Encrypting the same data twice gives different values.
    """
    if not keys:
        return data
    nonce = os.urandom(_NONCE_BYTES)
    sealed: bytes = _cipher(keys[0], execution_id).encrypt(nonce, data, field.encode())
    return _MARK + _key_id(keys[0]) + nonce + sealed


def unseal(stored: bytes, keys: Keys, execution_id: str, field: str) -> bytes:
    """Return the data that was sealed for this field of this execution; what was never sealed is returned as it is.

    Raises MissingKeyError where none of the keys is the one that it was encrypted by, and another DecryptionError where
    it was changed, or sealed for another place.
    """
    if not is_sealed(stored):
        return stored
    sealed_by, rest = stored[len(_MARK) : _HEAD_BYTES], stored[_HEAD_BYTES:]
    key = next((key for key in keys if _key_id(key) == sealed_by), None)
    if key is None:
        raise MissingKeyError(
            f"{field!r} of execution {execution_id} is encrypted by the key {sealed_by.hex()}, which this process does "
            f"not have: {_describe(keys)}. Set it to the keys that the workers have"
        )
    try:
        data: bytes = _cipher(key, execution_id).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], field.encode())
    except (_load("cryptography.exceptions").InvalidTag, ValueError) as error:
        raise DecryptionError(
            f"{field!r} of execution {execution_id} can't be decrypted: it was changed, or it was moved here from "
            "another place. Restore what is stored from a backup"
        ) from error
    return data


def is_sealed(stored: bytes) -> bool:
    """Return whether a value says that it was sealed."""
    return stored.startswith(_MARK)


def blind(text: str, keys: Keys, execution_id: str) -> list[str]:
    """Return what stands for a digest where it can be seen, by each of the keys, and the digest itself at last.

    Whoever sees a plain digest can find out by trying whether it is that of a text that they guess. Write the first of
    the list. What is stored may be any of them, because it may have been written by an older key.
    """
    name = f"{execution_id} {text}".encode()
    return [*(hmac.digest(key, b"workflow_state digest " + name, "sha256").hex() for key in keys), text]


def key_id(keys: Keys) -> str | None:
    """Return the name by which people see the key that encrypts; None without keys. It tells nothing of the key."""
    return _key_id(keys[0]).hex() if keys else None


def _describe(keys: Keys) -> str:
    if not keys:
        return "WORKFLOW_STATE_KEYS is not set"
    return f"WORKFLOW_STATE_KEYS has {', '.join(_key_id(key).hex() for key in keys)}"


@lru_cache(maxsize=64)
def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"workflow_state key id " + key).digest()[:_KEY_ID_BYTES]


@lru_cache(maxsize=256)
def _cipher(key: bytes, execution_id: str) -> Any:
    """Return the cipher of an execution. Making it takes longer than encrypting a small value."""
    own_key = hmac.digest(key, b"workflow_state execution " + execution_id.encode(), "sha256")
    return _load("cryptography.hazmat.primitives.ciphers.aead").AESGCM(own_key)


def _load(module: str) -> Any:
    # The package is an extra. Whoever has set keys has it: the settings look for it.
    return importlib.import_module(module)
