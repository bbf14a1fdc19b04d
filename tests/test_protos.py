"""The committed stubs are what the protos generate, byte for byte, and every rpc and field says what it is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROTOS = ROOT / "protos"


def test_stubs_are_generated_from_the_protos(tmp_path: Path) -> None:
    sources = sorted(str(path) for path in PROTOS.rglob("*.proto"))
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc", "-I", str(PROTOS), f"--python_out={tmp_path}",
            f"--pyi_out={tmp_path}", f"--grpc_python_out={tmp_path}", *sources,
        ],
        check=True, timeout=120,
    )  # fmt: skip
    generated = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert generated
    for path in generated:
        assert (tmp_path / path).read_bytes() == (PROTOS / path).read_bytes(), f"{path} is stale: run make protos"


def test_every_rpc_message_and_field_is_commented() -> None:
    for path in PROTOS.rglob("*.proto"):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if re.match(r"\s*(rpc|message|enum|extend|service|oneof)\b|\s+[\w<>., ]+ = \d+( \[.*\])?;", line):
                assert lines[number - 1].lstrip().startswith("//"), f"{path.name}:{number + 1} has no comment: {line}"


def test_every_rpc_has_messages_of_its_own() -> None:
    for path in PROTOS.rglob("*.proto"):
        messages = re.findall(r"rpc \w+\((?:stream )?(\w+)\) returns \((?:stream )?(\w+)\)", path.read_text())
        names = [name for pair in messages for name in pair]
        assert len(names) == len(set(names))
