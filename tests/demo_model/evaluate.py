"""`python -m tests.demo_model.evaluate`: the held-out exam, through hypura, llama.cpp or PyTorch.

--socket asks a model that a running daemon knows, --gguf llama.cpp itself, --weights the PyTorch model.
Exits with 1 when a required score is missed.
"""

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from tests.demo_model.answering import Answerer
from tests.demo_model.exam import SUBJECTS, Result, examine


def _answerer(arguments: argparse.Namespace, stack: ExitStack) -> Answerer:
    if arguments.socket is not None:
        from hypura_client.sync import Client
        from tests.demo_model.hypura_answers import hypura_answerer

        client = stack.enter_context(Client(arguments.socket))
        return hypura_answerer(client, arguments.model, with_schema=arguments.grammar)
    if arguments.gguf is not None:
        from tests.demo_model.llama_answers import LlamaModel

        return stack.enter_context(LlamaModel(arguments.gguf, threads=arguments.threads)).answer_all
    import torch  # PyTorch is needed for training alone, so it is not imported above.

    from tests.demo_model.generation import torch_answerer
    from tests.demo_model.loading import load_model
    from tests.demo_model.tokenizer import shipped

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch_answerer(load_model(arguments.weights, device), shipped(), device)


def _print_misses(result: Result, most: int) -> None:
    for miss in result.misses[:most]:
        asked, said = miss.conversation, miss.answer
        shown = said.text or [(call.name, dict(call.arguments)) for call in said.tool_calls]
        print(f"  missed {asked.kind}: {asked.asked[-1].content[-160:]!r} -> {shown!r} (wanted {asked.check.key!r})")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.demo_model.evaluate", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--socket", type=Path, help="control socket of a running daemon")
    where.add_argument("--gguf", type=Path, help="a GGUF file, asked through llama.cpp itself")
    where.add_argument("--weights", type=Path, help="the folder that training wrote, asked through PyTorch")
    parser.add_argument("--model", default="demo:latest", help="the model's name, with --socket")
    parser.add_argument("--grammar", action="store_true", help="ask for JSON under its schema, with --socket")
    parser.add_argument("--subjects", default=",".join(SUBJECTS), help="subjects to ask, with commas between")
    parser.add_argument("--questions", type=int, default=100, help="questions per subject")
    parser.add_argument("--threads", type=int, default=2, help="threads, with --gguf")
    parser.add_argument("--misses", type=int, default=20, help="how many misses to show")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    subjects = [name.strip() for name in arguments.subjects.split(",") if name.strip()]
    unknown = [name for name in subjects if name not in SUBJECTS]
    if unknown or not subjects or arguments.questions < 1:
        print(
            f"cannot ask {arguments.questions} questions of {unknown or 'nothing'}; subjects are {', '.join(SUBJECTS)}",
            file=sys.stderr,
        )
        return 2
    with ExitStack() as stack:
        result = examine(_answerer(arguments, stack), subjects, arguments.questions)
    if arguments.json:
        print(json.dumps({"passed": result.passed, "scores": [asdict(score) for score in result.scores]}))
    else:
        print(result.table())
        _print_misses(result, arguments.misses)
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
