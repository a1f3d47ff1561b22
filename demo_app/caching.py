"""The demo's cache: `pagegen.toml`, with the store of `DEMO_STORE` where that is set."""

import os
from dataclasses import replace
from pathlib import Path

from pagegen import PageCache, config

CONFIG = Path(__file__).parent / "pagegen.toml"


def open_cache() -> PageCache:
    """One cache for this process; raises `ConfigError`."""
    configuration = config.load(CONFIG)
    store = os.environ.get("DEMO_STORE")
    if store:
        settings = replace(configuration.settings, store=store)
        configuration = replace(configuration, settings=settings, directory=Path.cwd())
    return PageCache.from_configuration(configuration)
