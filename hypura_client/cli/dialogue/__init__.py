"""A conversation at the terminal: its messages, the answers as they arrive, and commands such as /set."""
