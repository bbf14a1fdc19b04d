"""The daemon under test, its models, and the handles by which faults reach them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psutil

from hypura.v1 import control_pb2 as control
from hypura_client.bench import cgroup
from hypura_client.errors import HypuraError
from hypura_client.sync import Client
from tests.models.writer import write_synthetic_model

MODELS = (("moe-a", "tiny-moe", 1), ("moe-b", "tiny-moe", 2), ("dense", "tiny-dense", 3))
"""Name, shape and seed of each."""
WEIGHT_CACHE_PERCENT = 30.0
START_SECONDS = 60.0
QUIET_SECONDS = 60.0
ANSWER_STALL_SECONDS = 20.0
CLIENT_STALL_SECONDS = 3.0


@dataclass(slots=True)
class World:
    """One daemon in a folder of its own. faults: what preload.c reads."""

    folder: Path
    random: Random
    daemon: subprocess.Popen[bytes] = field(init=False)
    cage: cgroup.MemoryCgroup | None = None
    broken: list[str] = field(default_factory=list)  # Promises that a fault itself saw broken.

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def faults(self) -> Path:
        return self.folder / "faults"

    @property
    def log(self) -> Path:
        return self.folder / "daemon.log"

    def confine(self, limit_bytes: int) -> str:
        """Put the daemon and its workers into a cgroup from the next start on; why not, or nothing."""
        try:
            self.cage = cgroup.make(limit_bytes)
        except cgroup.NoCgroup as error:
            return str(error)
        return ""

    def model_file(self, name: str) -> Path:
        return self.folder / "models" / f"{name}.gguf"

    def pristine_file(self, name: str) -> Path:
        return self.folder / "pristine" / f"{name}.gguf"

    def client(self, timeout_seconds: float | None = None) -> Client:
        """A connection of its own to the control socket."""
        return Client(self.home / "run" / "control.sock", timeout_seconds=timeout_seconds)

    def start(self, *flags: str) -> None:
        """Write the models, build the shim, run the daemon, register and load each model once."""
        for folder in ("models", "pristine", "home"):
            (self.folder / folder).mkdir(exist_ok=True)
        for name, shape, seed in MODELS:
            write_synthetic_model(shape, self.pristine_file(name), seed=seed)
            shutil.copyfile(self.pristine_file(name), self.model_file(name))
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HYPURA_")} | {
            "HYPURA_HOME": str(self.home),
            "HYPURA_HTTP": "127.0.0.1:0",
            "HYPURA_FAULTS": str(self.faults),
            "HYPURA_ANSWER_STALL_SECONDS": str(ANSWER_STALL_SECONDS),
            "HYPURA_CLIENT_STALL_SECONDS": str(CLIENT_STALL_SECONDS),
            "HYPURA_LOG_LEVEL": "info",
            "LD_PRELOAD": str(self._shim()),
        }
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", "hypura_daemon", *flags]
            prefix = self.cage.prefix if self.cage is not None else ()
            self.daemon = subprocess.Popen([*prefix, *command], env=environment, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with self.client() as client:
                    for name, _, _ in MODELS:
                        client.add(self.model_file(name), name)
                return
            except HypuraError:
                if self.daemon.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self.log.read_text()) from None
                time.sleep(0.1)

    def options(self) -> control.LoadOptions:
        """Exact, so that an answer has the same tokens whatever else runs; streamed, so that reads matter."""
        return control.LoadOptions(exact=True, weight_cache_percent=WEIGHT_CACHE_PERCENT, context_tokens=512)

    def load_all(self) -> None:
        """Load each model once with the options; they are kept until it is unloaded by name."""
        with self.client(START_SECONDS) as client:
            for name, _, _ in MODELS:
                client.load(name, self.options())

    def need_bytes(self) -> int:
        """What the largest of the models is given when it is loaded."""
        with self.client() as client:
            return max(client.plan(name, self.options()).plan.memory_limit_bytes for name, _, _ in MODELS)

    def workers(self) -> list[psutil.Process]:
        """The daemon's children that hold models; the one that renders templates ends by itself."""
        return [child for child in psutil.Process(self.daemon.pid).children() if "hypura_worker" in _command(child)]

    def say(self, fault: str) -> None:
        """Have the shim do something; nothing for an empty word."""
        if not fault:
            self.faults.unlink(missing_ok=True)
            return
        fresh = self.faults.with_suffix(".new")
        fresh.write_text(fault)
        fresh.replace(self.faults)

    def restore(self, name: str) -> None:
        """The model's file as it was written, as a new file in its place."""
        fresh = self.model_file(name).with_suffix(".new")
        shutil.copyfile(self.pristine_file(name), fresh)
        fresh.replace(self.model_file(name))

    def descriptors(self) -> int:
        return psutil.Process(self.daemon.pid).num_fds()

    def http_port(self) -> int:
        """The gateway's."""
        with self.client(30) as client:
            return int(client.status().daemon.http_address.rpartition(":")[2])

    def rss_bytes(self) -> int:
        return int(psutil.Process(self.daemon.pid).memory_info().rss)

    def sockets(self) -> Sequence[str]:
        """The sockets in its folder."""
        return sorted(path.name for path in (self.home / "run").iterdir() if path.is_socket())

    def calm(self) -> bool:
        """Unload everything and wait until no worker is left; False when one is."""
        with self.client(30) as client:
            for name, _, _ in MODELS:
                client.unload(name)
        deadline = time.monotonic() + QUIET_SECONDS
        while self.workers():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def end(self) -> int:
        """End the daemon; its exit code."""
        self.say("")
        self.daemon.terminate()
        try:
            return self.daemon.wait(60)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            return self.daemon.wait()

    def _shim(self) -> Path:
        shim = self.folder / "preload.so"
        source = Path(__file__).with_name("preload.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", shim, source, "-ldl"], check=True)
        return shim


def _command(process: psutil.Process) -> list[str]:
    """Empty for one that has just gone."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []
