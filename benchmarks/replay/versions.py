"""What of a page may grow old, told by the tables of the database and by nothing of pagegen's.

Triggers count, for each item that pages show, how often it was written: that is its version. An
item is the catalogue, a package, or somebody's list.
"""

from __future__ import annotations

import re
from typing import Final

#: The header that tells a page's item and version.
VERSION: Final = b"x-replayed-version"

#: What each write makes newer: the tables' own account of it.
TRIGGERS: Final = """
CREATE TABLE replayed (item TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER replayed_vote AFTER UPDATE OF votes ON package BEGIN
    INSERT INTO replayed VALUES ('package:' || NEW.slug, 1), ('catalogue', 1)
    ON CONFLICT (item) DO UPDATE SET version = version + 1;
END;
CREATE TRIGGER replayed_submission AFTER INSERT ON package BEGIN
    INSERT INTO replayed VALUES ('catalogue', 1)
    ON CONFLICT (item) DO UPDATE SET version = version + 1;
END;
CREATE TRIGGER replayed_added AFTER INSERT ON favourite BEGIN
    INSERT INTO replayed VALUES ('package:' || NEW.package_slug, 1), ('list:' || NEW.user_id, 1)
    ON CONFLICT (item) DO UPDATE SET version = version + 1;
END;
CREATE TRIGGER replayed_removed AFTER DELETE ON favourite BEGIN
    INSERT INTO replayed VALUES ('package:' || OLD.package_slug, 1), ('list:' || OLD.user_id, 1)
    ON CONFLICT (item) DO UPDATE SET version = version + 1;
END;
"""

_PAGES: Final = (
    (re.compile(r"/"), "catalogue"),
    (re.compile(r"/packages/([^/]+)"), r"package:\1"),
    (re.compile(r"/users/([0-9]+)/favorites"), r"list:\1"),
)


def item_of(path: str) -> str | None:
    """What the page at this path shows, as the triggers call it."""
    for pattern, name in _PAGES:
        if found := pattern.fullmatch(path):
            return found.expand(name)
    return None
