# SPDX-License-Identifier: Apache-2.0
"""A Python for 64-bit ARM out of Debian's packages, unpacked into the cache and run through qemu-aarch64."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from needs import missing, needs_program

from edgeq.paths import cache_dir

PACKAGES = ("python3", "libstdc++6", "libgcc-s1")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
SECONDS = 600

_CONFIGURATION = """\
APT::Architecture "arm64";
APT::Architectures {{"arm64";}};
APT::Sandbox::User "root";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Acquire::Languages "none";
"""


@dataclass(frozen=True)
class Arm64Python:
    """The folder that its user space is unpacked in, and the interpreter in there."""

    root: Path
    interpreter: Path

    @property
    def version(self) -> str:
        """Its version as pip writes it, e.g. "3.11"."""
        return self.interpreter.name.removeprefix("python")

    def install(self, wheel: Path, folder: Path) -> None:
        """Install a wheel and what it depends on, as pip on that platform would."""
        platforms = [f"--platform={platform}" for platform in PLATFORMS]
        command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", f"--target={folder}"]
        options = ["--implementation=cp", f"--python-version={self.version}", "--only-binary=:all:"]
        _call([*command, *options, *platforms, str(wheel)])

    def run(self, cpu: str, arguments: Sequence[str], *, site: Path, variables: Mapping[str, str]) -> str:
        """Run the interpreter on an emulated CPU with the packages of a folder; return what it printed."""
        command = [needs_program("qemu-aarch64"), "-cpu", cpu, "-L", str(self.root), str(self.interpreter), *arguments]
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C.UTF-8"}
        return _call(command, environment | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", **variables})


def arm64_python() -> Arm64Python:
    """Return the Python of this Debian release for arm64, fetched once.

    Skips the test, or fails it in CI, on another system, without its tools, and where it cannot be fetched.
    """
    for program in ("apt-get", "dpkg", "qemu-aarch64"):
        needs_program(program)
    release = _release()
    root = cache_dir() / f"arm64-{release}"
    if not root.exists():
        with tempfile.TemporaryDirectory(prefix=".arm64-", dir=cache_dir()) as name:
            _fetch(Path(name), release)
            (Path(name) / "root").rename(root)
    interpreters = [path for path in (root / "usr/bin").iterdir() if re.fullmatch(r"python3\.\d+", path.name)]
    assert len(interpreters) == 1, interpreters
    return Arm64Python(root, interpreters[0])


def _release() -> str:
    """The name of this Debian release, e.g. "bookworm"."""
    about = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if about.get("ID") != "debian" or not about.get("VERSION_CODENAME"):
        missing("needs Debian, of which it takes the packages for arm64")
    return about["VERSION_CODENAME"]


def _fetch(folder: Path, release: str) -> None:
    """Download the packages with a state of apt's own and unpack them to ``folder/root``; nothing is installed."""
    for name in ("state/lists/partial", "cache/archives/partial", "root"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    source = f"deb [arch=arm64 signed-by={keyring}] {_mirror()} {release} main\n"
    (folder / "sources.list").write_text(source)
    (folder / "apt.conf").write_text(_CONFIGURATION.format(folder=folder))
    environment = {**os.environ, "APT_CONFIG": str(folder / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}
    options = ["-y", "--no-install-recommends", "--download-only"]
    try:
        _call(["apt-get", "update", "-qq"], environment)
        _call(["apt-get", "install", "-qq", *options, *PACKAGES], environment)
    except AssertionError as error:
        missing(f"needs Debian's packages for arm64, which cannot be fetched ({error})")
    for package in sorted((folder / "cache/archives").glob("*.deb")):
        _call(["dpkg", "-x", str(package), str(folder / "root")])


def _mirror() -> str:
    """The address that this machine's own apt asks for Debian's packages."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    text = "\n".join(path.read_text() for path in files if path.is_file())
    found = re.search(r"^(?:URIs:\s*|deb\s+(?:\[[^]]*\]\s+)?)(\S+)", text, re.MULTILINE)
    if found is None:
        missing("needs a source of Debian packages in /etc/apt")
    return found[1]


def _call(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}{done.stdout[-500:]}"
    return done.stdout
