"""Names of namespaces, and the templates that rules write them with.

A namespace groups pages: ``item:7``, ``user:42/favorites``. Values that come from a request are
percent-encoded down to the unreserved characters of RFC 3986, so that a visitor's ``7/admin``
becomes ``7%2Fadmin`` and never steers a page into another namespace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeGuard
from urllib.parse import quote

from .errors import NamespaceError

# RFC 9875 §2 asks for at least 32 characters; 512 leaves room for escaped UTF-8 values.
MAX_LENGTH: Final = 512
#: How the namespaces of URLs begin, which every page has from its address (RFC 9111 §4.4).
OF_URLS: Final = "url:"
#: How the registers begin that pagegen itself keeps among the tokens. No namespace does.
RESERVED: Final = "pagegen:"
_NAME: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_REFERENCE: Final = re.compile(r"\{([^{}]*)\}")


def is_name(name: object) -> bool:
    """Whether this can be the name of a namespace."""
    return _is_spelled(name) and not name.startswith(RESERVED)


def _is_spelled(name: object) -> TypeGuard[str]:
    return isinstance(name, str) and len(name) <= MAX_LENGTH and bool(_NAME.fullmatch(name))


def check(name: object) -> str:
    """The name itself, or ``NamespaceError`` when it cannot be one."""
    if not _is_spelled(name):
        raise NamespaceError(
            f"{name!r} is no namespace: 1 to {MAX_LENGTH} printable ASCII characters, no space at "
            'either end. Build names from values with pagegen.namespace("item:{id}", id=value)'
        )
    if name.startswith(RESERVED):
        raise NamespaceError(
            f"{name!r} begins with {RESERVED!r}, which pagegen keeps for itself. Begin it otherwise"
        )
    return name


def escape(value: object) -> str:
    """A value as it stands in a namespace: percent-encoded but for unreserved characters.

    A truth value is refused: ``True`` in a name is nearly always a mistake for the object's id.
    """
    if isinstance(value, bool) or value is None:
        raise NamespaceError(f"{value!r} is no value for a namespace. Give text or a number")
    return quote(str(value), safe="", errors="surrogatepass")


def namespace(template: str, /, **values: object) -> str:
    """A namespace from a template and values, escaped exactly as rules escape them.

    >>> namespace("package:{slug}", slug="a b/c")
    'package:a%20b%2Fc'
    """
    try:
        name = _REFERENCE.sub(lambda match: escape(values[match[1]]), template)
    except KeyError as error:
        raise NamespaceError(
            f"{template!r} names {{{error.args[0]}}}, which was not given. "
            f"Call namespace({template!r}, {error.args[0]}=...)"
        ) from None
    return check(name)


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed namespace of a rule: literal text and references, alternating.

    ``references`` are resolved names such as ``path.user``; ``literals`` has one member more.
    """

    text: str
    literals: tuple[str, ...]
    references: tuple[str, ...]

    def render(self, values: Mapping[str, str]) -> str:
        """The namespace for these (unescaped) values, keyed by resolved reference."""
        parts = [self.literals[0]]
        for reference, literal in zip(self.references, self.literals[1:], strict=True):
            parts.append(quote(values[reference], safe="", errors="surrogatepass"))
            parts.append(literal)
        return "".join(parts)


def parse(text: str) -> Template:
    """Split a template at its references. Raises ``NamespaceError`` when it cannot name anything.

    References are as written; the rule replaces them by what they stand for.
    """
    pieces = _REFERENCE.split(text)
    literals, references = tuple(pieces[::2]), tuple(pieces[1::2])
    if any("{" in part or "}" in part for part in literals):
        raise NamespaceError(f"{text!r} has a brace without its partner")
    check("x".join(literals))
    return Template(text, literals, references)
