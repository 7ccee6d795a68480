"""Makes the calls of cases.jsonl through the Python binding; prints each outcome as a line of JSON."""

import json
import os
import subprocess
import sys

import libzfs_core as lzc
from libzfs_core import exceptions

SPECIAL = {"create", "hold", "release", "send", "send_space", "receive", "channel_program"}


def data(text):
    """Names and values are bytes in the binding."""
    return text.encode() if isinstance(text, str) else text


def props(case, field="props"):
    return {data(k): data(v) for k, v in case.get(field, {}).items()}


def key(case):
    return bytes.fromhex(case["key"]) if "key" in case else None


def words(names):
    return "ok:" + " ".join(sorted(n.decode() for n in names))


def create(case):
    lzc.lzc_create(data(case["name"]), case.get("kind", "zfs"), props(case), key(case))
    return "ok"


def hold(case):
    fd = os.open(case["cleanup"], os.O_RDWR) if "cleanup" in case else None
    try:
        return words(lzc.lzc_hold({data(k): data(v) for k, v in case["holds"].items()}, fd))
    finally:
        if fd is not None:
            os.close(fd)


def release(case):
    return words(lzc.lzc_release({data(k): [data(t) for t in v] for k, v in case["holds"].items()}))


def send(case):
    fd = os.open(case["file"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        if "resume" in case:
            lzc.lzc_send_resume(data(case["snapshot"]), data(case.get("from")), fd, case.get("flags", []), *case["resume"])
        else:
            lzc.lzc_send(data(case["snapshot"]), data(case.get("from")), fd, case.get("flags", []))
        return "ok"
    finally:
        os.close(fd)


def send_space(case):
    size = lzc.lzc_send_space(data(case["snapshot"]), data(case.get("from")), case.get("flags", []))
    return "ok:number" if isinstance(size, int) else repr(size)


def receive(case):
    how, snapshot = case.get("how", "receive"), data(case["snapshot"])
    with open(case["file"], "rb", buffering=0) as f:
        fd, force, p = f.fileno(), case.get("force", False), props(case)
        if how == "receive":
            lzc.lzc_receive(snapshot, fd, force, False, None, p)
        elif how == "resumable":
            lzc.lzc_receive_resumable(snapshot, fd, force, False, None, p)
        else:
            (_, record) = lzc.receive_header(fd)
            if how == "header":
                lzc.lzc_receive_with_header(snapshot, fd, record, force, False, False, None, p)
            elif how == "one":
                lzc.lzc_receive_one(snapshot, fd, record, force, False, False, None, p)
            elif how == "cmdprops":
                lzc.lzc_receive_with_cmdprops(snapshot, fd, record, force, False, False, None, p,
                                              props(case, "cmdprops"))
            else:
                lzc.lzc_receive_with_heal(snapshot, fd, record, force, True, False, False, None, p)
    return "ok"


def channel_program(case):
    # The binding cannot pass an empty list: there is always an argument.
    call = lzc.lzc_channel_program_nosync if case.get("nosync") else lzc.lzc_channel_program
    value = call(data(case["pool"]), data(case["program"]), case.get("instructions", 10000000),
                 case.get("memory", 10 << 20), [data(a) for a in case.get("argv", ["-"])])
    if isinstance(value, bool):
        value = str(value).lower()
    return "ok:" + ("" if value is None else value.decode() if isinstance(value, bytes) else str(value))


def bookmarks(case):
    found = lzc.lzc_get_bookmarks(data(case["name"]), [data(p) for p in case["props"]])
    each = sorted(f"{name.decode()}({','.join(sorted(p.decode() for p in have))})" for name, have in found.items())
    return "ok:" + " ".join(each)


def plain(case):
    """Calls that take names and answer with nothing, a truth value, a name or a number."""
    call = case["call"]
    fields = {
        "clone": (lzc.lzc_clone, ["name", "origin"]),
        "promote": (lzc.lzc_promote, ["name"]),
        "rename": (lzc.lzc_rename, ["name", "to"]),
        "destroy": (lzc.lzc_destroy, ["name"]),
        "exists": (lzc.lzc_exists, ["name"]),
        "rollback": (lzc.lzc_rollback, ["name"]),
        "rollback_to": (lzc.lzc_rollback_to, ["name", "snapshot"]),
        "unload_key": (lzc.lzc_unload_key, ["name"]),
        "snaprange_space": (lzc.lzc_snaprange_space, ["first", "last"]),
        "checkpoint": (lzc.lzc_pool_checkpoint, ["pool"]),
        "checkpoint_discard": (lzc.lzc_pool_checkpoint_discard, ["pool"]),
        "reopen": (lzc.lzc_reopen, ["pool"]),
        "sync": (lzc.lzc_sync, ["pool"]),
    }
    function, names = fields[call]
    arguments = [data(case[n]) for n in names]
    if call == "clone":
        arguments.append(props(case))
    if call == "sync":
        arguments.append(case.get("force", False))
    value = function(*arguments)
    if value is None:
        return "ok"
    if isinstance(value, bool):
        return "ok:" + str(value).lower()
    return "ok:" + (value.decode() if isinstance(value, bytes) else "number")


def make(case):
    call = case["call"]
    if call == "sh":
        return "ok" if subprocess.run(["sh", "-c", case["command"]]).returncode == 0 else "failed"
    if call in SPECIAL:
        return globals()[call](case)
    if call == "snapshot":
        lzc.lzc_snapshot([data(s) for s in case["snaps"]], props(case))
        return "ok"
    if call == "destroy_snaps":
        lzc.lzc_destroy_snaps([data(s) for s in case["snaps"]], case.get("defer", False))
        return "ok"
    if call == "bookmark":
        lzc.lzc_bookmark({data(k): data(v) for k, v in case["bookmarks"].items()})
        return "ok"
    if call == "destroy_bookmarks":
        lzc.lzc_destroy_bookmarks([data(b) for b in case["bookmarks"]])
        return "ok"
    if call == "get_bookmarks":
        return bookmarks(case)
    if call == "get_holds":
        return words(lzc.lzc_get_holds(data(case["name"])))
    if call == "load_key":
        lzc.lzc_load_key(data(case["name"]), case.get("noop", False), key(case))
        return "ok"
    if call == "change_key":
        lzc.lzc_change_key(data(case["name"]), case["change"], props(case), key(case))
        return "ok"
    return plain(case)


def outcome(case):
    try:
        return make(case)
    except exceptions.MultipleOperationsFailure as e:
        return f"{type(e).__name__}[{','.join(sorted(type(x).__name__ for x in e.errors))}]"
    except exceptions.ZFSError as e:
        return type(e).__name__
    except Exception as e:  # a fault of the binding itself is an outcome, too
        return f"{type(e).__name__}: {e}"


def main():
    with open(sys.argv[1]) as f:
        for line in f:
            if not line.strip() or line.startswith("#"):
                continue
            case = json.loads(line.replace("LONG", "x" * 300))
            if case.get("pyzfs", "") is None:
                continue
            print(json.dumps({"id": case["id"], "outcome": outcome(case)}), flush=True)


main()
