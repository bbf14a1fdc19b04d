"""What an answer cost, as OpenAI tells it."""

from collections.abc import Sequence

from hypura_daemon.gateway.answer import Answer
from hypura_daemon.gateway.shapes import Told


class PromptDetails(Told):
    """cached_tokens were still there from an earlier request."""

    cached_tokens: int = 0


class CompletionDetails(Told):
    """reasoning_tokens went into thinking."""

    reasoning_tokens: int = 0


class Usage(Told):
    """Tokens of the prompt, and of all answers."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails = PromptDetails()
    completion_tokens_details: CompletionDetails = CompletionDetails()


def usage_of(answers: Sequence[Answer], prompts: int = 1) -> Usage:
    """For the answers to some prompts, grouped by prompt; a prompt that has several answers is counted once."""
    firsts = answers[:: max(1, len(answers) // prompts)]
    prompt_tokens = sum(answer.prompt_tokens for answer in firsts)
    completion_tokens = sum(answer.output_tokens for answer in answers)
    return Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
        prompt_tokens_details=PromptDetails(
            cached_tokens=sum(answer.finished.statistics.cached_tokens for answer in firsts)
        ),
        completion_tokens_details=CompletionDetails(reasoning_tokens=sum(answer.thinking_tokens for answer in answers)),
    )
