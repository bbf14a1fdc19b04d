"""Talks to the hypura daemon: AsyncClient (client.py), the blocking Client (sync.py), hypuractl (cli/)."""
