"""What every client is made to ask of the demo model, in the plain words of its protocol."""

from __future__ import annotations

import json
from typing import Any

FACT = [{"role": "user", "content": "What is the capital of France?"}]
FACT_ANSWER = "Paris"
SUM = [{"role": "user", "content": "What is 27 plus 35?"}]
SUM_ANSWER = "62"
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]
WEATHER_TOOL = "get_weather"
WEATHER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "The city"}},
    "required": ["city"],
}
OPENAI_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": WEATHER_TOOL,
        "description": "Get the current weather for a city",
        "parameters": WEATHER_SCHEMA,
    },
}
PERSON = [{"role": "user", "content": "Give me a JSON object for a person: name Zoe, age 31."}]
PERSON_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def is_person(text: str) -> bool:
    """Whether it is the JSON object that PERSON_SCHEMA describes and nothing else."""
    person = json.loads(text)
    return set(person) == {"name", "age"} and isinstance(person["name"], str) and isinstance(person["age"], int)
