"""Questions with one fixed answer, read from lines of text.

Each line: questions | clauses | phrases | held-out questions | answer | words that an answer must have.
";" separates wordings, "," the words.
"""

from dataclasses import dataclass

from tests.demo_model.data.wordings import Asked


@dataclass(frozen=True, slots=True)
class Fact:
    """A question in all its wordings, its answer, and the words that make an answer right."""

    asked: Asked
    answer: str
    words: tuple[str, ...]


def read_facts(text: str) -> tuple[Fact, ...]:
    """The facts of a table in the form above. Raises ValueError for a line of another form."""
    facts = []
    for line in text.strip().splitlines():
        columns = line.split("|")
        if len(columns) != 6:
            raise ValueError(f"a fact has 6 columns, this line has {len(columns)}: {line[:80]!r}")
        questions, clauses, phrases, held_out = (
            tuple(item for item in part.split(";") if item) for part in columns[:4]
        )
        words = tuple(item for item in columns[5].split(",") if item)
        facts.append(Fact(Asked(questions, clauses, phrases, held_out), columns[4], words))
    return tuple(facts)
