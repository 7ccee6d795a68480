"""Boots an image from a throw-away overlay and runs one script in it."""

import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

from . import cpio
from .process import end_with_us
from .recipe import HERE, Trouble, cache_dir
from .scratch import scratch

PROBE_SECONDS = 12
# How often a machine is started whose emulator gives up before the guest has begun.
STARTS = 3
# The guest's last word on its console before its script runs.
BEGUN = b"zvm-script-begins"
MEMORY = os.environ.get("ZONES_VM_MEMORY", "2048")
CPUS = os.environ.get("ZONES_VM_CPUS", "2")


def accelerator(folder):
    """"kvm" when a guest really starts with it, else "tcg"; asked once per boot of the host."""
    given = os.environ.get("ZONES_VM_ACCEL")
    if given:
        return given
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    memo = cache_dir() / "accelerator"
    try:
        known, answer = memo.read_text().split()
        if known == boot_id:
            return answer
    except (OSError, ValueError):
        pass
    answer = "kvm" if starts_with_kvm(folder) else "tcg"
    memo.write_text(f"{boot_id} {answer}\n")
    return answer


def starts_with_kvm(folder):
    """/dev/kvm may exist and a guest hang in its firmware all the same: try, with a deadline."""
    with scratch() as temp:
        initrd = temp / "initrd"
        initrd.write_bytes((folder / "initrd").read_bytes() + guest_files())
        command = ["qemu-system-x86_64", *common("kvm", 512), "-no-reboot", "-kernel", str(folder / "vmlinuz"), "-initrd", str(initrd),
                   "-append", "console=ttyS0 panic=-1 zvm.probe", "-serial", "stdio", "-display", "none", "-net", "none"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS)
            return b"zvm-probe-good" in done.stdout
        except subprocess.TimeoutExpired:
            return False


def common(accel, memory):
    """What every machine gets."""
    speed = "kvm" if accel == "kvm" else "tcg,thread=multi,tb-size=512"
    cpu = "host" if accel == "kvm" else "max"
    return ["-nodefaults", "-no-user-config", "-machine", "q35", "-accel", speed, "-cpu", cpu, "-m", str(memory), "-smp", CPUS,
            "-device", "virtio-rng-pci"]


def guest_files():
    """The scripts of the guest, as an archive that follows the image's own: they are no part of its key."""
    archive = cpio.Archive()
    archive.file("init", (HERE / "guest" / "init").read_bytes(), 0o755)
    archive.file("boot-script", (HERE / "guest" / "boot").read_bytes(), 0o644)
    return archive.bytes()


