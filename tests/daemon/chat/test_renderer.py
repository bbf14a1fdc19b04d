"""A template that no deadline ends, or that needs too much memory, costs its own process and one refused request."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import psutil
import pytest

from hypura_daemon.chat.prompts import renderer as module
from hypura_daemon.chat.prompts.render_main import LENGTH, MEMORY_BYTES
from hypura_daemon.chat.prompts.renderer import Renderer
from hypura_daemon.errors import InvalidRequest

USER = [{"role": "user", "content": "Zürich <b> \ud800"}]
NESTED = "{% set n = namespace(a=[1]) %}{% for i in range(60) %}{% set n.a = [n.a, n.a] %}{% endfor %}"
DOUBLED = "{% set n = namespace(a='xxxxxxxxxxxxxxxx') %}{% for i in range(40) %}{% set n.a = n.a ~ n.a %}{% endfor %}"


@pytest.fixture
def renderer() -> Iterator[Renderer]:
    renderer = Renderer()
    yield renderer
    renderer.close()


def test_it_renders_and_refuses_as_the_sandbox_does(renderer: Renderer) -> None:
    assert renderer.render("{{ messages[0].content }}{{ eos_token }}", USER, [], eos="</s>") == "Zürich <b> \ufffd</s>"
    with pytest.raises(InvalidRequest, match="roles must alternate"):
        renderer.render("{{ raise_exception('roles must alternate') }}", USER, [])


def test_its_process_does_not_load_protobuf() -> None:
    """It took a third of a second of each start, and part of the process's memory."""
    code = (
        "import sys; from hypura_daemon.chat.prompts.render_main import main; main();"
        "print(*sorted(name for name in sys.modules if 'google' in name or 'grpc' in name), file=sys.stderr)"
    )
    requests = [{"template": "x", "messages": USER, "tools": []}, {"go": "x", "turns": [{}]}]
    texts = [json.dumps(request).encode() for request in requests]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        input=b"".join(LENGTH.pack(len(text)) + text for text in texts),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.count(b'{"text": "x"}') == 2, "both kinds of templates were rendered"
    assert done.stderr.split() == []


@pytest.mark.parametrize("end", ["{{ n.a | tojson }}", "{{ n.a | string }}", "{{ n.a }}"])
def test_a_call_that_no_deadline_reaches_is_killed(
    renderer: Renderer, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: the text of a list that contains itself twice, 60 deep. It blocked the whole daemon for ever."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 3.0)
    ticks: list[float] = []
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(0.05):
            ticks.append(time.monotonic())

    ticking = threading.Thread(target=tick)
    ticking.start()
    try:
        with pytest.raises(InvalidRequest, match=r"failed on this conversation: no result"):
            renderer.render(NESTED + end, USER, [])
    finally:
        ended.set()
        ticking.join()
    assert max(later - sooner for sooner, later in pairwise(ticks)) < 1.0, "the daemon stood still"
    assert renderer.render("{{ messages | length }}", USER, []) == "1"


@pytest.mark.skipif(not psutil.LINUX, reason="macOS has no limit of a process's address space")
@pytest.mark.parametrize(
    "template",
    [DOUBLED, "{% set a = 'x' * 99999 %}{% set b = a | replace('x', a) %}", "{{ '%9999999999d' | format(1) }}"],
)
def test_memory_is_limited(renderer: Renderer, template: str) -> None:
    with pytest.raises(InvalidRequest, match=r"memory|MemoryError|process ended"):
        renderer.render(template, USER, [])
    renderer.render("x", USER, [])
    assert psutil.Process(_only(renderer).pid).memory_info().vms <= MEMORY_BYTES


def test_an_ended_process_is_replaced(renderer: Renderer) -> None:
    renderer.render("x", USER, [])
    _only(renderer).kill()
    assert renderer.render("y", USER, []) == "y"


def test_an_ended_process_is_reaped_before_the_next_request(renderer: Renderer) -> None:
    renderer.render("x", USER, [])
    process = _only(renderer)
    assert process.stdin is not None
    process.stdin.close()  # It ends by itself, as after its idle seconds.
    deadline = time.monotonic() + 10
    while psutil.pid_exists(process.pid):
        assert time.monotonic() < deadline, "left as a zombie"
        time.sleep(0.01)


def test_go_templates_are_rendered_there_too(renderer: Renderer) -> None:
    turns = [{"Prompt": "a", "Response": "b"}, {"Prompt": "c", "Response": ""}]
    assert renderer.render_go("<{{ .Prompt }}>{{ .Response }}.", turns, until_response=True) == "<a>b.<c>"
    with pytest.raises(InvalidRequest, match=r"steps|seconds"):
        renderer.render_go("{{ range 99999 }}{{ range 99999 }}{{ end }}{{ end }}", turns)


def test_concurrent_callers_have_a_process_each(renderer: Renderer) -> None:
    slow = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        refused = pool.submit(renderer.render, slow, USER, [])
        assert renderer.render("y", USER, []) == "y"
        assert time.monotonic() - begun < 4, "it waited for the other's deadline"
        with pytest.raises(InvalidRequest, match="longer than 5 seconds"):
            refused.result()


def test_descriptors_beyond_the_limit_of_select(renderer: Renderer) -> None:
    """A daemon with a thousand connections has such descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    held: list[int] = []
    try:
        while not held or held[-1] < 1100:
            held.append(os.dup(0))
        assert renderer.render("{{ messages | length }}", USER, []) == "1"
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _only(renderer: Renderer) -> subprocess.Popen[bytes]:
    [process] = renderer._idle
    return process.process
