"""How much context a request needs, and how much a load makes room for. Pure."""

LEAST_STEP_TOKENS = 256
"""llama.cpp pads a context to this."""
MOST_ANSWER_TOKENS = 8192
"""The most of max_tokens that room is made for: many clients always send 32,000 or more, and room costs memory."""
_BYTES_PER_TOKEN = 4


def rounded(tokens: int) -> int:
    """The tokens, or at most an eighth more, so that a conversation that grows does not reload its model each time."""
    step = max(LEAST_STEP_TOKENS, 1 << max(0, tokens.bit_length() - 4))
    return -(-tokens // step) * step


def context_for(usual_tokens: int, least_tokens: int, trained_tokens: int) -> int:
    """usual_tokens, or more when a request needs more, but not more than the model was trained for."""
    if least_tokens <= usual_tokens:
        return usual_tokens
    return max(least_tokens, min(rounded(least_tokens), trained_tokens))


def answer_room(max_tokens: int, usual_tokens: int) -> int:
    """The tokens that are reserved for the answer; max_tokens is negative where the request does not say."""
    if max_tokens < 0:
        return max(1, usual_tokens // 2)
    return max(1, min(max_tokens, MOST_ANSWER_TOKENS))


def grown_context(tokens: int, trained_tokens: int) -> int:
    """The context that a prompt and its answer of so many tokens get: 2ⁿ or 1.5 × 2ⁿ, at most what is trained.

    Each step is a third or half as much again, so an agent's conversation that grows a little with each message reloads
    its model a few times and not each time.
    """
    power = 1 << max(0, (max(tokens, LEAST_STEP_TOKENS) - 1).bit_length())
    step = power * 3 // 4 if tokens <= power * 3 // 4 else power
    return min(max(step, LEAST_STEP_TOKENS), trained_tokens)


def likely_tokens(text_bytes: int) -> int:
    """About how many tokens a text has, before a tokenizer is loaded: in English and code a token has four bytes."""
    return text_bytes // _BYTES_PER_TOKEN
