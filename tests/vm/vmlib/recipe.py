"""What an image is made of, and the names under which its layers are kept."""

import hashlib
import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent

# Raised when the way of building changes, so that old layers are not taken for new ones.
LAYOUT = 1


class Trouble(Exception):
    """Something the user can put right; shown as one sentence."""


def cache_dir():
    """The folder of built layers; nothing else is kept between runs."""
    given = os.environ.get("ZONES_VM_CACHE")
    path = Path(given) if given else Path.home() / ".cache" / "zones-vm"
    path.mkdir(parents=True, exist_ok=True)
    return path


class Recipe:
    """One image: its sections and the key of each layer."""

    def __init__(self, name):
        path = HERE / "images" / f"{name}.toml"
        if not path.is_file():
            raise Trouble(f"no image '{name}': there are {', '.join(names())}")
        self.name = name
        with open(path, "rb") as f:
            sections = tomllib.load(f)
        self.kernel = sections["kernel"]
        self.userland = sections["userland"]
        self.zone = sections["zone"]
        self.sysvinit = sections.get("sysvinit")

    def roots(self):
        """The sections that are systems for zones."""
        return [section for section in ("zone", "sysvinit") if getattr(self, section)]

    def key(self, section):
        """The name of a layer: same recipe, same name."""
        text = json.dumps([LAYOUT, getattr(self, section)], sort_keys=True)
        return f"{self.name}-{section}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def image_key(self):
        """The name of the composed image."""
        both = self.key("kernel") + self.key("userland")
        return f"{self.name}-image-{hashlib.sha256(both.encode()).hexdigest()[:12]}"


def names():
    """The images that have a recipe."""
    return sorted(p.stem for p in (HERE / "images").glob("*.toml"))


def mirror():
    """The package mirror of this host, from its own configuration."""
    given = os.environ.get("ZONES_VM_MIRROR")
    if given:
        return given
    if not shutil.which("apt-get"):
        raise Trouble("no apt-get here: name a Debian mirror in ZONES_VM_MIRROR")
    out = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)", "Created-By: Packages"],
        check=True, capture_output=True, text=True).stdout
    for line in out.splitlines():
        release, component, uri = line.split(" ", 2)
        # Security archives have other suites; every real mirror carries the plain release.
        if component == "main" and "-" not in release:
            return uri
    raise Trouble("no Debian mirror in this host's apt configuration: name one in ZONES_VM_MIRROR")


def proxies():
    """The host's apt settings that decide whether a mirror can be reached."""
    if not shutil.which("apt-config"):
        return []
    out = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True).stdout
    return [line for line in out.splitlines() if "roxy" in line and not line.endswith('"";')]
