"""hypurad as a service of the system: launchd on macOS, systemd's user manager on Linux."""
