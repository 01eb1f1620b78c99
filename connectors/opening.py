"""Events on their way out of the house, opened: receivers have no vault."""

from pathlib import Path

import msgspec

from cases.sealing import SEALED, UnknownVault, opened_event
from connectors.vault import Vault, VaultError

_MARK = f'"{SEALED}":'.encode()


class Opener:
    """Opens events with the vault at a path, which may come to be there later; one thread's."""

    def __init__(self, vault: Path | None) -> None:
        """Without a *vault* events pass as they are."""
        self._path = vault
        self._vault: Vault | None = None

    def __call__(self, event: bytes) -> bytes:
        """*event* (CloudEvents JSON) with what is sealed in it opened, or marked as erased.

        Raises VaultError while that cannot be done; the event is to wait for it.
        """
        if self._path is None or _MARK not in event:
            return event
        if self._vault is None:
            self._vault = Vault(self._path)
        self._vault.refresh()
        try:
            return msgspec.json.encode(opened_event(self._vault, msgspec.json.decode(event)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return event  # what it is is for the carrier to say
        except (UnknownVault, ValueError) as error:
            raise VaultError(str(error)) from None
