"""`python -m tests.demo_model.train`: trains the demo model, prints its scores, and writes its weights.

    generators (processes) ──► Feed ──► step: forward, loss, backward, Muon and AdamW ──► checkpoint ──► weights, scores

Training stops by the clock: the learning rate and the quantisation noise follow the share of --minutes that
has passed. A run that finds a checkpoint in --out takes it up.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import torch
import torch.nn.functional as functional
from torch import Tensor

from tests.demo_model import checkpoint
from tests.demo_model.data.mixture import documents
from tests.demo_model.documents import Rows, packed
from tests.demo_model.exam import SUBJECTS, examine
from tests.demo_model.feed import Feed
from tests.demo_model.generation import torch_answerer
from tests.demo_model.loading import load_model
from tests.demo_model.model import DemoModel, balance_loss, positions_of
from tests.demo_model.muon import Muon
from tests.demo_model.routing import router_statistics
from tests.demo_model.settings import SETTINGS, Setting, learning_rate_at, quantisation_at
from tests.demo_model.tokenizer import shipped
from tests.demo_model.weights import save_weights

_BALANCE_WEIGHT = 0.01
_CHECKPOINT_SECONDS = 90.0
_REPORT_SECONDS = 10.0
_STATISTICS_SEED = 30_000_001


def make_optimizers(model: DemoModel, setting: Setting, fused: bool) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers; AdamW for embedding, routers and norms, which alone are not decayed."""
    inside, outside, norms = [], [], []
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            norms.append(weight)
        elif name == "embedding" or name.endswith("router"):
            outside.append(weight)
        else:
            inside.append(weight)
    groups = [{"params": outside, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}]
    return [
        Muon(inside, lr=setting.learning_rate, weight_decay=0.05),
        torch.optim.AdamW(groups, lr=setting.learning_rate, betas=(0.9, 0.95), fused=fused),
    ]


def losses(
    model: torch.nn.Module,
    tokens: Tensor,
    document: Tensor,
    targets: Tensor,
    noise: Tensor,
    experts_used: int,
) -> tuple[Tensor, Tensor]:
    """Mean cross entropy over the targets, and the load-balancing loss. A token is predicted from the one before it."""
    logits, routings = model(tokens, document, positions_of(document), noise)
    labels = torch.where(targets[:, 1:], tokens[:, 1:], -100)
    entropy = functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), labels.flatten(), ignore_index=-100)
    return entropy, balance_loss(routings, experts_used)


