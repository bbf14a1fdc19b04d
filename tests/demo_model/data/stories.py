# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Very short stories from a grammar, as plain text and on request."""

from random import Random

from tests.demo_model.conversation import Check, Conversation, Text, single
from tests.demo_model.data.wordings import styled

_HEROES = "fox|rabbit|girl|boy|dog|cat|bear|king|queen|fisherman|robot|mouse|owl|dragon|farmer|baker|turtle|crow".split(
    "|"
)
_QUALITIES = "small brave old clever lonely quiet happy tired curious kind".split()
_NAMES = "Mia Tom Lena Otto Nora Finn Ida Paul Rosa Emil Ada Leo".split()
_PLACES = "in a dark forest|by the sea|on a high mountain|in a small village|near a wide river|in an old castle|on a green hill".split(
    "|"
)
_WISHES = "a red ball|a new friend|a warm coat|a golden key|a boat|a bright lamp|a loaf of bread|a little garden".split(
    "|"
)
_OBSTACLES = "it began to rain|the path was lost in fog|a wolf stood in the way|the bridge was broken|night fell early|the wind grew strong".split(
    "|"
)
_HELPERS = "an old woman|a blackbird|a friendly giant|a little frog|a passing sailor|a wise owl".split("|")
_DEEDS = "showed the way|shared some bread|lit a lantern|sang a song of courage|built a small raft|told a secret".split(
    "|"
)
_ENDS = "From that day on they were friends.|And so the day ended well.|At home everybody was glad.|It was a day to remember.|Then all went to sleep under the stars.".split(
    "|"
)
_ASKS = "tell me a story|tell me a short story|a story please|can you tell me a story|write a short story|I want to hear a story|do you know a story|make up a story|write a story for my child|tell a tale"
_ASKS_HELD_OUT = "would you tell me a little story|I would love a story|please write me a short tale"


def story(rng: Random, hero: str = "") -> str:
    """Five or six sentences."""
    hero = hero or rng.choice(_HEROES)
    name, wish = rng.choice(_NAMES), rng.choice(_WISHES)
    article = "an" if (quality := rng.choice(_QUALITIES))[0] in "aeiou" else "a"
    return (
        f"Once upon a time there was {article} {quality} {hero} named {name} who lived {rng.choice(_PLACES)}. "
        f"{name} wished for {wish} and set out to find it. "
        f"But {rng.choice(_OBSTACLES)}, and {name} did not know what to do. "
        f"Then {rng.choice(_HELPERS)} came by and {rng.choice(_DEEDS)}. "
        f"In the end {name} found {wish} and was happy. {rng.choice(_ENDS)}"
    )


def text(rng: Random) -> Text:
    return Text("stories", story(rng) + "<|endoftext|>")


def generate(rng: Random, held_out: bool = False) -> Conversation:
    ask = rng.choice((_ASKS_HELD_OUT if held_out else _ASKS).split("|"))
    hero = rng.choice(_HEROES) if rng.random() < 0.5 else ""
    if hero:
        ask += f" about {'an' if hero[0] in 'aeiou' else 'a'} {hero}"
    return single("stories", styled(rng, ask, held_out), story(rng, hero), Check("story", hero))
