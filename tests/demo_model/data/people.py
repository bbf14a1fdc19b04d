# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Names and other values that users talk about; some are kept from training."""

from random import Random

_NAMES = """Anna Ben Clara David Emma Felix Greta Henry Ida Jonas Karl Lena Max Nora Otto Paula Quentin Rosa Simon Tina
Ursula Victor Wanda Xavier Yara Zoe Alice Bob Carol Daniel Eva Frank Gina Hugo Irene Jack Kate Liam Mary Nick Olga
Peter Rita Sam Tara Uwe Vera Will Yusuf Zara Aisha Boris Chen Dara Elif Fatima Goran Hana Ivan Jana Kofi Lucia Marco""".split()
_NAMES_HELD_OUT = (
    "Amelia Bruno Celia Dmitri Esther Farid Gloria Hector Ingrid Jamal Kira Leon Mona Nils Oscar Petra".split()
)
CITIES = """Paris London Berlin Rome Madrid Vienna Lisbon Oslo Athens Cairo Tokyo Delhi Lima Quito Boston Chicago Munich Hamburg
Milan Lyon Porto Geneva Zurich Prague Warsaw Dublin Helsinki Stockholm Seoul Sydney Toronto Denver Nairobi Havana""".split()
_CITIES_HELD_OUT = "Naples Turin Bremen Dresden Bergen Seville Malaga Osaka Kyoto Perth Dallas Austin".split()
NOUNS = """report invoice lamp heater garden ticket music photo book recipe order parcel meeting door window printer robot
camera alarm backup server database folder list song poem map note contract account budget table bike car train""".split()
_NOUNS_HELD_OUT = "pump shutter sensor playlist calendar receipt memo fridge drone voucher".split()
COLOURS = "red blue green yellow black white orange purple pink grey brown".split()


def person(rng: Random, held_out: bool) -> str:
    return rng.choice(_NAMES_HELD_OUT if held_out else _NAMES)


def city(rng: Random, held_out: bool) -> str:
    return rng.choice(_CITIES_HELD_OUT if held_out else CITIES)


def noun(rng: Random, held_out: bool) -> str:
    return rng.choice(_NOUNS_HELD_OUT if held_out else NOUNS)
