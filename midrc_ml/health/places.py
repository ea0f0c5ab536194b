"""Folders and files as a report may show them, what file system they lie on, and whether somebody holds a lock."""

import getpass
import os
import re
import shlex
from pathlib import Path

# Their locks and small writes are slow, or not seen by other machines.
NETWORK_KINDS = frozenset(
    (
        *("nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph"),
        *("glusterfs", "panfs", "afs", "9p", "afpfs", "davfs", "orangefs", "pvfs2", "wekafs", "ncpfs"),
    )
)
MEMORY_KINDS = frozenset(("tmpfs", "ramfs"))


def shown(path: str | Path) -> str:
    """A path without the name of the account: the home folder is `~`."""
    return without_names(os.path.abspath(os.path.expanduser(str(path))))


def in_shell(path: str | Path, *, before: str = "") -> str:
    """`before` and the path as one word of a command, which finds the home folder again."""
    text = shown(path)
    if text == "~" or text.startswith("~/"):
        return f"{before}$HOME{shlex.quote(text[1:]) if len(text) > 1 else ''}"
    return shlex.quote(before + text)


def is_marked_read_only(folder: Path) -> bool:
    """Whether nobody has the right to write here; an administrator could all the same, and should not."""
    return not os.stat(folder).st_mode & 0o222


def without_names(text: str) -> str:
    """`text` with the home folder as `~`, and no part of a path that is the name of the account."""
    home = os.path.expanduser("~")
    if len(home) > 1:
        text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
    try:
        account = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's number without a name
        return text
    return re.sub(rf"(?<=/){re.escape(account)}(?=[/\s'\":,;)]|$)", "<account>", text)


def nearest_folder(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    path = Path(os.path.abspath(path.expanduser()))
    return next((folder for folder in (path, *path.parents) if folder.is_dir()), Path(path.anchor))


def file_system(folder: Path) -> str | None:
    """The kind of file system of an existing folder, as `ext4`; None where the system does not tell."""
    import psutil

    place = os.path.realpath(folder)
    found, kind = "", None
    for partition in psutil.disk_partitions(all=True):
        mount = partition.mountpoint
        inside = place == mount or place.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(found):  # of two on one place the later one counts
            found, kind = mount, partition.fstype or None
    return kind


def is_network(kind: str | None) -> bool:
    """Whether files lie on another machine (of FUSE nearly all kinds do)."""
    return kind is not None and (kind in NETWORK_KINDS or kind.startswith("fuse."))


def is_locked(path: Path) -> bool | None:
    """Whether a process holds this lock file; None where that cannot be told. The file stays as it is.

    Raises:
        OSError: the file is not there, or may not be read.
    """
    try:
        import fcntl
    except ImportError:
        return None
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # no locks on this file system
            return None
    return False


def size_text(num_bytes: float) -> str:
    """Bytes as people say them: `1.5 GB` of 10^9."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {unit}"
    return f"{num_bytes:.0f} bytes"
