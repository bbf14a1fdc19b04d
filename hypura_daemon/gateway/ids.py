"""Names for what has no name of its own: requests, answers and their parts."""

import secrets


def new_id(prefix: str) -> str:
    """Such as msg_0123456789abcdef01234567."""
    return f"{prefix}{secrets.token_hex(12)}"
