"""Programs that end with us, whatever ends us."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def _when_parent_ends(number):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


def end_with_us():
    """Runs in a new process before its program: not even kill -9 of this tool leaves it behind."""
    _when_parent_ends(signal.SIGTERM)


def killed_with_us():
    """The same for a program that ignores the polite signal."""
    _when_parent_ends(signal.SIGKILL)


def tie_to_parent():
    """Ends this process, by a signal that it cleans up after, when the one that started it is gone."""
    parent = os.getppid()
    end_with_us()
    if os.getppid() != parent:
        raise SystemExit(128 + signal.SIGTERM)
