"""Greedy answers by the PyTorch model, many conversations at once.

The whole text so far is computed anew for each token: simple, and fast enough for a model this small.
"""

from collections.abc import Sequence

import torch

from tests.demo_model.answering import Answerer, parsed
from tests.demo_model.conversation import Answer, Conversation
from tests.demo_model.model import DemoModel, positions_of
from tests.demo_model.template import render
from tests.demo_model.tokenizer import END_OF_TEXT, IM_END, Tokenizer

_BATCH_TOKENS = 160_000
_MAX_NEW_TOKENS = 260


@torch.no_grad()
def continued(
    model: DemoModel,
    tokenizer: Tokenizer,
    prompts: Sequence[list[int]],
    device: torch.device,
    max_new_tokens: int = _MAX_NEW_TOKENS,
) -> list[list[int]]:
    """The tokens after each prompt, up to an end mark (not included) or max_new_tokens."""
    ends = {tokenizer.ids[IM_END], tokenizer.ids[END_OF_TEXT]}
    texts = [list(prompt) for prompt in prompts]
    running = list(range(len(texts)))
    noise = torch.zeros((), device=device)
    for _ in range(max_new_tokens):
        if not running:
            break
        lengths = torch.tensor([len(texts[number]) for number in running], device=device)
        width = int(lengths.max())
        tokens = torch.tensor([texts[number] + [0] * (width - len(texts[number])) for number in running], device=device)
        document = (torch.arange(width, device=device)[None] < lengths[:, None]).long()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits, _ = model(tokens, document, positions_of(document), noise)
        best = logits[torch.arange(len(running), device=device), lengths - 1].float().argmax(-1).tolist()
        still = []
        for number, token in zip(running, best, strict=True):
            if token in ends or len(texts[number]) >= model.shape.context_tokens:
                continue
            texts[number].append(token)
            still.append(number)
        running = still
    return [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]


def torch_answerer(
    model: DemoModel, tokenizer: Tokenizer, device: torch.device, max_new_tokens: int = _MAX_NEW_TOKENS
) -> Answerer:
    """Answers by this model, in batches of prompts of like length."""

    def answer_all(conversations: Sequence[Conversation]) -> list[Answer]:
        prompts = [tokenizer.encode(render(item.asked, item.tools, think=item.think)) for item in conversations]
        order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
        answers: dict[int, Answer] = {}
        while order:
            longest = len(prompts[order[-1]]) + max_new_tokens
            size = max(1, min(len(order), _BATCH_TOKENS // longest if device.type == "cuda" else 16))
            batch, order = order[-size:], order[:-size]
            written = continued(model, tokenizer, [prompts[number] for number in batch], device, max_new_tokens)
            for number, tokens in zip(batch, written, strict=True):
                answers[number] = parsed(tokenizer.decode(tokens))
        return [answers[number] for number in range(len(prompts))]

    return answer_all
