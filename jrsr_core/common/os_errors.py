"""Errors of the operating system in plain words."""

import errno
import re
import socket

REASONS = {
    errno.ENOENT: "no such file or folder",
    errno.EEXIST: "exists already",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EISDIR: "is a folder, expected a file",
    errno.ENOTDIR: "is a file, or has a file in the place of a folder on the way to it",
    errno.ENOTEMPTY: "the folder is not empty",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than the system allows",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "a symbolic link points to itself",
    errno.EMFILE: "too many open files in this process",
    errno.ENFILE: "too many open files on this machine",
    errno.EIO: "the disk or the device reports an error",
    errno.EPIPE: "the reader has disconnected",
    errno.ENOMEM: "out of memory",
    errno.ECONNREFUSED: "no server listens there",
    errno.ECONNRESET: "the peer has disconnected",
    errno.ECONNABORTED: "the peer has disconnected",
    errno.ETIMEDOUT: "no answer in time",
    errno.EHOSTUNREACH: "no route to this machine",
    errno.ENETUNREACH: "no route to its network",
    errno.EADDRINUSE: "another program uses this port",
    errno.EADDRNOTAVAIL: "this machine does not have the address",
    socket.EAI_NONAME: "no machine of this name is known",
    socket.EAI_AGAIN: "the name cannot be looked up at present (no name server answers)",
}
"""Number of an error -> what it means. Those of name look-ups are below zero."""


HDF5_NAME = re.compile(r"\bname = '(.*?)', errno = ")
"""The file in an error of the HDF5 library."""


def reason(error: BaseException) -> str:
    """Return why a system call failed, without the file; another error as its text."""
    number = getattr(error, "errno", None)
    return REASONS.get(number or 0) or getattr(error, "strerror", None) or str(error)


def plain_os_error(error: OSError) -> str:
    """Return an error of the system as ``file: reason``; one with a text of its own as it is."""
    if error.errno is None or error.strerror is None:
        return str(error)
    names = [name for name in (error.filename, error.filename2) if name is not None]
    if not names and (named := HDF5_NAME.search(error.strerror)):
        names = [named[1]]
    if not names:
        return reason(error)
    return f"{' -> '.join(map(_text, names))}: {reason(error)}"


def _text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)
