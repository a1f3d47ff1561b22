"""Forgetting: what is written to the store, and in which order.

1. The *hold-off flags*, where a rule allows for replicas that lag: whoever reads a new token finds
   its flag, which is read after the tokens.
2. The *sequence*, unless all names are URLs' or no page can have late namespaces
   (:mod:`pagegen.groups`).
3. The tokens, all at once. A hard invalidation replaces the hard registers with them
   (:mod:`pagegen.law.softness`). A soft one takes the time, reads the present tokens, and writes
   such as remember those.

A cache without rules invalidates for others whose rules it does not know: it writes whatever any of
them may need, but for hold-off flags, because it does not know for how long.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from .groups import SEQUENCE
from .law import softness
from .namespaces import OF_URLS
from .rulebook import RuleBook
from .stores.base import Store


class Forgetting:
    """What one cache writes to forget. Immutable; thread-safe.

    ``mint``: new random tokens. ``now``: the wall clock. ``token_ttl``: seconds that tokens live.
    """

    def __init__(
        self,
        mint: Callable[[], bytes],
        now: Callable[[], float],
        token_ttl: float,
        book: RuleBook,
    ) -> None:
        self._mint = mint
        self._now = now
        self._token_ttl = token_ttl
        self._lag = book.longest_lag
        self._late = book.late or not book.rules
        #: Whether a soft invalidation differs from a hard one for any page.
        self.softens = book.soft_window > 0 or not book.rules

    async def forget(
        self, store: Store, names: Sequence[str], *, soft: Collection[str] = ()
    ) -> None:
        """Give namespaces new tokens; raises what the store does.

        ``soft``: those of the names whose pages are left to others for a while. URLs' are not.
        """
        late = self._late and not all(name.startswith(OF_URLS) for name in names)
        # The sequence's flag is that of all names that nobody knows before a page names them.
        await self.hold(store, (*names, SEQUENCE) if late else names)
        if late:
            await store.replace_tokens({SEQUENCE: self._mint()}, self._token_ttl)
        await store.replace_tokens(await self._tokens(store, names, soft), self._token_ttl)

    async def hold(self, store: Store, names: Sequence[str]) -> None:
        """Keep pages of these namespaces out of the store for as long as replicas may lag behind.

        Called before their tokens are written, or minted. Raises what the store does.
        """
        if self._lag > 0 and names:
            flags = {softness.hold(name): self._mint() for name in names}
            await store.replace_tokens(flags, self._lag)

    async def _tokens(
        self, store: Store, names: Sequence[str], soft: Collection[str]
    ) -> dict[str, bytes]:
        tokens = {name: self._mint() for name in names}
        if not self.softens:
            return tokens
        softly = [name for name in names if name in soft and softness.softens(name)]
        hardly = [name for name in names if name not in softly]
        tokens |= {register: self._mint() for register in softness.registers(hardly)}
        if softly:
            stamp = self._now()  # before the reading: see law.softness, rule 2
            present = (await store.read(None, softly)).tokens
            for name, previous in zip(softly, present, strict=True):
                tokens[name] = softness.succeed(previous, tokens[name], stamp)
        return tokens
