"""Programs for coding from npm, with their default settings: a first message of 10,000 to 30,000 tokens is answered.

They are installed once into the cache folder, run in a home of their own, and find every other host behind a proxy
that is not there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hypura_client.sync import Client
from tests.compatibility.daemon import RunningDaemon, running_daemon
from tests.compatibility.long_model import CONTEXT_TOKENS, WORD, write_long_model

MODEL = "long:latest"
INSTALL_SECONDS = 300
ANSWER_SECONDS = 240
"""On two busy cores; alone it is about twenty."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME", tempfile.gettempdir())) / "hypura-test-agents"
NO_HOST = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    """One that has the long model, and has measured the machine."""
    with tempfile.TemporaryDirectory(prefix="hyp") as folder, running_daemon() as running:
        path = Path(folder) / "long.gguf"
        write_long_model(path)
        with Client(running.socket, timeout_seconds=ANSWER_SECONDS) as client:
            client.add(path, MODEL)
            client.profile(MODEL)
        yield running


def installed(package: str, binary: str) -> Path:
    """The program; the test is skipped where npm or the package cannot be had."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("there is no npm here")
    folder = CACHE / binary
    program = folder / "node_modules" / ".bin" / binary
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        try:
            made = subprocess.run(
                [npm, "install", "--no-audit", "--no-fund", package],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm did not bring {package} within {INSTALL_SECONDS} s")
        if made.returncode:
            pytest.skip(f"npm cannot bring {package}: {made.stderr[-300:]}")
    return program


def said(command: list[str | Path], home: Path, **environment: str) -> str:
    """What the program answers."""
    around = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".data"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), NO_HOST),
        "no_proxy": "127.0.0.1",
        "NO_PROXY": "127.0.0.1",
    }
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=home,
        env=around | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=ANSWER_SECONDS,
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return ended.stdout


def context_of(daemon: RunningDaemon) -> int:
    loaded = httpx.get(f"{daemon.address}/api/ps").json()["models"]
    return next(int(model["context_length"]) for model in loaded if model["name"] == MODEL)


@pytest.fixture
def home(tmp_path: Path, daemon: RunningDaemon) -> Path:
    """An empty home folder; no earlier request has loaded a larger context."""
    httpx.post(f"{daemon.address}/api/generate", json={"model": MODEL, "keep_alive": 0})
    (tmp_path / ".config").mkdir()
    return tmp_path


def test_claude_code(daemon: RunningDaemon, home: Path) -> None:
    assert WORD in claude_said(daemon, home, MODEL)
    assert 4096 < context_of(daemon) <= CONTEXT_TOKENS


def test_claude_code_knows_that_a_prompt_is_too_long(daemon: RunningDaemon, home: Path) -> None:
    """It reads both numbers out of the message."""
    with pytest.raises(AssertionError, match=r"Prompt is too long .* tokens \(limit 2047\)"):
        claude_said(daemon, home, "demo:latest")


def claude_said(daemon: RunningDaemon, home: Path, model: str) -> str:
    return said(
        [installed("@anthropic-ai/claude-code", "claude"), "-p", "hi"],
        home,
        ANTHROPIC_BASE_URL=daemon.address,
        ANTHROPIC_AUTH_TOKEN="none",
        ANTHROPIC_MODEL=model,
        ANTHROPIC_SMALL_FAST_MODEL=model,
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
    )


@pytest.mark.parametrize("oss", [False, True])
def test_codex(daemon: RunningDaemon, home: Path, oss: bool) -> None:
    """--oss looks at /api/version first."""
    codex = installed("@openai/codex", "codex")
    (home / ".codex").mkdir()
    if oss:
        chosen = ["--oss", "--local-provider", "ollama"]
    else:
        chosen = ["-c", "model_provider=hypura"]
        (home / ".codex" / "config.toml").write_text(
            f'[model_providers.hypura]\nname = "hypura"\nbase_url = "{daemon.address}/v1"\nwire_api = "responses"\n'
        )
    answer = said(
        [codex, "exec", *chosen, "-m", MODEL, "--skip-git-repo-check", "hi"],
        home,
        CODEX_HOME=str(home / ".codex"),
        CODEX_OSS_BASE_URL=f"{daemon.address}/v1",
    )
    assert WORD in answer
    assert context_of(daemon) > 4096


def test_codex_shortens_a_conversation_that_is_too_long(daemon: RunningDaemon, home: Path) -> None:
    """It says so by words of its own, and only where it knows the error."""
    codex = installed("@openai/codex", "codex")
    (home / ".codex").mkdir()
    with pytest.raises(AssertionError, match="ran out of room in the model's context window"):
        said(
            [codex, "exec", "--oss", "--local-provider", "ollama", "-m", "demo:latest", "--skip-git-repo-check", "hi"],
            home,
            CODEX_HOME=str(home / ".codex"),
            CODEX_OSS_BASE_URL=f"{daemon.address}/v1",
        )


def test_opencode(daemon: RunningDaemon, home: Path) -> None:
    opencode = installed("opencode-ai", "opencode")
    (home / ".config" / "opencode").mkdir()
    settings = {
        "model": "hypura/long",
        "small_model": "hypura/long",
        "provider": {
            "hypura": {
                "npm": "@ai-sdk/openai-compatible",
                "options": {"baseURL": f"{daemon.address}/v1"},
                "models": {"long": {"name": "long"}},
            }
        },
    }
    (home / ".config" / "opencode" / "opencode.json").write_text(json.dumps(settings))
    answer = said([opencode, "run", "hi"], home, OPENCODE_DISABLE_MODELS_FETCH="1", OPENCODE_DISABLE_AUTOUPDATE="1")
    assert WORD in answer
    assert context_of(daemon) > 4096
