"""The command line of the tool."""

import argparse
import shutil
import signal
import sys

from . import build
from .machine import Machine, accelerator
from .process import tie_to_parent
from .recipe import Recipe, Trouble, cache_dir, names

DESCRIPTION = """\
Builds (once) and boots the machine with real ZFS and pure cgroup v2 in which the tests run.

Layers and images are kept in $ZONES_VM_CACHE (else ~/.cache/zones-vm), named by a hash of their recipe.
$ZONES_VM_MIRROR overrides the mirror of the host's apt configuration, $ZONES_VM_ACCEL=kvm|tcg the probe,
$ZONES_VM_MEMORY (MiB) and $ZONES_VM_CPUS the size of the machine."""


def parser():
    p = argparse.ArgumentParser(prog="vm", description=DESCRIPTION,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--tied", action="store_true", help="end when the program that started this has ended")
    sub = p.add_subparsers(dest="command", required=True)
    one = sub.add_parser("build", help="build images that are not there, in this order; print their folders")
    one.add_argument("--roots", action="store_true", help="then the systems for zones as well")
    one.add_argument("images", choices=names(), nargs="+")
    one = sub.add_parser("built", help="say by the exit status whether an image is there; build nothing")
    one.add_argument("image", choices=names())
    one = sub.add_parser("root", help="build a system for a zone if it is not there; print its tar file")
    one.add_argument("image", choices=names())
    one.add_argument("section", choices=["zone", "sysvinit"], nargs="?", default="zone", help="which of its systems")
    one = sub.add_parser("run", help="run SCRIPT in the machine; its output and exit status are those of vm")
    one.add_argument("image", choices=names())
    one.add_argument("script")
    one.add_argument("files", nargs="*", metavar="FILE[=NAME]", help="put into the script's folder, /work")
    one.add_argument("--arg", action="append", default=[], help="an argument of the script; may be repeated")
    one.add_argument("--results", metavar="DIR", help="where files that the script leaves in /out go")
    one.add_argument("--console", metavar="FILE", help="keep the kernel's messages here")
    one.add_argument("--timeout", type=int, default=900, metavar="SECONDS")
    one.add_argument("--memory", metavar="MIB")
    one = sub.add_parser("shell", help="a shell in the machine")
    one.add_argument("image", choices=names())
    one.add_argument("files", nargs="*", metavar="FILE[=NAME]")
    one.add_argument("--results", metavar="DIR")
    one = sub.add_parser("info", help="versions and accelerator of an image")
    one.add_argument("image", choices=names())
    sub.add_parser("clean", help="remove every layer and image from the cache")
    return p


def main(argv):
    """Returns the exit status; 125 when the machine itself failed."""
    args = parser().parse_args(argv)
    # Ending the tool ends the machine: the clean-up runs as after ^C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _: sys.exit(128 + n))
    try:
        if args.tied:
            tie_to_parent()
        return dispatch(args)
    except Trouble as e:
        print(f"vm: {e}", file=sys.stderr)
        return 125
    except KeyboardInterrupt:
        return 130


def dispatch(args):
    if args.command == "clean":
        for entry in cache_dir().iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        return 0
    if args.command == "build":
        for name in args.images:
            print(build.image(Recipe(name)), flush=True)
        for recipe in map(Recipe, args.images if args.roots else []):
            for section in recipe.roots():
                print(build.zone_root(recipe, section), flush=True)
        return 0
    if args.command == "built":
        return 0 if build.is_built(Recipe(args.image)) else 1
    if args.command == "root":
        print(build.zone_root(Recipe(args.image), args.section))
        return 0
    folder = build.image(Recipe(args.image))
    if args.command == "info":
        print((folder / "done").read_text() + f"accelerator {accelerator(folder)}")
        return 0
    if args.command == "shell":
        return shell(folder, args)
    return Machine(folder, script=args.script, files=args.files, arguments=args.arg, results=args.results,
                   timeout=args.timeout, console=args.console, memory=args.memory).run()


def shell(folder, args):
    """The terminal is the guest's while it runs: each key goes in as it is pressed."""
    import termios
    import tty
    saved = termios.tcgetattr(0) if sys.stdin.isatty() else None
    try:
        if saved:
            tty.setraw(0)
        return Machine(folder, files=args.files, shell=True, results=args.results).run()
    finally:
        if saved:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
