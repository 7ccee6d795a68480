"""Builds an image from two layers that depend on nothing but their section of the recipe.

kernel     vmlinuz and /lib/modules with zfs.ko, compiled in a throw-away tree. We compile by hand and
           not through dkms: no debugging information, no signing, no copying, half the time.
userland   the tree of packages, without kernel and without compiler.
image      both together as an ext4 file, plus an initrd of busybox and the few modules needed to mount it.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from . import cpio
from .process import killed_with_us
from .recipe import Trouble, cache_dir, mirror, proxies
from .scratch import scratch

ROOT_SIZE = "3G"
# How often something is said while a layer is being built, in seconds.
HEARTBEAT = 60
NEEDED = ("virtio_pci", "virtio_blk", "virtio_console", "ext4", "crc32c_generic", "virtio_rng")

BUILD_ZFS = r"""
set -e
export KCFLAGS=-g0
headers=$(dpkg-query -W -f '${Depends}' @HEADERS@ | sed 's/ .*//;s/,.*//')
kver=${headers#linux-headers-}
mkdir -p /out /tmp/dl && cd /tmp/dl
apt-get download linux-image-$kver zfs-dkms/@ZFS_FROM@ >/dev/null
dpkg -x linux-image-$kver*.deb /out
dpkg -x zfs-dkms*.deb /tmp/zfs
cd /tmp/zfs/usr/src/zfs-*
common=$(ls -d /usr/src/linux-headers-*-common*)
# With it the build would want debugging information, to be turned into BTF.
rm -f /lib/modules/$kver/build/vmlinux
./configure --quiet --disable-dependency-tracking --prefix=/usr --with-config=kernel \
    --with-linux=$common --with-linux-obj=/lib/modules/$kver/build >/tmp/configure.log 2>&1 \
    || { tail -n 20 /tmp/configure.log; tail -n 20 build/*/build.log* 2>/dev/null; grep -B30 "^configure: failed program" config.log | tail -n 60; exit 1; }
make -s -j"$(nproc)" >/tmp/make.log 2>&1 || { tail -n 40 /tmp/make.log; exit 1; }
base=$(ls -d /out/lib/modules /out/usr/lib/modules 2>/dev/null | head -n 1)
mkdir -p $base/$kver/updates
cp module/*.ko $base/$kver/updates/ 2>/dev/null || true
find module -name '*.ko' -exec cp {} $base/$kver/updates/ \;
test -s $base/$kver/updates/zfs.ko
echo $kver >/out/kver
sed -n 's/^Version: *//p' META >/out/zfs-version
rm -rf /out/usr/share
"""


# The programs that build at this moment; none is started any more once building is given up.
running = set()
given_up = threading.Event()


def say(text):
    """One line of progress, on stderr: stdout belongs to the tests."""
    print(f"vm: {text}", file=sys.stderr, flush=True)


@contextmanager
def locked(path, waiting):
    """Two runs at once build once."""
    with open(path, "w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(waiting)
            fcntl.flock(f, fcntl.LOCK_EX)
        yield


def work_dir():
    """Where a tree is put together: memory when there is enough, for fsync costs nothing there."""
    shm = Path("/dev/shm")
    try:
        free = os.statvfs(shm)
        with open("/proc/meminfo") as f:
            available = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable"))
        if free.f_bavail * free.f_frsize > 6 << 30 and available > 8 << 20:
            return shm
    except (OSError, StopIteration):
        pass
    return cache_dir()


def mmdebstrap(section, packages, target, *, hooks=(), fmt="null"):
    """Runs mmdebstrap for one layer; its log is kept for the error message."""
    uri = mirror()
    parts = " ".join(section["components"])
    sources = "".join(f"deb {uri} {suite} {parts}\n" for suite in section["suites"])
    # In namespaces of its own: its mounts are never the host's, and killing the first process ends all.
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc",
               "mmdebstrap", f"--variant={section.get('variant', 'apt')}", f"--format={fmt}", "--mode=root", "--architectures=amd64",
               "--quiet",
               "--aptopt=Acquire::Languages \"none\"",
               "--dpkgopt=force-unsafe-io",
               "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
               "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/info/*",
               f"--include={','.join(packages)}"]
    command += [f"--aptopt={line}" for line in proxies()]
    command += [f"--{hook}" for hook in hooks]
    command += [section["suites"][0], str(target), "-"]
    with scratch(cache_dir()) as temp:
        if given_up.is_set():
            raise Trouble("given up")
        environ = dict(os.environ, LC_ALL="C.UTF-8", DEBIAN_FRONTEND="noninteractive", TMPDIR=str(temp))
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True, env=environ, preexec_fn=killed_with_us)
        running.add(child)
        # Returns when the last process that could still write into the tree has ended.
        log, _ = child.communicate(sources)
        running.discard(child)
        if child.returncode != 0:
            raise Trouble("\n".join(["mmdebstrap failed:", *log.splitlines()[-40:]]))


def pins(section):
    """A setup hook that prefers a suite for the packages listed under it."""
    text = ""
    for suite, packages in section.get("pinned", {}).items():
        text += f"Package: {' '.join(packages)}\\nPin: release n={suite}\\nPin-Priority: 900\\n\\n"
    return (f"setup-hook=mkdir -p \"$1/etc/apt/preferences.d\"; "
            f"printf '{text}' >\"$1/etc/apt/preferences.d/image\"")


def build_kernel(recipe, out):
    """The kernel and its modules, as a tar file."""
    k = recipe.kernel
    script = BUILD_ZFS.replace("@HEADERS@", k["headers"]).replace("@ZFS_FROM@", k["zfs_from"])
    with scratch(cache_dir()) as temp:
        path = temp / "build.sh"
        path.write_text(script)
        # The build runs while apt still works in the tree, before the last clean-up.
        mmdebstrap(k, k["tools"] + [k["headers"]], "-", hooks=[
            f"customize-hook=upload {path} /build.sh",
            "customize-hook=chroot \"$1\" sh /build.sh",
            f"customize-hook=tar -C \"$1/out\" -cf {out} .",
        ])


def build_userland(recipe, out):
    """The packages of the tests, as a tar file."""
    u = recipe.userland
    mmdebstrap(u, u["packages"], out, hooks=[pins(u)], fmt="tar")


def build_zone(section):
    """What makes a system for a zone, as a tar file."""
    def build(recipe, out):
        parts = getattr(recipe, section)
        mmdebstrap(parts, parts["packages"], out, fmt="tar")
    return build


def layer(recipe, section, build):
    """Makes one layer if it is not there."""
    path = cache_dir() / f"{recipe.key(section)}.tar"
    if path.exists():
        return
    begun = time.monotonic()
    part = path.with_suffix(".part.tar")
    try:
        build(recipe, part)
        part.rename(path)
        say(f"{section} of {recipe.name}: built in {time.monotonic() - begun:.0f} s")
    finally:
        part.unlink(missing_ok=True)


def layers(recipe):
    """Makes both layers at the same time, and says now and then that it is still at it."""
    begun = said = time.monotonic()
    with ThreadPoolExecutor() as pool:
        tasks = {pool.submit(layer, recipe, "kernel", build_kernel): "kernel",
                 pool.submit(layer, recipe, "userland", build_userland): "userland"}
        try:
            left = tasks.keys()
            while left:
                done, left = wait(left, timeout=1, return_when=FIRST_COMPLETED)
                for task in done:
                    task.result()
                if left and time.monotonic() - said > HEARTBEAT:
                    said = time.monotonic()
                    at_work = " and ".join(tasks[task] for task in left)
                    say(f"image {recipe.name}: at work on {at_work} for {said - begun:.0f} s")
        except BaseException:
            # One that failed makes the other useless, and so does ^C.
            given_up.set()
            for child in list(running):
                child.kill()
            raise


def check_tools():
    """Says what to install before anything is started."""
    missing = [t for t in ("mmdebstrap", "mke2fs", "qemu-system-x86_64") if not shutil.which(t)]
    if missing:
        raise Trouble(f"not installed: {', '.join(missing)}. Install mmdebstrap, e2fsprogs and qemu-system-x86 "
                      "(from backports where qemu-utils comes from there)")


def is_built(recipe):
    """Says whether an image is there."""
    return (cache_dir() / recipe.image_key() / "done").exists()


def image(recipe):
    """The folder with root.img, vmlinuz and initrd of an image; builds what is missing."""
    folder = cache_dir() / recipe.image_key()
    if is_built(recipe):
        return folder
    check_tools()
    with locked(cache_dir() / f".lock-{recipe.name}", f"waiting for the image {recipe.name}, which is being built"):
        if is_built(recipe):
            return folder
        if os.geteuid() != 0:
            raise Trouble("an image is built by root: run it once as root")
        begun = time.monotonic()
        say(f"building the image {recipe.name}; the parts are kept in {cache_dir()}")
        layers(recipe)
        compose(recipe, folder)
        say(f"image {recipe.name}: ready after {time.monotonic() - begun:.0f} s")
    return folder


def zone_root(recipe, section):
    """The tar file of a system for a zone; builds it if it is not there."""
    if not getattr(recipe, section):
        raise Trouble(f"the image {recipe.name} has no section {section}")
    path = cache_dir() / f"{recipe.key(section)}.tar"
    if path.exists():
        return path
    if not shutil.which("mmdebstrap"):
        raise Trouble("not installed: mmdebstrap")
    if os.geteuid() != 0:
        raise Trouble("a system for a zone is built by root: run it once as root")
    with locked(cache_dir() / f".lock-{recipe.name}-zone", f"waiting for the zone's system {recipe.name}, which is "
                "being built"):
        layer(recipe, section, build_zone(section))
    return path


def compose(recipe, folder):
    """Puts the layers together."""
    with scratch(work_dir()) as work:
        tree = work / "tree"
        tree.mkdir()
        extract = ["tar", "-C", str(tree), "--numeric-owner", "--xattrs", "-xf"]
        subprocess.run([*extract, str(cache_dir() / f"{recipe.key('userland')}.tar")], check=True)
        # /lib is a link to usr/lib in the tree and must stay one.
        subprocess.run([*extract, str(cache_dir() / f"{recipe.key('kernel')}.tar"), "--keep-directory-symlink"],
                       check=True)
        kver = (tree / "kver").read_text().strip()
        subprocess.run(["chroot", str(tree), "depmod", kver], check=True)
        mtab = tree / "etc" / "mtab"
        mtab.unlink(missing_ok=True)
        mtab.symlink_to("/proc/self/mounts")
        (tree / "etc" / "hostname").write_text("zvm\n")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy(next((tree / "boot").glob("vmlinuz-*")), folder / "vmlinuz")
        initrd(tree, kver, folder / "initrd")
        shutil.rmtree(tree / "boot")
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard",
                        "-m", "0", "-d", str(tree), str(folder / "root.img"), ROOT_SIZE], check=True)
        versions = f"zfs {(tree / 'zfs-version').read_text().strip()}\nkernel {kver}\n"
        (folder / "done").write_text(versions)


def initrd(tree, kver, out):
    """Busybox and the modules for the root disk, in the order of loading."""
    base = tree / "lib" / "modules" / kver
    deps = {}
    for line in (base / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        deps[path] = rest.split()
    by_name = {Path(p).name.split(".ko")[0].replace("-", "_"): p for p in deps}
    order = []
    for name in NEEDED:
        path = by_name.get(name)
        if path is None:
            continue  # built into the kernel
        for p in [*reversed(deps[path]), path]:
            if p not in order:
                order.append(p)
    archive = cpio.Archive()
    for name in ("bin", "modules", "proc", "sys", "dev", "root"):
        archive.folder(name)
    archive.file("bin/busybox", (tree / "usr/bin/busybox").read_bytes(), 0o755)
    archive.link("bin/sh", "busybox")
    for p in order:
        archive.file(f"modules/{Path(p).name}", plain(base / p), 0o644)
    archive.file("modules/order", "".join(f"{Path(p).name}\n" for p in order).encode(), 0o644)
    out.write_bytes(archive.bytes())


def plain(path):
    """A module's bytes, unpacked: busybox cannot."""
    if path.suffix == ".xz":
        import lzma
        return lzma.decompress(path.read_bytes())
    return path.read_bytes()
