"""The held-out exam: questions in wordings, numbers and names that training never sees, and its scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tests.demo_model.answering import Answerer
from tests.demo_model.conversation import Answer, Conversation
from tests.demo_model.data import (
    arithmetic,
    chains,
    facts,
    hypura_questions,
    json_answers,
    memory,
    obedience,
    requests,
    sequences,
    smalltalk,
    stories,
    tools,
    unknown,
    yes_no,
)
from tests.demo_model.graders import is_right, is_valid_json

Maker = Callable[[Random, bool], Conversation]

SUBJECTS: dict[str, Maker] = {
    "facts": facts.generate,
    "two-digit sums": arithmetic.two_digit_sum,
    "tool calls": tools.call,
    "json": json_answers.generate,
    "hypura": hypura_questions.generate,
    "smalltalk": smalltalk.generate,
    "arithmetic": arithmetic.generate,
    "sequences": sequences.generate,
    "tool results": tools.read_back,
    "no tool fits": tools.no_call,
    "unknown": unknown.generate,
    "memory": memory.generate,
    "obedience": obedience.generate,
    "chains": chains.generate,
    "stories": stories.generate,
    "requests": requests.generate,
    "around facts": yes_no.generate,
}
#: What the demo model must reach; "json valid" is without a grammar.
REQUIRED = {"facts": 0.95, "two-digit sums": 0.90, "tool calls": 0.95, "json valid": 0.90}
JSON_VALID = "json valid"
_EXAM_SEED = 20_000_003


@dataclass(frozen=True, slots=True)
class Score:
    """How many questions of a subject were answered rightly."""

    subject: str
    right: int
    asked: int

    @property
    def share(self) -> float:
        return self.right / self.asked if self.asked else 0.0


@dataclass(frozen=True, slots=True)
class Miss:
    """A question that was answered wrongly."""

    conversation: Conversation
    answer: Answer


@dataclass(frozen=True, slots=True)
class Result:
    """The scores, and every miss."""

    scores: tuple[Score, ...]
    misses: tuple[Miss, ...]

    def table(self) -> str:
        """A line per subject."""
        lines = []
        for score in self.scores:
            need = f"  (needs {REQUIRED[score.subject]:.0%})" if score.subject in REQUIRED else ""
            lines.append(f"{score.subject:16} {score.share:6.1%}  {score.right}/{score.asked}{need}")
        return "\n".join(lines)

    @property
    def passed(self) -> bool:
        """Whether every required subject that was asked reached its share."""
        return all(score.share >= REQUIRED.get(score.subject, 0.0) for score in self.scores)


def questions(subject: str, count: int, seed: int = _EXAM_SEED) -> list[Conversation]:
    """The same questions for the same seed. Facts are asked one by one through the whole table, not drawn."""
    rng = Random(f"{seed} {subject}")
    if subject == "facts":
        table = list(facts.all_facts())
        rng.shuffle(table)
        return [facts.as_conversation(rng, table[number % len(table)], "facts", True) for number in range(count)]
    return [SUBJECTS[subject](rng, True) for _ in range(count)]


def examine(answerer: Answerer, subjects: Sequence[str], count: int, seed: int = _EXAM_SEED) -> Result:
    """Asks count questions of each subject. Raises KeyError for an unknown subject."""
    scores: list[Score] = []
    misses: list[Miss] = []
    for subject in subjects:
        asked = questions(subject, count, seed)
        answers = answerer(asked)
        right = 0
        for conversation, answer in zip(asked, answers, strict=True):
            if is_right(conversation, answer):
                right += 1
            else:
                misses.append(Miss(conversation, answer))
        scores.append(Score(subject, right, len(asked)))
        if subject == "json":
            valid = sum(
                is_valid_json(conversation, answer) for conversation, answer in zip(asked, answers, strict=True)
            )
            scores.append(Score(JSON_VALID, valid, len(asked)))
    return Result(tuple(scores), tuple(misses))
