"""What to do when a folder or file of hypura's cannot be written, by the system's error number."""

import errno

_NO_ROOM = "make room on that drive (its bytes, its inodes or this user's quota are used up)"
REMEDIES = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EROFS: "mount that file system for writing",
    errno.EACCES: "correct its permissions",
    errno.EPERM: "correct its permissions",
    errno.ENOTDIR: "move the file away that is where a folder must be",
    errno.EEXIST: "move the file away that is where a folder must be",
}
