"""`python -m tests.demo_model.demo_eval`: whether the shipped demo model keeps its promises, asked through hypura.

    a daemon of its own ──► streamed, part of the experts in memory ──► held-out exam, with and without grammar
                        └─► resident ──► the same questions ──► the same answers

Exits with 1 when a score is too low or an answer differs.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from hypura.v1 import control_pb2, placement_pb2
from hypura_client.errors import HypuraError
from hypura_client.sync import Client
from tests.demo_model.conversation import Answer, Conversation
from tests.demo_model.exam import JSON_VALID, REQUIRED, examine
from tests.demo_model.hypura_answers import hypura_answerer
from tests.demo_model.own_daemon import own_daemon

_QUESTIONS = {"facts": 100, "two-digit sums": 25, "tool calls": 100, "json": 50}
_WITH_GRAMMAR, _SAME = "json valid, grammar", "same when resident"
_NEEDED = {**REQUIRED, _WITH_GRAMMAR: 0.99, _SAME: 1.0}
_MODEL = "demo:latest"


@dataclass(frozen=True, slots=True)
class Line:
    """A score of the table; needed is 0 where nothing is."""

    subject: str
    right: int
    asked: int
    needed: float

    @property
    def passed(self) -> bool:
        return self.right >= self.needed * self.asked

    def __str__(self) -> str:
        need = f"  needs {self.needed:.0%}{'' if self.passed else '  MISSED'}" if self.needed else ""
        return f"{self.subject:20} {self.right / self.asked:6.1%}  {self.right}/{self.asked}{need}"


class Pupil:
    """Answers one question at a time through hypura, tells how far it is, and keeps all answers."""

    def __init__(self, client: Client, *, quiet: bool) -> None:
        self._client, self._quiet = client, quiet
        self.answers: list[Answer] = []

    def sit(self, subject: str, count: int, *, grammar: bool = False) -> list[Line]:
        """The subject's questions; the lines of the table that come of them."""
        answer = hypura_answerer(self._client, _MODEL, with_schema=grammar)
        begun = time.monotonic()

        def answer_all(asked: Sequence[Conversation]) -> list[Answer]:
            made: list[Answer] = []
            for number, item in enumerate(asked, start=1):
                made += answer([item])
                self._tell(f"  {subject}: {number}/{len(asked)}, {time.monotonic() - begun:.0f} s")
            self.answers += made
            return made

        result = examine(answer_all, [subject], count)
        if grammar:
            valid = next(score for score in result.scores if score.subject == JSON_VALID)
            return [Line(_WITH_GRAMMAR, valid.right, valid.asked, _NEEDED[_WITH_GRAMMAR])]
        return [
            Line(score.subject, score.right, score.asked, _NEEDED.get(score.subject, 0.0)) for score in result.scores
        ]

    def _tell(self, text: str) -> None:
        if not self._quiet:
            print(f"\r{text}", end="", file=sys.stderr, flush=True)


def _sit_all(pupil: Pupil, counts: dict[str, int]) -> list[Line]:
    lines = [line for subject, count in counts.items() for line in pupil.sit(subject, count)]
    return lines + pupil.sit("json", counts["json"], grammar=True)


def _load(client: Client, options: control_pb2.LoadOptions) -> str:
    """Loads the model; its mode in words."""
    # One sequence, one thread layout: what streaming may not change is then equal bit for bit.
    options.exact = True
    status = client.load(_MODEL, options)
    return placement_pb2.Mode.Name(status.plan.mode).removeprefix("MODE_").lower().replace("_", "-")


def evaluate(client: Client, counts: dict[str, int], weight_cache_percent: float, *, quiet: bool) -> list[Line]:
    """The whole table. Raises HypuraError, and RuntimeError when the model does not stream."""
    mode = _load(client, control_pb2.LoadOptions(weight_cache_percent=weight_cache_percent))
    if "streaming" not in mode:
        raise RuntimeError(f"with a weight cache of {weight_cache_percent:g}% the model is {mode}; give less")
    streamed = Pupil(client, quiet=quiet)
    lines = _sit_all(streamed, counts)
    client.unload(_MODEL)
    _load(client, control_pb2.LoadOptions())
    resident = Pupil(client, quiet=quiet)
    _sit_all(resident, counts)
    same = sum(one == other for one, other in zip(streamed.answers, resident.answers, strict=True))
    return [*lines, Line(_SAME, same, len(streamed.answers), _NEEDED[_SAME])]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.demo_model.demo_eval",
        description="Asks the shipped demo model the held-out exam through hypura, streamed and resident.",
        epilog="Exit codes: 0 all promises kept, 1 one broken, 2 wrong usage.",
    )
    parser.add_argument("--questions", type=int, help="of each subject; default " + str(_QUESTIONS))
    parser.add_argument("--weight-cache", type=float, default=25.0, metavar="PERCENT", help="default 25")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quiet", action="store_true", help="tell nothing on the way")
    arguments = parser.parse_args()
    if arguments.questions is not None and arguments.questions < 1:
        parser.error(f"--questions is {arguments.questions}; give 1 or more")
    if not 0 <= arguments.weight_cache < 100:
        parser.error(f"--weight-cache is {arguments.weight_cache:g}; give 0 to less than 100")
    counts = {subject: arguments.questions or count for subject, count in _QUESTIONS.items()}
    try:
        with own_daemon() as client:
            lines = evaluate(client, counts, arguments.weight_cache, quiet=arguments.quiet or arguments.json)
    except (HypuraError, RuntimeError) as error:
        print(f"the demo model could not be asked: {error}", file=sys.stderr)
        return 1
    passed = all(line.passed for line in lines)
    if arguments.json:
        print(json.dumps({"passed": passed, "scores": [{**asdict(line), "passed": line.passed} for line in lines]}))
    else:
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
        print("\n".join(str(line) for line in lines))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