def _on_device(rows: Rows, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    parts = (torch.from_numpy(rows.tokens), torch.from_numpy(rows.document), torch.from_numpy(rows.targets))
    tokens, document, targets = (part.to(device, non_blocking=True) for part in parts)
    return tokens.long(), document.long(), targets


class Training:
    """A model in training: one thread, one device."""

    def __init__(
        self, setting: Setting, folder: Path, minutes: float, device: torch.device, compiled: bool, seed: int
    ) -> None:
        torch.manual_seed(seed)
        torch.set_float32_matmul_precision("high")
        self.setting, self.folder, self.device, self.seed = setting, folder, device, seed
        self.limit_seconds = minutes * 60
        self.model = DemoModel(setting.shape).to(device)
        self.optimizers = make_optimizers(self.model, setting, fused=device.type == "cuda")
        self.progress = checkpoint.resume(folder, self.model, self.optimizers, device)
        self._losses = torch.compile(losses) if compiled else losses
        self._noise = torch.zeros((), device=device)

    def step(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """One optimizer step; the two losses, still on the device."""
        share = self.progress.seconds / self.limit_seconds
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(self.setting, share)
        self._noise.fill_(quantisation_at(self.setting, share))
        tokens, document, targets = _on_device(rows, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            entropy, balance = self._losses(
                self.model, tokens, document, targets, self._noise, self.setting.shape.experts_used
            )
        (entropy + _BALANCE_WEIGHT * balance).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        return entropy.detach(), balance.detach()

    def run(self, processes: int) -> None:
        """Trains until the time is up. The first step, which compiles, does not count."""
        setting = self.setting
        self.progress.runs += 1
        seed = self.seed * 100 + self.progress.runs
        with Feed(seed, setting.rows, setting.row_tokens, processes) as feed:
            begun = time.monotonic()
            self.step(feed.next())
            self._synchronise()
            print(f"first step after {time.monotonic() - begun:.0f} s", flush=True)
            last = reported = saved = time.monotonic()
            steps_reported = self.progress.step
            while self.progress.seconds < self.limit_seconds:
                entropy, balance = self.step(feed.next())
                now = time.monotonic()
                self.progress.seconds += now - last
                last = now
                if now - reported > _REPORT_SECONDS:
                    value, even = entropy.item(), balance.item()  # This waits for the device.
                    tokens = (self.progress.step - steps_reported) * setting.rows * setting.row_tokens
                    speed = tokens / (time.monotonic() - reported)
                    print(
                        f"{self.progress.seconds:6.0f} s  step {self.progress.step:6}  loss {value:.4f}  "
                        f"balance {even:.3f}  {speed:,.0f} tokens/s",
                        flush=True,
                    )
                    reported, steps_reported = time.monotonic(), self.progress.step
                if now - saved > _CHECKPOINT_SECONDS:
                    checkpoint.save(self.folder, self.model, self.optimizers, self.progress)
                    saved = time.monotonic()
        self._synchronise()
        checkpoint.save(self.folder, self.model, self.optimizers, self.progress)

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def finish(training: Training, exam_questions: int) -> None:
    """Writes weights, then scores and router statistics."""
    model, folder, device = training.model.eval(), training.folder, training.device
    arrays = {name: value.float().cpu().numpy() for name, value in model.state_dict().items()}
    paths = save_weights(folder, model.shape, arrays)
    print(f"wrote {', '.join(path.name for path in paths)} in {folder}", flush=True)
    tokenizer = shipped()
    blocks = list(islice(packed(documents(_STATISTICS_SEED), tokenizer, 4, training.setting.row_tokens), 8))
    statistics = router_statistics(model, blocks, device)
    print(statistics.table(), flush=True)
    new_tokens = 260 if device.type == "cuda" else 60
    result = examine(torch_answerer(model, tokenizer, device, new_tokens), list(SUBJECTS), exam_questions)
    print(result.table(), flush=True)
    for miss in result.misses[:: max(1, len(result.misses) // 40)]:
        asked, said = miss.conversation, miss.answer
        shown = said.text or [(call.name, call.arguments) for call in said.tool_calls]
        print(f"  missed {asked.kind}: {asked.asked[-1].content[-120:]!r} -> {shown!r} (wanted {asked.check.key!r})")
    scores = {
        "parameters": model.shape.parameters,
        "steps": training.progress.step,
        "tokens": training.progress.step * training.setting.rows * training.setting.row_tokens,
        "train_seconds": training.progress.seconds,
        "scores": [asdict(score) for score in result.scores],
        "expert_shares": statistics.shares,
        "reuse": statistics.reuse,
    }
    (folder / "scores.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.demo_model.train", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--setting", required=True, choices=list(SETTINGS))
    parser.add_argument("--out", required=True, type=Path, help="folder for the checkpoint, the weights and the scores")
    parser.add_argument(
        "--minutes", type=float, help="how long to train, the first step, evaluation and start-up not counted"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--processes", type=int, default=max(1, min(8, (os.cpu_count() or 2) - 1)), help="data generators"
    )
    parser.add_argument("--questions", type=int, help="exam questions per subject")
    parser.add_argument("--start", type=Path, help="begin with the weights in this folder, not with random ones")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-compile", action="store_true", help="do not use torch.compile")
    arguments = parser.parse_args()
    setting = SETTINGS[arguments.setting]
    minutes = setting.minutes if arguments.minutes is None else arguments.minutes
    if minutes <= 0 or arguments.processes < 1:
        print(
            f"--minutes is {minutes} and --processes {arguments.processes}; both must be positive",
            file=sys.stderr,
        )
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    compiled = setting.compiled and not arguments.no_compile
    training = Training(setting, arguments.out, minutes, torch.device(arguments.device), compiled, arguments.seed)
    if arguments.start is not None and training.progress.step == 0:
        training.model.load_state_dict(load_model(arguments.start, training.device).state_dict())
    print(
        f"{setting.shape.parameters / 1e6:.1f} M parameters, from step {training.progress.step}, {minutes:g} minutes",
        flush=True,
    )
    training.run(arguments.processes)
    finish(training, setting.exam_questions if arguments.questions is None else arguments.questions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
