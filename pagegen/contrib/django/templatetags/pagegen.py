"""Namespaces that a template finds while it renders a page.

::

    {% load pagegen %}
    {% for item in items %}
      {% namespace "item:{id}" id=item.pk %}
      {% namespaces_of item %}
    {% endfor %}

The page belongs to them, too; its rule says ``groups = true``, or such a page is not stored. Both
render nothing. Where no request is handled, as for a mail, there is no page to belong to.
"""

from __future__ import annotations

from typing import Any

from django import template

from ....errors import NamespaceError
from ....exchange import current
from ....logs import logger
from ....namespaces import namespace
from ..caches import get_cache
from ..rows import names_of

log = logger("pagegen.contrib.django")
register = template.Library()


def of_values(template: str, /, **values: object) -> str:
    """``{% namespace "item:{id}" id=item.pk %}``: a template and its values, escaped as in rules.

    Raises ``NamespaceError``, also for an empty value: Django gives that for a variable that is not
    there, and the page would belong to a group that nobody forgets.
    """
    for name, value in values.items():
        if value == "":
            raise NamespaceError(
                f"{{% namespace {template!r} %}}: {name} is empty. Give it a value that is there"
            )
    _tag(namespace(template, **values))
    return ""


def of_instance(instance: Any) -> str:
    """``{% namespaces_of item %}``: those that a row's model declares.

    Raises ``TypeError`` where it declares none, and ``NamespaceError``.
    """
    _tag(*names_of(instance))
    return ""


def _tag(*names: str) -> None:
    cache = get_cache()
    if current(cache.engine.realm) is None:
        told = cache.engine.shown(names)
        log.debug("%s: rendered where no request is handled, so no page is tagged", told)
        return
    cache.tag(*names)


register.simple_tag(of_values, name="namespace")
register.simple_tag(of_instance, name="namespaces_of")
