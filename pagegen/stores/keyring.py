"""The secrets of a site: what signs, what is believed, what names are made with, what is encrypted.

Site keys rotate, names must not: a process that called a token otherwise would not hear of the
others' invalidations. So names have a key of their own. With one site key and nothing else said it
is that one; with several it has to be said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

#: Which pages are encrypted: none, those that may be one person's, or all.
Encrypt = Literal[False, "identity", "all"]


@dataclass(frozen=True, slots=True)
class Keyring:
    """``secrets``: site keys, newest first. The first one signs and encrypts, all are believed.

    ``naming``: the secret of names; without it the only site key. ``encrypt`` needs a site key.
    Raises ``ValueError`` for secrets that do not fit together.
    """

    secrets: tuple[str, ...] = field(default=(), repr=False)
    naming: str = field(default="", repr=False)
    encrypt: Encrypt = False

    def __post_init__(self) -> None:
        if self.encrypt and not self.secrets:
            raise ValueError("nothing can be encrypted without a site key")
        if not self.naming and self.secrets:
            if len(self.secrets) > 1:
                raise ValueError("with several site keys names need a key that stays")
            object.__setattr__(self, "naming", self.secrets[0])

    @classmethod
    def of(cls, given: str | Keyring) -> Keyring:
        """A keyring as it is; of a text, that of this one site key, of an empty one none."""
        if isinstance(given, Keyring):
            return given
        return cls((given,) if given else ())
