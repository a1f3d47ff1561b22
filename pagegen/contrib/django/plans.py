"""Which models declare namespaces, and which tables a write must be watched on for their sake.

A model says ``pagegen_namespaces = ["item:{id}", "shop:{shop_id}/items"]``; one that cannot be
edited is given to :func:`register`. A row's values may stand in several tables (multi-table
inheritance), and what it is related to in others (many-to-many), so for each table there is a plan:

- ``own``: declarations on the model of the table, or on its proxies.
- ``below``: those on models that inherit the table's.
- ``ends``: foreign keys of a many-to-many table, with the plan of the model that each refers to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Any, Final

from django.apps import apps
from django.core.signals import setting_changed
from django.db import models
from django.db.models.signals import class_prepared

from pagegen.errors import ConfigError

from ..declared import Declared, declare

#: What a model calls its declaration.
ATTRIBUTE: Final = "pagegen_namespaces"
#: Fields whose value in a row is what was written, so that it need not be read again.
_PLAIN: Final = (models.IntegerField, models.CharField, models.TextField, models.UUIDField)
#: Fields whose values have no one spelling in a name.
_NAMELESS: Final = (models.BooleanField, models.BinaryField, models.JSONField)


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """One model with its declaration. ``fields``: those that its attributes stand for."""

    model: type[Any]
    declared: Declared
    fields: Mapping[str, Any]

    @property
    def table(self) -> type[Any]:
        """The model whose table holds its rows: for a proxy, the one that it stands for."""
        concrete: type[Any] = self.model._meta.concrete_model
        return concrete

    def names(self, values: Mapping[str, object]) -> tuple[str, ...]:
        """The namespaces of a row, its values keyed by the ``attname`` of their fields."""
        return self.declared.names(
            {name: values[field.attname] for name, field in self.fields.items()}
        )


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a write to one table may change. Falsy where it is nothing."""

    own: tuple[Watched, ...] = ()
    below: tuple[Watched, ...] = ()
    ends: tuple[tuple[Any, Plan], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.own or self.below or self.ends)

    def everyone(self) -> Iterator[Watched]:
        """All declarations that a write to the table may concern."""
        yield from self.own
        yield from self.below
        for _, end in self.ends:
            yield from end.everyone()

    @property
    def columns(self) -> tuple[Any, ...]:
        """The fields of a row that its own names and its ends are made of, each once."""
        fields = [field for watched in self.own for field in watched.fields.values()]
        return tuple(dict.fromkeys([*fields, *(field for field, _ in self.ends)]))


_lock: Final = RLock()
_registered: dict[type[Any], tuple[str, ...]] = {}
_plans: dict[type[Any], Plan] | None = None
_tables: dict[str, str] | None = None


def register(model: type[Any], templates: Iterable[str]) -> None:
    """Declare the namespaces of a model that cannot be edited. Call it in ``AppConfig.ready()``.

    They are added to those that the model declares itself. Raises ``ConfigError``.
    """
    watched = _watch(model, templates)
    with _lock:
        known = _registered.get(model, ())
        _registered[model] = (*known, *watched.declared.templates)
    _forget_plans()


def problems() -> list[ConfigError]:
    """Every mistake in the declarations of all models: for the system checks. Raises nothing."""
    found: list[ConfigError] = []
    for model, templates in _declarations():
        try:
            _watch(model, templates)
        except ConfigError as error:
            found.append(error)
    return found


def plan(model: type[Any]) -> Plan:
    """What a write to this model's table concerns. Raises ``ConfigError`` for a declaration.

    A class that stands for the same table and is no model of an app, as in a migration, has none.
    """
    plans = _plans if _plans is not None else _all_plans()
    return plans.get(model._meta.concrete_model or model, _NOTHING)


def tables() -> Mapping[str, str]:
    """The tables that have a plan, in lower case, each with the label of its model."""
    global _tables  # noqa: PLW0603 - see below
    found = _tables
    if found is None:
        plans = _all_plans()
        found = {model._meta.db_table.lower(): model._meta.label for model in plans}
        if _plans is plans:
            _tables = found
    return found


def names_of(instance: Any) -> tuple[str, ...]:
    """The namespaces that an instance belongs to by its class and what that inherits from.

    Reads attributes that were deferred. Raises ``TypeError`` where nothing is declared.
    """
    plans = _plans if _plans is not None else _all_plans()
    kind = instance.__class__  # of a lazy object: what it stands for
    tables = [table for table in reversed(kind.__mro__) if table in plans]
    found = [watched for table in tables for watched in plans[table].own]
    if not found:
        raise TypeError(
            f"{kind.__name__} declares no {ATTRIBUTE}: declare them on the model, or "
            "register(Model, [...]) in AppConfig.ready()"
        )
    names: dict[str, None] = {}
    for watched in found:
        fields = watched.fields.values()
        values = {field.attname: getattr(instance, field.attname) for field in fields}
        names |= dict.fromkeys(watched.names(values))
    return tuple(names)


