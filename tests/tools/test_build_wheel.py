# SPDX-License-Identifier: Apache-2.0
"""The wheel for 64-bit ARM: what is in it, and that it runs there as it does here.

EDGEQ_WHEEL names this machine's wheel of the same sources; without it the test builds one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from arm64_python import Arm64Python, arm64_python
from isas import forced_isa
from needs import needs_module, needs_program

import edgeq
from edgeq.device.toolchain import GLIBC
from edgeq.paths import demo_dir

ROOT = Path(__file__).resolve().parent.parent.parent
TAG = "cp311-abi3-manylinux_2_28_aarch64"
AARCH64 = 183  # e_machine of an ELF file
ISAS = {"cortex-a53": "neon", "cortex-a72": "neon", "cortex-a76": "dotprod", "max": "i8mm"}

pytestmark = pytest.mark.slow

PROGRAM = """
import json, platform, sys
import numpy as np
import edgeq
from edgeq.runtime.native import isa_names
model = edgeq.load(sys.argv[1])
found = {"machine": platform.machine(), "package": edgeq.__file__, "isas": isa_names(), "isa": model.native.isa}
inputs = np.load(sys.argv[2])
for threads in (1, 2):
    model.threads = threads
    results = [model.run_codes([codes], crcs=True) for codes in inputs]
    found[f"crcs{threads}"] = [result.step_crcs for result in results]
found["outputs"] = [result.outputs[0].tolist() for result in results]
found["reference"] = model.run_codes([inputs[0]], engine="reference").outputs[0].tolist()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs_module("ziglang")
    folder = tmp_path_factory.mktemp("wheels")
    given = os.environ.get("EDGEQ_WHEEL")
    if not given:
        needs_module("scikit_build_core")
        build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "-w", str(folder)]
        subprocess.run([*build, str(ROOT)], check=True)
        (found,) = folder.glob("edgeq-*.whl")
        given = str(found)
    tool = [sys.executable, str(ROOT / "tools/build_wheel.py"), given, "-o", str(folder / "arm")]
    made = Path(subprocess.run(tool, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout.strip())
    assert made == folder / "arm" / f"edgeq-{edgeq.__version__}-{TAG}.whl"
    return made


def test_the_wheel_holds_the_package_and_its_tag(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        binding = archive.read("edgeq/_native.abi3.so")
        about = archive.read(f"edgeq-{edgeq.__version__}.dist-info/WHEEL").decode()
    assert {"edgeq/py.typed", "edgeq/boards/host.toml", "edgeq/native/runtime/run.c"} <= names
    assert [name for name in names if name.endswith(".so")] == ["edgeq/_native.abi3.so"]
    assert re.findall(r"^Tag: (.*)$", about, re.MULTILINE) == [TAG]
    assert int.from_bytes(binding[18:20], "little") == AARCH64
    versions = {tuple(map(int, found.split(b"."))) for found in re.findall(rb"GLIBC_([\d.]+)", binding)}
    assert versions
    assert max(versions) <= tuple(map(int, GLIBC.split(".")))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Arm64Python, Path]:
    """The emulated Python and the folder that pip installed the wheel into, which checks its tags and hashes."""
    needs_program("qemu-aarch64")
    python, site = arm64_python(), tmp_path_factory.mktemp("site")
    python.install(wheel, site)
    return python, site


@pytest.mark.parametrize("cpu", ISAS)
def test_a_model_runs_there_as_it_does_here(cpu: str, installed: tuple[Arm64Python, Path], tmp_path: Path) -> None:
    python, site = installed
    model = edgeq.convert(demo_dir() / "digits_int8.tflite", board="raspberry-pi-4")
    model.save(tmp_path / "digits.eqm")
    shape = model.inputs[0].shape
    inputs = np.random.default_rng(3).integers(-128, 128, (4, *shape)).astype(np.int8)
    np.save(tmp_path / "inputs.npy", inputs)
    arguments = ["-P", "-c", PROGRAM, str(tmp_path / "digits.eqm"), str(tmp_path / "inputs.npy")]
    found = json.loads(python.run(cpu, arguments, site=site, variables={}))
    with forced_isa(None):
        expected = [model.run_codes([codes], crcs=True) for codes in inputs]
    crcs = [list(result.step_crcs) for result in expected]
    outputs = [result.outputs[0].tolist() for result in expected]
    assert (found["machine"], found["isa"]) == ("aarch64", ISAS[cpu])
    assert Path(found["package"]).is_relative_to(site)
    assert found["isas"][-1] == ISAS[cpu]
    assert (found["crcs1"], found["crcs2"], found["outputs"]) == (crcs, crcs, outputs)
    assert found["reference"] == outputs[0]
    forced = python.run(cpu, arguments, site=site, variables={"EDGEQ_ISA": "scalar"})
    assert json.loads(forced) == found | {"isa": "scalar"}
