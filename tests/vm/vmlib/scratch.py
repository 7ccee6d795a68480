"""Folders that are gone afterwards, also those of a run that was killed with -9."""

import fcntl
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

PREFIX = "zones-vm-"
LOCK = ".zones-vm-lock"


@contextmanager
def scratch(parent=None):
    """Makes a folder for as long as it is used, and removes those that nobody uses any more."""
    parent = Path(parent or tempfile.gettempdir())
    sweep(parent)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        path.chmod(0o755)
        with open(path / LOCK, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield path
    finally:
        # Processes that were killed may still be ending, and write until then.
        for _ in range(50):
            shutil.rmtree(path, ignore_errors=True)
            if not path.exists():
                break
            time.sleep(0.1)


def sweep(parent):
    """A folder whose lock can be had belongs to a run that is no more."""
    for lock in parent.glob(f"{PREFIX}*/{LOCK}"):
        try:
            with open(lock) as f:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:
            continue
