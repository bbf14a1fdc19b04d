"""A conversation at the terminal: what was said, the answers as they arrive, and the commands such as /set."""