def input_disk(path, script, files, arguments):
    """A tar archive as a raw disk: the script, the files by their names, and the command line."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        words = []
        if script is not None:
            name = Path(script).name
            tar.add(script, arcname=name, filter=runnable)
            words = [f"./{name}", *arguments]
        for item in files:
            host, _, inside = item.partition("=")
            tar.add(host, arcname=inside or Path(host).name, filter=owned_by_root)
        command = " ".join(shlex.quote(w) for w in words).encode() + b"\n"
        info = tarfile.TarInfo(".zvm-command")
        info.size, info.mode = len(command), 0o644
        tar.addfile(info, io.BytesIO(command))
    # A disk ends at a full sector, and the guest reads no further than the archive's end mark.
    size = path.stat().st_size
    os.truncate(path, size + (-size % (1 << 20)))


def owned_by_root(info):
    """Who owns a file on the host means nothing inside."""
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info


def runnable(info):
    """The script, whatever its mode here."""
    info.mode = 0o755
    return owned_by_root(info)


class NotBegun(Exception):
    """The emulator has aborted before the guest ran its script: nothing was tried, so starting again hides nothing."""


class Machine:
    """One boot; everything it makes lies in one temporary folder."""

    def __init__(self, folder, *, script=None, files=(), arguments=(), shell=False, results=None, timeout=900,
                 console=None, memory=None):
        self.folder, self.script, self.files, self.arguments = folder, script, files, arguments
        self.shell, self.results, self.timeout, self.console = shell, results, timeout, console
        self.memory = memory or MEMORY

    def run(self):
        """Returns the exit status of the script."""
        for start in range(1, STARTS + 1):
            with scratch() as temp:
                try:
                    return self._run(temp)
                except NotBegun as e:
                    if start == STARTS:
                        raise Trouble(str(e)) from e
                    print(f"vm: {e}; the machine is started again", file=sys.stderr, flush=True)

    def _run(self, temp):
        accel = accelerator(self.folder)
        initrd = temp / "initrd"
        initrd.write_bytes((self.folder / "initrd").read_bytes() + guest_files())
        disk = temp / "input.tar"
        input_disk(disk, self.script, self.files, self.arguments)
        console = temp / "console"
        for name in ("out", "err", "status", "results"):
            (temp / name).touch()
        words = f"console=ttyS0 panic=-1 mitigations=off quiet zvm.input=1{' zvm.shell' if self.shell else ''}"
        command = ["qemu-system-x86_64", *common(accel, self.memory), "-display", "none",
                   "-kernel", str(self.folder / "vmlinuz"), "-initrd", str(initrd), "-append", words,
                   # snapshot=on: writes go to an unlinked file of qemu's
                   "-drive", f"file={self.folder / 'root.img'},if=virtio,format=raw,snapshot=on,cache=unsafe",
                   "-drive", f"file={disk},if=virtio,format=raw,readonly=on",
                   "-serial", f"file:{console}", "-device", "virtio-serial-pci"]
        for name in ("out", "err", "status", "results"):
            command += ["-chardev", f"file,id={name},path={temp / name}",
                        "-device", f"virtserialport,chardev={name},name={name}"]
        if self.shell:
            command += ["-chardev", "stdio,id=tty,signal=off", "-device", "virtconsole,chardev=tty"]
        environ = dict(os.environ, TMPDIR=str(temp))
        stdin = None if self.shell else subprocess.DEVNULL
        qemu = subprocess.Popen(command, stdin=stdin, env=environ, preexec_fn=end_with_us)
        watchers = []
        if not self.shell:
            for name, stream in (("out", sys.stdout), ("err", sys.stderr)):
                watchers.append(threading.Thread(target=follow, args=(temp / name, stream.buffer, qemu)))
        for w in watchers:
            w.start()
        late = False
        try:
            qemu.wait(None if self.shell else self.timeout)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            if qemu.poll() is None:
                qemu.send_signal(signal.SIGTERM)
                qemu.wait()
            for w in watchers:
                w.join()
        if self.console:
            shutil.copy(console, self.console)
        # The emulator with a thread for each processor now and then fails an assertion of its own
        # (iotlb_to_section, qemu 10.0.2) while the firmware places the devices.
        if qemu.returncode == -signal.SIGABRT and not self.shell and BEGUN not in console.read_bytes():
            raise NotBegun("qemu has aborted before the script began")
        return self._outcome(temp, late)

    def _outcome(self, temp, late):
        status = (temp / "status").read_text().strip()
        if self.results and (temp / "results").stat().st_size:
            Path(self.results).mkdir(parents=True, exist_ok=True)
            with tarfile.open(temp / "results") as tar:
                tar.extractall(self.results, filter="data")
        tail = (temp / "console").read_bytes().decode(errors="replace").splitlines()[-30:]
        if status.isdigit():
            if status != "0" and tail:
                print("\n".join(["vm: the end of the machine's console:", *tail]), file=sys.stderr)
            return int(status)
        why = f"did not finish within {self.timeout} s" if late else "stopped before the script ended"
        raise Trouble("\n".join([f"the machine {why}; the end of its console:", *tail]))


def follow(path, stream, process):
    """Copies what grows in a file until its writer is gone."""
    with open(path, "rb") as f:
        while True:
            over = process.poll() is not None
            data = f.read()
            if data:
                stream.write(data)
                stream.flush()
            elif over:
                return
            else:
                time.sleep(0.05)
