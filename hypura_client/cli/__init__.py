"""hypuractl: the daemon's calls as commands."""
