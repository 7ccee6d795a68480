"""Builds and boots the machine in which the tests with real ZFS run."""