def is_plain(field: Any) -> bool:
    """Whether the database keeps a value of this field as Python has it."""
    field = _target(field)
    generated = getattr(field, "generated", False)
    ours = type(field).__module__.startswith("django.")
    return ours and isinstance(field, _PLAIN) and not generated


def is_exact(field: Any) -> bool:
    """Whether a value that finds a row is always the one in it.

    Databases compare texts in ways of their own, and round decimals.
    """
    target = _target(field)
    return is_plain(target) and isinstance(target, (models.IntegerField, models.UUIDField))


def are_keys(fields: Iterable[Any]) -> bool:
    """Whether every one of these columns is in a unique index that a foreign key may refer to."""
    for field in fields:
        meta = field.model._meta
        constraints = (one for one in meta.total_unique_constraints if one.deferrable is None)
        together = (*meta.unique_together, *(one.fields for one in constraints))
        if not (field.unique or any(field.name in names for names in together)):
            return False
    return True


def _target(field: Any) -> Any:
    while field.is_relation:
        field = field.target_field
    return field


def _forget_plans(**_: Any) -> None:
    global _plans, _tables  # noqa: PLW0603 - built from what Django keeps globally
    _plans = _tables = None


def _forget_apps(*, setting: str, **_: Any) -> None:
    if setting == "INSTALLED_APPS":
        _forget_plans()


def _declarations() -> Iterator[tuple[type[Any], Any]]:
    """Models with what they declare; a proxy only where that is more than its model does."""
    for model in apps.get_models():
        given = getattr(model, ATTRIBUTE, None)
        if model._meta.proxy and given == getattr(model._meta.concrete_model, ATTRIBUTE, None):
            given = None
        if given is not None:
            yield model, given
        if model in _registered:
            yield model, _registered[model]


def _declared() -> list[Watched]:
    return [_watch(model, templates) for model, templates in _declarations()]


def _watch(model: type[Any], templates: object) -> Watched:
    meta = model._meta
    if getattr(meta, "is_composite_pk", False):
        raise ConfigError(
            "has a composite primary key, which is not covered",
            "Call cache.invalidate where you write it",
            field=ATTRIBUTE,
            where=meta.label,
        )
    known = {"pk": meta.pk}
    for field in meta.concrete_fields:
        known |= {field.name: field, field.attname: field}
    declared = declare(meta.label, templates, known, field=ATTRIBUTE)
    fields = {name: known[name] for name in declared.attributes}
    for name, field in fields.items():
        if isinstance(field, _NAMELESS):
            raise ConfigError(
                f"refers to {name!r}, a {type(field).__name__}, whose values make no name",
                "Refer to a column of numbers or text",
                field=ATTRIBUTE,
                where=meta.label,
            )
    return Watched(model, declared, fields)


def _all_plans() -> dict[type[Any], Plan]:
    global _plans  # noqa: PLW0603 - see above
    with _lock:
        if _plans is not None:
            return _plans
        watched = _declared()
        plans: dict[type[Any], Plan] = {}
        for table in (model for model in apps.get_models() if not model._meta.proxy):
            own = tuple(one for one in watched if one.table is table)
            below = tuple(
                one for one in watched if one.table is not table and issubclass(one.table, table)
            )
            plans[table] = Plan(own, below)
        for table, ends in _between(plans).items():
            known = plans.get(table, _NOTHING)
            plans[table] = Plan(known.own, known.below, ends)
        found = {table: plan for table, plan in plans.items() if plan}
        if apps.ready:
            _plans = found
        return found


def _between(plans: Mapping[type[Any], Plan]) -> dict[type[Any], tuple[tuple[Any, Plan], ...]]:
    """Tables of many-to-many relations, with their foreign keys to models that have a plan."""
    found: dict[type[Any], dict[Any, Plan]] = {}
    for model in list(plans):
        for relation in model._meta.local_many_to_many:
            through = relation.remote_field.through
            for name in (relation.m2m_field_name(), relation.m2m_reverse_field_name()):
                field = through._meta.get_field(name)
                end = plans.get(field.related_model._meta.concrete_model, _NOTHING)
                if end:
                    found.setdefault(through, {})[field] = end
    return {through: tuple(ends.items()) for through, ends in found.items()}


_NOTHING: Final = Plan()

# A model that is made later may declare something too.
class_prepared.connect(_forget_plans, dispatch_uid="pagegen.contrib.django.plans")
# A test that installs other apps has other models.
setting_changed.connect(_forget_apps, dispatch_uid="pagegen.contrib.django.plans")
