"""HTTP itself: sockets, connections, request bodies, streams, and which requests are taken."""
