"""Models whose rows have namespaces: what applications, checks and templates ask for."""

from __future__ import annotations

from . import transactions, writes
from .plans import names_of, plan, problems, register, tables

__all__ = ["install", "names_of", "plan", "problems", "register", "tables"]


def install() -> None:
    """Begin to watch writes. May be called again; reads no settings and no database."""
    writes.install()
    transactions.install()
