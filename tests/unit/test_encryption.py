"""Values that are encrypted where they are stored."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from workflow_state.encryption import blind, is_sealed, key_id, seal, unseal
from workflow_state.errors import DecryptionError, MissingKeyError

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
DATA = b'{"card": "4111 1111"}'


def test_what_is_sealed_is_read_back_and_shows_nothing():
    """With the key, for the same field of the same execution; each time it looks different."""
    sealed = seal(DATA, [NEW], "order-17", "record inputs")
    assert unseal(sealed, [NEW], "order-17", "record inputs") == DATA
    assert is_sealed(sealed)
    assert b"4111" not in sealed
    assert len(sealed) == len(DATA) + 36
    assert sealed != seal(DATA, [NEW], "order-17", "record inputs")


def test_without_keys_nothing_is_encrypted_and_what_is_plain_is_read_with_keys_as_well():
    """Keys can be set where there are executions already."""
    assert seal(DATA, [], "e", "f") is DATA
    assert unseal(DATA, [], "e", "f") is DATA
    assert unseal(DATA, [NEW], "e", "f") is DATA
    assert key_id([]) is None


def test_the_first_key_encrypts_and_all_decrypt():
    """A list with the new key in front reads what the old one has encrypted, and the old key alone does not."""
    assert unseal(seal(DATA, [OLD], "e", "f"), [NEW, OLD], "e", "f") == DATA
    sealed = seal(DATA, [NEW, OLD], "e", "f")
    assert unseal(sealed, [NEW], "e", "f") == DATA
    with pytest.raises(MissingKeyError):
        unseal(sealed, [OLD], "e", "f")


@pytest.mark.parametrize(
    ("keys", "told"), [([], "WORKFLOW_STATE_KEYS is not set"), ([OLD], f"WORKFLOW_STATE_KEYS has {key_id([OLD])}")]
)
def test_who_lacks_the_key_is_told_which_one_and_what_to_do(keys, told):
    """In one line, without any of the keys."""
    with pytest.raises(MissingKeyError) as caught:
        unseal(seal(DATA, [NEW], "order-17", "record plan"), keys, "order-17", "record plan")
    message = str(caught.value)
    assert f"'record plan' of execution order-17 is encrypted by the key {key_id([NEW])}" in message
    assert told in message
    assert "Set it to the keys that the workers have" in message
    assert "\n" not in message
    assert NEW.hex() not in message


@pytest.mark.parametrize("place", [("other", "f"), ("e", "g")])
def test_a_value_can_not_be_read_in_the_place_of_another(place):
    """Of another execution, or of another field."""
    with pytest.raises(DecryptionError, match="it was changed, or it was moved here from another place"):
        unseal(seal(DATA, [NEW], "e", "f"), [NEW], *place)


def test_a_value_that_was_changed_can_not_be_read():
    """Wherever it was changed, and also where it was cut off."""
    sealed = seal(DATA, [NEW], "e", "f")
    changed = [sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :] for place in range(4, len(sealed))]
    for value in (*changed, *(sealed[:length] for length in range(4, len(sealed)))):
        with pytest.raises(DecryptionError):
            unseal(value, [NEW], "e", "f")


def test_a_digest_can_be_compared_by_who_has_a_key_only():
    """Its stand-in is the same each time, and another one for each key and execution."""
    written, by_old_key, plain = blind("d1", [NEW, OLD], "e")
    assert [written, by_old_key, plain] == [blind("d1", [NEW], "e")[0], blind("d1", [OLD], "e")[0], "d1"]
    assert len({written, by_old_key, plain, blind("d1", [NEW], "f")[0], blind("d2", [NEW], "e")[0]}) == 5
    assert blind("d1", [], "e") == ["d1"]


def test_threads_may_encrypt_at_once():
    """The workers' pool is one of threads, and they share an execution's cipher."""

    def there_and_back(number):
        data = str(number).encode() * 100
        return unseal(seal(data, [NEW], "e", "f"), [NEW], "e", "f") == data

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, range(2_000)))
