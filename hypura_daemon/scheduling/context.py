"""How much context a load makes room for. Pure."""

LEAST_STEP_TOKENS = 256
"""llama.cpp pads a context to this."""


def rounded(tokens: int) -> int:
    """So many tokens, or at most an eighth more: a conversation that grows must not reload its model each time."""
    step = max(LEAST_STEP_TOKENS, 1 << max(0, tokens.bit_length() - 4))
    return -(-tokens // step) * step


def context_for(usual_tokens: int, least_tokens: int, trained_tokens: int) -> int:
    """usual_tokens, or more when a request needs more, but not more than the model was trained for."""
    if least_tokens <= usual_tokens:
        return usual_tokens
    return max(least_tokens, min(rounded(least_tokens), trained_tokens))
