"""The directory of an LMDB store: whether it can be one, and what stands in it.

::

    about       which generation is in use; the only truth, replaced by one rename
    lock        byte ranges that processes lock; never replaced by us
    GENERATION  a directory (16 hex digits): data.mdb and lock.mdb are LMDB's, marks is ours

A *generation* here is one LMDB environment from its making to its end.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from re import compile as pattern
from typing import Final

from ...errors import ConfigError

#: Number of the format of everything in the directory. Another number is not read.
FORMAT: Final = 1
_MAGIC: Final = "pagegen-lmdb"
#: Bytes of ``about`` that are read; a whole one has about 90.
_MAX_ABOUT: Final = 512
_GENERATION: Final = pattern(r"[0-9a-f]{16}")
_FILES: Final = ("data.mdb", "lock.mdb", "marks")

MOUNTS: Final = Path("/proc/self/mountinfo")
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
#: File systems whose pages other machines change, or whose locks and shared maps are not to be
#: trusted: LMDB's own documentation warns of them.
NETWORK: Final = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "coda", "ncpfs", "ceph", "beegfs"),
        *("lustre", "gpfs", "orangefs", "pvfs2", "ocfs2", "gfs2", "virtiofs", "vboxsf", "vmhgfs"),
        *(
            "fuse.sshfs",
            "fuse.glusterfs",
            "fuse.ceph",
            "fuse.ceph-fuse",
            "fuse.s3fs",
            "fuse.rclone",
        ),
        *("fuse.gcsfuse", "fuse.vmhgfs-fuse", "fuse.juicefs", "fuse.moosefs", "fuse.mfs", "prl_fs"),
    }
)


@dataclass(frozen=True, slots=True)
class About:
    """What ``about`` says. ``size`` is the map's, in bytes; ``boot`` names the machine's run."""

    format: int
    boot: str
    generation: str
    size: int

    def write(self, place: Path) -> None:
        """Make this the truth, in one step."""
        draft = place / f"about.{self.generation}"
        text = f"{_MAGIC} {self.format}\n{self.boot}\n{self.generation}\n{self.size}\n"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, text.encode("ascii"))
        finally:
            os.close(descriptor)
        draft.replace(place / "about")

    @classmethod
    def read(cls, place: Path) -> About | None:
        """What stands there; None for nothing. Raises ``ValueError`` for what is none of ours.

        Of another format only the number is known.
        """
        try:
            with (place / "about").open("rb") as file:
                lines = file.read(_MAX_ABOUT).decode("ascii").split("\n")
        except FileNotFoundError:
            return None
        magic, _, number = lines[0].partition(" ")
        if magic != _MAGIC or not number.isdecimal():
            raise ValueError("not an LMDB store's")
        if int(number) != FORMAT:
            return cls(int(number), "", "", 0)
        _, boot, generation, size, end = lines
        if not _GENERATION.fullmatch(generation) or end:
            raise ValueError("damaged")
        return cls(FORMAT, boot, generation, int(size))


def boot_id() -> str:
    """A name for this run of the machine; elsewhere than on Linux, of this installation.

    After a crash of the machine nobody knows which of the unsynchronised writes reached the disk,
    so what an earlier run wrote is never opened.
    """
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return os.uname().nodename.encode("ascii", "replace").decode() or "unknown"


def prepare(place: Path) -> None:
    """Make the directory, or see that it is one for us alone. Raises ``ConfigError``."""
    try:
        _make(place)
        link, found = place.lstat(), place.stat()
    except FileExistsError:
        raise ConfigError(
            f"{str(place)!r} is a file", "Name a directory, or one to be made", field="store"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"the directory {str(place)!r} cannot be made: {error.strerror}",
            "Name a directory that this process may write to",
            field="store",
        ) from None
    _refuse_network(place)
    if link.st_uid not in (os.geteuid(), 0):
        raise ConfigError(
            f"the directory {str(place)!r} is a link of another user's (uid {link.st_uid})",
            "Name the directory itself, in one where only this user may write",
            field="store",
        )
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"the directory {str(place)!r} belongs to another user (uid {found.st_uid})",
            "Run all workers as one user, and let them make the directory",
            field="store",
        )
    _tighten(place, stat.S_IMODE(found.st_mode))
    _refuse_planted(place)
    if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(
            f"this process may not write into the directory {str(place)!r}",
            "Name a directory that it may write to",
            field="store",
        )


def _make(place: Path) -> None:
    """Make the directory and those above it. Whatever the umask says, nobody else may write to any
    of them, and so put another one in its place (as in CVE-2020-24584).
    """
    for above in reversed(place.parents):
        if not above.exists():
            above.mkdir(mode=0o755, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)


def _tighten(place: Path, mode: int) -> None:
    """See to 0700 where that harms nobody.

    Refused is what everybody may write to: what stands there may be anybody's work already. Other
    modes are usually a umask's doing and are mended, but only where nothing else lives: somebody
    who names their project's directory shall not find it closed to the web server.
    """
    if not mode & 0o077:
        return
    strangers = [entry.name for entry in place.iterdir() if not _ours(entry.name)]
    if mode & 0o002 or strangers:
        problem = "is open to everybody" if mode & 0o002 else f"holds other files ({strangers[0]})"
        raise ConfigError(
            f"the directory {str(place)!r} {problem}",
            "Name a directory of its own, which only this user may enter (mode 0700)",
            field="store",
        )
    place.chmod(0o700)


def _refuse_planted(place: Path) -> None:
    """Refuse what others put there while a group could write: they may have it open. From now on
    nobody else can, so that it is enough to look once.
    """
    for entry in place.iterdir():
        with suppress(FileNotFoundError):
            if entry.lstat().st_uid != os.geteuid():
                raise ConfigError(
                    f"the directory {str(place)!r} holds what another user put there "
                    f"({entry.name})",
                    "Remove the directory, and let the workers make it",
                    field="store",
                )


def _ours(name: str) -> bool:
    return (
        name in ("about", "lock") or _GENERATION.fullmatch(name.removeprefix("about.")) is not None
    )


def _refuse_network(place: Path) -> None:
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return  # not Linux: it cannot be told
    kind = file_system(Path(os.path.realpath(place)), mounts)
    if kind in NETWORK:
        raise ConfigError(
            f"the directory {str(place)!r} is on a network file system ({kind}), where the memory "
            "that the workers share is not coherent",
            "Name a directory on a local disk or in memory (such as /dev/shm)",
            field="store",
        )


def file_system(path: Path, mounts: str) -> str:
    """The type of the file system of an absolute path, from the text of ``mountinfo`` (proc(5));
    empty when it cannot be told.
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, types = before.split(" "), after.split(" ")
        if len(fields) < 5 or not types[0]:
            continue
        point = _unescape(fields[4])
        # Later lines lie over earlier ones.
        if path.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), types[0]
    return kind


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def sweep(place: Path) -> None:
    """Remove all generations. Who still has one of them mapped keeps what is mapped."""
    for entry in place.iterdir():
        draft = entry.name.startswith("about.")
        if entry.name in ("about", "lock") or not _ours(entry.name):
            continue
        with suppress(OSError):
            if draft:
                entry.unlink()
                continue
            for name in _FILES:
                (entry / name).unlink(missing_ok=True)
            entry.rmdir()
