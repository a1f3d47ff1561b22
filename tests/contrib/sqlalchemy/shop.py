"""A shop in a database, a cache that notes what it forgets, and its pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sqlalchemy import Column, Engine, ForeignKey, Table, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from pagegen import PageCache, Rule
from pagegen.stores.memory import MemoryStore
from pagegen.testing import call_wsgi, environ
from pagegen.verdicts import Invalidation
from pagegen.wsgi import PageCacheMiddleware

SHOP = Rule(path="/shops/{shop}", share="public", namespaces=["shop:{shop}/items"], ttl=3600)
ITEM = Rule(path="/items/{id}", share="public", namespaces=["item:{id}"], ttl=3600)


class Base(DeclarativeBase):
    pass


labels = Table(
    "labels",
    Base.metadata,
    Column("item_id", ForeignKey("items.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


featured = Table(
    "featured",
    Base.metadata,
    Column("shop_id", ForeignKey("shops.id"), primary_key=True),
    Column("item_id", ForeignKey("items.id"), primary_key=True),
)


class Shop(Base):
    """Of no page itself; its items do not know that it features them."""

    __tablename__ = "shops"
    id: Mapped[int] = mapped_column(primary_key=True)
    items: Mapped[list[Item]] = relationship(cascade="all, delete-orphan")
    featured: Mapped[list[Item]] = relationship(secondary=featured)


class Item(Base):
    __tablename__ = "items"
    __pagegen__ = ["item:{id}", "shop:{shop_id}/items"]
    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int | None] = mapped_column(ForeignKey("shops.id"))
    title: Mapped[str] = mapped_column(default="")
    tags: Mapped[list[Tag]] = relationship(secondary=labels, back_populates="items")


class Tag(Base):
    __tablename__ = "tags"
    __pagegen__ = ["tag:{id}"]
    id: Mapped[int] = mapped_column(primary_key=True)
    items: Mapped[list[Item]] = relationship(secondary=labels, back_populates="tags")


class Note(Base):
    """Of no page."""

    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(default="")


class Desk(Base):
    """Values that the database makes."""

    __tablename__ = "desks"
    __pagegen__ = ["desk:{code}/{floor}"]
    code: Mapped[str] = mapped_column(primary_key=True)
    floor: Mapped[int] = mapped_column(server_default="3")


class Vehicle(Base):
    __tablename__ = "vehicles"
    __pagegen__ = ["vehicle:{id}"]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    owner: Mapped[int | None]


class Bike(Vehicle):
    """In the same table."""

    __pagegen__ = ["bikes/{owner}"]
    __mapper_args__ = {"polymorphic_identity": "bike"}


class Truck(Vehicle):
    """In a table of its own besides."""

    __tablename__ = "trucks"
    __pagegen__ = ["depot:{depot}"]
    __mapper_args__ = {"polymorphic_identity": "truck"}
    id: Mapped[int] = mapped_column(ForeignKey("vehicles.id"), primary_key=True)
    depot: Mapped[int]


class NotedCache(PageCache):
    """A cache that notes each call: the names, sorted. ``hook`` is called before it acts."""

    def __init__(self, *rules: Rule, **options: Any) -> None:
        super().__init__(rules, **options)
        self.calls: list[list[str]] = []
        self.awaited = 0
        self.hook: Callable[[], None] | None = None

    def invalidate(self, *names: str, soft: bool = False) -> Invalidation:
        self.calls.append(sorted(names))
        if self.hook is not None:
            self.hook()
        return super().invalidate(*names, soft=soft)

    async def ainvalidate(self, *names: str, soft: bool = False) -> Invalidation:
        self.calls.append(sorted(names))
        self.awaited += 1
        return await super().ainvalidate(*names, soft=soft)

    def told(self) -> list[str]:
        """All names since the last time."""
        calls, self.calls = self.calls, []
        return sorted({name for call in calls for name in call})


class Deaf(MemoryStore):
    """A store that acknowledges no new token while it is ``deaf``, or not before ``gate`` opens."""

    deaf = False
    gate: asyncio.Event | None = None
    waiting: asyncio.Event | None = None

    async def replace_tokens(self, tokens: Mapping[str, bytes], ttl: float) -> None:
        if self.deaf:
            raise OSError("the store is away")
        if self.gate is not None and self.waiting is not None:
            self.waiting.set()
            await self.gate.wait()
        await super().replace_tokens(tokens, ttl)


class Pages:
    """The pages of the shop over a real middleware, each made from the database when it is made."""

    def __init__(self, cache: PageCache, engine: Engine) -> None:
        self._engine = engine
        self.rendered = 0
        #: Called when the database has been read.
        self.slow: Callable[[], object] | None = None
        self._app = PageCacheMiddleware(self._render, cache=cache)

    def get(self, path: str) -> str:
        answer = call_wsgi(self._app, environ("GET", path))
        assert answer.status == 200, answer.text
        return answer.text

    def _render(self, given: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
        self.rendered += 1
        _, kind, key = given["PATH_INFO"].split("/")
        with Session(self._engine) as session:
            if kind == "items":
                text = session.scalar(select(Item.title).where(Item.id == int(key))) or "none"
            else:
                query = select(func.count(Item.id)).where(Item.shop_id == int(key))
                text = f"{session.scalar(query)} items"
        if self.slow is not None:
            self.slow()
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
        yield text.encode()
