"""What all tests need of the process they run in."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# A shell that starts pytest in the background has it ignore SIGINT, and programs started by the tests would
# inherit that: then Ctrl-C, which some tests send, would never arrive. A handler is not inherited.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test may see, or send anywhere, what the user has: daemons that tests start inherit this.
os.environ["HYPURA_STORES"] = "none"
os.environ["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1"

# Two tests, or two workers, share the cores: threads that spin at the end of each node would wait for those that have
# no core. Seen on two busy cores: 12 s of processor time, and 33 s, instead of 6 s and 12 s for two answers.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# How long one example takes says what else the machine does, not whether the code is right.
settings.register_profile("hypura", deadline=None)
settings.load_profile("hypura")
