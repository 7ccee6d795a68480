"""Writes the archive format of an initial file system ("newc"), which may be concatenated."""

import stat


class Archive:
    """Entries in the order given; folders before what lies in them."""

    def __init__(self):
        self.parts = []
        self.inode = 0

    def _entry(self, name, mode, data):
        self.inode += 1
        raw = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + raw
        self.parts += [head, b"\0" * (-len(head) % 4), data, b"\0" * (-len(data) % 4)]

    def folder(self, name):
        """A folder, mode 0755."""
        self._entry(name, stat.S_IFDIR | 0o755, b"")

    def file(self, name, data, mode):
        """A regular file."""
        self._entry(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        """A symbolic link."""
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def bytes(self):
        """The whole archive, padded so that another may follow."""
        self._entry("TRAILER!!!", 0, b"")
        data = b"".join(self.parts)
        return data + b"\0" * (-len(data) % 512)
