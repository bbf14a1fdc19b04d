"""hypurad: the command that runs the daemon."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypura_daemon.settings import Settings

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_ALREADY_RUNNING = 3

_EPILOG = """\
examples:
  hypurad                                   serve with what is in config.toml and HYPURA_... variables
  hypurad --memory 12GB                     all models together may take 12 GB (GiB works, too)
  hypurad --home /tmp/h --memory 4GB        a daemon of its own, beside any other
  HYPURA_LOG_LEVEL=debug hypurad            any setting as a variable

Flags win over HYPURA_... variables, they over HOME/config.toml, it over defaults.

exit codes:
  0  ended by SIGTERM, SIGINT or hypuractl stop
  1  failed; the last lines say why
  2  a flag, variable or setting is wrong
  3  a daemon runs already for this home or socket
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hypurad",
        description="Serves language models, larger than memory if need be, to hypuractl and other clients.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--home", metavar="FOLDER", help="everything hypura keeps (HYPURA_HOME)")
    parser.add_argument("--socket", metavar="PATH", help="the control socket (HYPURA_SOCKET)")
    parser.add_argument("--http", metavar="HOST:PORT", help="where the HTTP gateway listens (HYPURA_HTTP)")
    parser.add_argument("--memory", metavar="SIZE", help="budget of all models together, such as 8GB (HYPURA_MEMORY)")
    parser.add_argument("--context", metavar="TOKENS", help="context of a model that is loaded without saying (4096)")
    parser.add_argument("--sequences", metavar="N", help="requests that one model answers at once (4)")
    parser.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error")
    parser.add_argument("--log-file", metavar="PATH", help="a log of at most 80 MiB, or off (HYPURA_LOG_FILE)")
    parser.add_argument(
        "--log-content", action="store_const", const="true", help="log prompts and answers, too (HYPURA_LOG_CONTENT)"
    )
    parser.add_argument("--preload", metavar="NAMES", help="models to load at the start, with commas between")
    parser.add_argument(
        "--service", action="store_const", const="true", help="runs unattended: HOME/logs/daemon.log unless --log-file"
    )
    parser.add_argument("--grace-seconds", metavar="S", help="how long running answers may go on at the end (10)")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; the exit code."""
    flags = vars(_parser().parse_args(arguments))
    if flags.pop("version"):
        from hypura_daemon.rpc.status import version

        print(version())
        return 0
    from hypura_daemon.errors import SettingsError
    from hypura_daemon.settings import load_settings

    try:
        settings = load_settings(flags)
    except SettingsError as error:
        print(f"hypurad: {error}", file=sys.stderr)
        return EXIT_USAGE

    # gRPC's own handlers for fork are not needed, since workers are exec'd, and complain at every one.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    from hypura_daemon.system.logs import configure_logs

    log = configure_logs(settings.log_level, settings.log_file)
    code = EXIT_FAILED
    try:
        code = _run(settings)
    finally:
        if not log.close():
            os._exit(code)  # The log's thread hangs in a write, and Python would wait for it.
    return code


def _run(settings: "Settings") -> int:
    from hypura_daemon.app import serve
    from hypura_daemon.errors import SettingsError
    from hypura_daemon.system.endpoint import AlreadyRunning

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(settings))
    except AlreadyRunning as error:
        print(f"hypurad: {error}", file=sys.stderr)
        return EXIT_ALREADY_RUNNING
    except SettingsError as error:
        print(f"hypurad: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's loops where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
