"""Tables of the tests: a shop with every kind of relation that a write can go through."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models


class Shop(models.Model):
    name = models.CharField(max_length=100)

    pagegen_namespaces: ClassVar = ["shop:{id}", "shops"]


class Tag(models.Model):
    label = models.CharField(max_length=50, unique=True)

    pagegen_namespaces: ClassVar = ["tag:{label}"]


class Priced(models.Model):
    """An abstract base: who inherits it inherits its namespaces."""

    price = models.IntegerField(default=0)

    pagegen_namespaces: ClassVar = ["item:{pk}", "shop:{shop_id}/items"]

    class Meta:
        abstract = True


class Item(Priced):
    title = models.CharField(max_length=100)
    shop = models.ForeignKey(Shop, models.CASCADE, null=True, related_name="items")
    tags = models.ManyToManyField(Tag, related_name="items")

    class Meta:
        unique_together: ClassVar = [("shop", "title")]


class Bargain(Item):
    """A proxy with a namespace of its own."""

    pagegen_namespaces: ClassVar = ["bargains:{shop_id}"]

    class Meta:
        proxy = True


class Book(Item):
    """A table of its own beside its parent's."""

    author = models.CharField(max_length=100)

    pagegen_namespaces: ClassVar = ["book:{id}", "author:{author}/in:{shop_id}"]


class Review(models.Model):
    """Loses its item, not its text; whoever wrote it may be anybody."""

    item = models.ForeignKey(Item, models.SET_NULL, null=True, related_name="reviews")
    text = models.TextField()

    pagegen_namespaces: ClassVar = ["item:{item}/reviews"]


class Favourite(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="favourites")
    item = models.ForeignKey(Item, models.CASCADE, related_name="favourites")

    pagegen_namespaces: ClassVar = ["user:{user_id}/favourites"]


class Note(models.Model):
    """Declares nothing."""

    text = models.TextField()
