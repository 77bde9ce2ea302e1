"""One daemon per journal: the lock beside it."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

DISK_FAILED = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO})  # no reason to refuse a start


class JournalInUseError(Exception):
    """Another daemon holds this journal; two daemons must never command one fleet."""


class JournalRefusedError(Exception):
    """The journal cannot be used at all: no such directory, no permission, or written by a newer version."""


def lock(path: Path) -> int | None:
    """An exclusive lock beside the journal; the kernel lets go of it when the process ends, however it ends.

    None where the disk itself is read-only or full: a site must be lowered all the same, and the claims on its id and
    its inventory remain.
    """
    lock_path = path.with_name(path.name + ".lock")
    try:
        fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        if error.errno not in DISK_FAILED:
            raise JournalRefusedError(
                f"{lock_path} cannot be created: {error.strerror}. The journal's directory must exist and be writable"
            ) from None
        try:
            fd = os.open(lock_path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise JournalInUseError(
                f"{path} is in use by process {holder}: one daemon per fleet. Stop that one, or name another journal"
            ) from None
        raise JournalRefusedError(f"{lock_path} cannot be locked: {error.strerror}") from None
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except OSError:  # a full disk: the lock holds without the note
        pass
    return fd
