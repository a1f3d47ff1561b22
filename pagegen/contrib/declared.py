"""Which namespaces a database row belongs to: templates declared on its class.

A class declares templates such as ``item:{id}`` and ``shop:{shop_id}/items``, whose references are
attributes of its rows. A row belongs to one namespace for each template; before and after a write
it may be others, and both are forgotten.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from .. import remarks
from ..errors import ConfigError, NamespaceError
from ..namespaces import namespace, parse


@dataclass(frozen=True, slots=True)
class Declared:
    """The templates of one class, checked.

    label: the class as people know it.  templates: as they were written.
    attributes: those that the templates refer to, each once, in order.
    general: templates without references, which are namespaces of all rows.
    """

    label: str
    templates: tuple[str, ...]
    attributes: tuple[str, ...]
    general: tuple[str, ...]
    _references: Mapping[str, tuple[str, ...]]

    def names(self, row: Mapping[str, object]) -> tuple[str, ...]:
        """The namespaces of a row with these attributes.

        A template that refers to None names nothing: the row belongs to no such group. Raises
        ``NamespaceError`` for a truth value, and where the name would be too long.
        """
        return tuple(
            namespace(template, **{name: row[name] for name in names})
            for template, names in self._references.items()
            if all(row[name] is not None for name in names)
        )

    def references(self, template: str) -> tuple[str, ...]:
        """The attributes that one of its templates refers to."""
        return self._references[template]

    def moves(self, changed: Collection[str]) -> bool:
        """Whether a change of these attributes may move a row to other namespaces."""
        return not set(self.attributes).isdisjoint(changed)


def declare(
    label: str, templates: object, known: Iterable[str] | None = None, *, field: str
) -> Declared:
    """Check what a class declares; raises ``ConfigError`` that names class, template and remedy.

    ``known``: the attributes that its rows have, None where that is not known yet. ``field``: what
    the declaration is called, for errors.
    """

    def problem(what: str, remedy: str) -> ConfigError:
        return ConfigError(what, remedy, field=field, where=label)

    if isinstance(templates, (str, bytes)) or not isinstance(templates, Iterable):
        raise problem(f"{templates!r} is no list of templates", 'Write ["item:{id}"]')
    references: dict[str, tuple[str, ...]] = {}
    attributes = None if known is None else frozenset(known)
    for template in templates:
        if not isinstance(template, str):
            raise problem(f"{template!r} is no text", 'Write templates such as "item:{id}"')
        try:
            names = parse(template).references
        except NamespaceError as error:
            raise problem(str(error), "Correct the template") from None
        for name in names:
            if not name.isidentifier() or (attributes is not None and name not in attributes):
                raise problem(
                    f"{template!r} refers to {name!r}, which is no column of it",
                    "Refer to columns of the row itself, such as "
                    + ", ".join(sorted(attributes or ("id",))[:8]),
                )
        references[template] = names
    if not references:
        raise problem("names nothing", 'Write at least one template, such as "item:{id}"')
    remarks.declared(references)
    return Declared(
        label,
        tuple(references),
        tuple(dict.fromkeys(name for names in references.values() for name in names)),
        tuple(template for template, names in references.items() if not names),
        references,
    )
