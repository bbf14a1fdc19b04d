"""`python -m tests.demo_model.generate`: shows the data, counts it, or trains the tokenizer on it."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from tests.demo_model.conversation import Conversation, Text
from tests.demo_model.data.facts import all_facts
from tests.demo_model.data.mixture import documents
from tests.demo_model.documents import packed, tokenized
from tests.demo_model.template import render_whole
from tests.demo_model.tokenizer import VOCABULARY_PATH, VOCABULARY_TOKENS, save, shipped, train


def text_of(item: Conversation | Text) -> str:
    """A document as the model reads it."""
    return item.text if isinstance(item, Text) else render_whole(item)


def _show(seed: int, count: int, kind: str) -> None:
    wanted = (item for item in documents(seed) if not kind or item.kind == kind)
    for item in islice(wanted, count):
        print(f"── {item.kind}\n{text_of(item)}")


def _count(seed: int, count: int) -> None:
    tokenizer = shipped()
    tokens: Counter[str] = Counter()
    targets: Counter[str] = Counter()
    for item in islice(documents(seed), count):
        document = tokenized(item, tokenizer)
        tokens[item.kind] += len(document.tokens)
        targets[item.kind] += sum(document.targets)
    total, graded = tokens.total(), targets.total()
    for kind, number in tokens.most_common():
        print(f"{kind:16} {number / total:6.1%} of tokens {targets[kind] / graded:6.1%} of targets")
    print(f"{len(all_facts())} facts; {count} documents, {total / count:.0f} tokens each, {graded / total:.0%} targets")
    started = time.monotonic()
    block = next(packed(documents(seed), tokenizer, 64, 2048))
    filled = float((block.document > 0).mean())
    print(
        f"packing: {block.tokens.size / (time.monotonic() - started):.0f} tokens/s in one process, {filled:.1%} filled"
    )


def _texts(seed: int, count: int) -> Iterator[str]:
    return (text_of(item) for item in islice(documents(seed), count))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.demo_model.generate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10, help="documents")
    parser.add_argument("--kind", default="", help="show documents of this kind alone")
    parser.add_argument("--statistics", action="store_true", help="count tokens instead of showing text")
    parser.add_argument(
        "--tokenizer", action="store_true", help=f"train the tokenizer and write {VOCABULARY_PATH.name}"
    )
    arguments = parser.parse_args()
    if arguments.count < 1:
        print(f"--count is {arguments.count}; give 1 or more", file=sys.stderr)
        return 2
    if arguments.tokenizer:
        save(train(_texts(arguments.seed, arguments.count), VOCABULARY_TOKENS))
        print(f"{VOCABULARY_PATH}: {len(shipped().tokens)} tokens")
    elif arguments.statistics:
        _count(arguments.seed, arguments.count)
    else:
        _show(arguments.seed, arguments.count, arguments.kind)
    return 0


if __name__ == "__main__":
    sys.exit(main())
