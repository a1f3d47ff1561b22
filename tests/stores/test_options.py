"""The URL of a store in parts, and what is said of one that is wrong."""

from __future__ import annotations

import pytest

from pagegen import ConfigError
from pagegen.stores.options import Options
from pagegen.units import parse_size


def test_a_url_has_a_scheme_and_a_place() -> None:
    for url, scheme, place in (
        ("memory://", "memory", ""),
        ("lmdb://.pagegen", "lmdb", ".pagegen"),
        ("lmdb:///var/cache/my%20site?size=1GiB", "lmdb", "/var/cache/my site"),
        ("memcached://h1:11211,[::1]:11211?tries=1", "memcached", "h1:11211,[::1]:11211"),
        ("redis://user:pa%3Fss@h:6379/0", "redis", "user:pa?ss@h:6379/0"),
        ("redis+unix:///run/redis.sock", "redis+unix", "/run/redis.sock"),
        ("nonsense", "nonsense", ""),
        ("", "", ""),
    ):
        options = Options(url)
        assert (options.scheme, options.place) == (scheme, place)
        if "?" not in url:
            options.finish()


def test_an_option_is_read_or_has_its_default() -> None:
    options = Options("x://place?size=1GiB&limit=7&empty=")
    assert options.take("size", parse_size, 0, "") == 2**30
    assert options.take("limit", int, 1, "") == 7
    assert options.take("other", int, 1, "") == 1
    assert options.take("empty", str, "full", "") == ""
    options.finish()


def test_an_option_that_cannot_be_read_is_told_with_its_remedy() -> None:
    options = Options("x://place?limit=many")
    with pytest.raises(ConfigError, match=r"an option limit that cannot be: .*'many'") as caught:
        options.take("limit", int, 1, "Write a number")
    assert caught.value.field == "store"
    assert caught.value.remedy == "Write a number"
    assert "'x://place?limit=many'" in str(caught.value)


def test_a_choice_is_one_of_its_words_and_the_first_by_default() -> None:
    assert Options("x://").choose("large", "split", "refuse") == "split"
    assert Options("x://?large=refuse").choose("large", "split", "refuse") == "refuse"
    for wrong in ("Split", "", "split,refuse"):
        with pytest.raises(ConfigError, match="large that cannot be") as caught:
            Options(f"x://?large={wrong}").choose("large", "split", "refuse")
        assert caught.value.remedy == "Write one of split, refuse"


def test_an_option_that_nobody_knows_is_refused() -> None:
    options = Options("x://place?size=1&sise=2")
    options.take("size", int, 0, "")
    options.choose("large", "split", "refuse")
    with pytest.raises(ConfigError, match="an option sise that") as caught:
        options.finish()
    assert caught.value.remedy == "Its options are: size, large"
    with pytest.raises(ConfigError) as caught:
        Options("x://?a=1").finish()
    assert caught.value.remedy == "Its options are: none"


def test_an_option_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="twice"):
        Options("x://place?size=1&size=2")


def test_a_password_in_the_url_is_told_to_nobody() -> None:
    for url in (
        "redis://user:hunter2@h:6379/0?limit=many",
        "redis://:hunter2@h:6379/0?limit=many",
        "redis://user:hun%40ter2@h/0?limit=many",
        "redis://user:hun/ter2@h/0?limit=many",
    ):
        with pytest.raises(ConfigError) as caught:
            Options(url).take("limit", int, 1, "Write a number")
        assert "ter2" not in str(caught.value)
        assert "limit=many" in str(caught.value)
