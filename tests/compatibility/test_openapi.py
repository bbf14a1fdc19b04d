"""schemathesis over the OpenAPI document that the gateway serves: no 5xx, no body outside the documented shapes."""

from __future__ import annotations

import os
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.compatibility.conftest import MODEL

EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "4"))
"""Of each route; the same ones every time."""
FEW_TOKENS = 4
TOKEN_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
"""How the dialects with a flat request name the limit; Ollama's is options.num_predict."""

TOLD = (501, 503)
"""Not supported, and busy: documented answers, no defects."""

load_all_checks()


def _bounded(body: Any, *, known: bool) -> Any:
    """The body with little to generate, and half of the time with a model that exists.

    A model that is to be made is made of that one: from another name it would be fetched from other hosts.
    """
    if not isinstance(body, dict):
        return body
    bounded = dict(body)
    if known and "model" in bounded:
        bounded["model"] = MODEL
    if isinstance(bounded.get("from"), str):
        bounded["from"] = MODEL
    bounded.pop("modelfile", None)
    for name in TOKEN_LIMITS:
        if isinstance(bounded.get(name), int) and not isinstance(bounded[name], bool):
            bounded[name] = min(bounded[name], FEW_TOKENS) if bounded[name] >= 0 else FEW_TOKENS
    if isinstance(bounded.get("options"), dict):
        bounded["options"] = {**bounded["options"], "num_predict": FEW_TOKENS, "num_ctx": 512}
    return bounded


def test_no_route_breaks_its_word(address: str) -> None:
    """Every route but the one that would speak to other hosts."""
    document = schemathesis.openapi.from_url(f"{address}/openapi.json").exclude(path="/api/pull")
    tried = 0
    for result in document.get_all_operations():
        operation = result.ok()

        @settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            _check(case)

        check()
        tried += 1
    assert tried > 20


def _check(case: schemathesis.Case) -> None:
    changes = case.path in ("/api/delete", "/api/create")
    for known in (False, True):
        if known and (changes or not isinstance(case.body, dict) or "model" not in case.body):
            continue
        case.body = _bounded(case.body, known=known)
        response = case.call(timeout=60)
        assert response.status_code < 500 or response.status_code in TOLD, response.text
        case.validate_response(
            response, checks=[response_schema_conformance, content_type_conformance, status_code_conformance]
        )
