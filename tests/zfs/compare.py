"""Holds the outcomes of both bindings against the table. Usage: compare.py CASES FOLDER"""

import json
import sys
from pathlib import Path


def lines(path):
    with open(path) as f:
        return [json.loads(line) for line in f if line.strip() and not line.startswith("#")]


def main():
    cases, folder = lines(sys.argv[1]), Path(sys.argv[2])
    ours = {r["id"]: r["outcome"] for r in lines(folder / "ours")}
    theirs = {r["id"]: r["outcome"] for r in lines(folder / "pyzfs")}
    wrong = compared = good = 0
    for case in cases:
        name, expect = case["id"], case["expect"]
        other = case.get("pyzfs", expect)
        found = ours.get(name, "(no outcome)")
        if found != expect:
            wrong += 1
            print(f"{name}: expected {expect}, was {found}; pyzfs: {theirs.get(name)}")
        if other is not None:
            compared += case["call"] != "sh"
            if theirs.get(name) != other:
                wrong += 1
                print(f"{name}: pyzfs should have said {other}, said {theirs.get(name)}")
            good += case["call"] != "sh" and theirs.get(name) == found
    bare = {r["id"]: r["outcome"] for r in lines(folder / "bare")}
    without = lines(Path(sys.argv[1]).with_name("without-library.jsonl"))
    for case in without:
        if bare.get(case["id"]) != case["expect"]:
            wrong += 1
            print(f"{case['id']}: expected {case['expect']}, was {bare.get(case['id'])}")
    version = (folder / "version").read_text().split()[-1]
    print(f"{version}: {len(cases)} calls, {compared} compared with pyzfs, {good} of these alike, "
          f"{len(without)} without the library; {wrong} wrong")
    return 1 if wrong else 0


sys.exit(main())
