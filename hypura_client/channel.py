"""How a channel to the daemon is addressed and set up."""

from pathlib import Path
from urllib.parse import quote

# Embeddings of many texts and plans of many tensors pass gRPC's usual 4 MB; an error that
# quotes a dead worker's last words passes its usual 8 KB of metadata.
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", 256 * 1024 * 1024),
    ("grpc.max_send_message_length", 256 * 1024 * 1024),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", 128 * 1024),
    # The daemon is on this machine; http_proxy must not send the call elsewhere.
    ("grpc.enable_http_proxy", 0),
    # A pool of its own: a shared one remembers a refused connection and waits before the next try.
    ("grpc.use_local_subchannel_pool", 1),
)


def target_of(where: Path | str) -> str:
    """gRPC's name for a socket path (a Path, or text that starts with /) or an address such as host:port."""
    if isinstance(where, Path) or where.startswith("/"):
        return f"unix:{quote(str(Path(where).absolute()))}"
    return where
