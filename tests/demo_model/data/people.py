# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Names and other values that users talk about; some are kept from training."""

from random import Random

from tests.demo_model.data import lexicon

_NAMES = """Anna Ben Clara David Emma Felix Greta Henry Ida Jonas Karl Lena Max Nora Otto Paula Quentin Rosa Simon Tina
Ursula Victor Wanda Xavier Yara Zoe Alice Bob Carol Daniel Eva Frank Gina Hugo Irene Jack Kate Liam Mary Nick Olga
Peter Rita Sam Tara Uwe Vera Will Yusuf Zara Aisha Boris Chen Dara Elif Fatima Goran Hana Ivan Jana Kofi Lucia Marco
Adam Agnes Albert Alex Amanda Amir Amy Andrea Andrew Angela Anton Arthur Barbara Beatrice Bella Bill Brian Bruce Carla Carlos Caroline Charles
Charlotte Chris Christine Claire Claudia Cora Daisy Dan Diana Diego Dora Dylan Edith Edward Elena Eliza Ella Ellen Elsa Emil Emily Erik Erin
Ethan Eve Fiona Fred Gabriel George Gerda Grace Hannah Harry Heidi Helen Hassan Ian Igor Iris Isaac Isabel Jacob Jake James Jane Jasmine Jason
Jean Jenny Jerry Jim Joan Joe John Jose Joseph Judy Julia Julian June Karen Kevin Kim Kumar Laura Lea Leo Lily Linda Lisa Liz Lola Louis Louise
Lucas Lucy Luis Luke Maria Marie Mark Martha Martin Matt Maya Mia Michael Mike Mila Miguel Mohammed Monica Nadia Nancy Natalie Nathan Nina Noah
Oliver Olivia Omar Oskar Pablo Pam Patrick Paul Pia Priya Rachel Ravi Rebecca Richard Robert Robin Roger Rose Ruby Ruth Sally Samuel Sandra Sara
Sarah Sean Sofia Sophie Stella Steve Sue Susan Sven Theo Thomas Tim Toby Tom Tony Valentina Vincent Violet Walter Wei Wendy Yuki Yuri""".split()
_NAMES_HELD_OUT = (
    "Amelia Bruno Celia Dmitri Esther Farid Gloria Hector Ingrid Jamal Kira Leon Mona Nils Oscar Petra".split()
)
CITIES = """Paris London Berlin Rome Madrid Vienna Lisbon Oslo Athens Cairo Tokyo Delhi Lima Quito Boston Chicago Munich Hamburg
Milan Lyon Porto Geneva Zurich Prague Warsaw Dublin Helsinki Stockholm Seoul Sydney Toronto Denver Nairobi Havana
Amsterdam Ankara Antwerp Atlanta Baghdad Bangkok Barcelona Basel Beijing Belgrade Birmingham Bogota Bologna Bristol Brussels Bucharest Budapest
Cologne Copenhagen Detroit Dubai Edinburgh Florence Frankfurt Ghent Glasgow Hanoi Houston Istanbul Jakarta Jerusalem Johannesburg Karachi Kyiv
Lagos Leipzig Liverpool Lucerne Madras Manchester Manila Marseille Melbourne Miami Montreal Moscow Mumbai Nice Oxford Phoenix Quebec Reykjavik
Riga Rotterdam Salzburg Santiago Seattle Shanghai Singapore Sofia Stuttgart Tampa Tehran Utrecht Valencia Vancouver Venice York""".split()
_CITIES_HELD_OUT = "Naples Turin Bremen Dresden Bergen Seville Malaga Osaka Kyoto Perth Dallas Austin".split()
NOUNS = """report invoice lamp heater garden ticket music photo book recipe order parcel meeting door window printer robot
camera alarm backup server database folder list song poem map note contract account budget table bike car train""".split()
_NOUNS_HELD_OUT = "pump shutter sensor playlist calendar receipt memo fridge drone voucher".split()
COLOURS = "red blue green yellow black white orange purple pink grey brown".split()


_OTHER_SHARE = 0.4


def person(rng: Random, held_out: bool) -> str:
    if not held_out and rng.random() < _OTHER_SHARE:
        return lexicon.any_name(rng) if rng.random() < 0.7 else f"{rng.choice(_NAMES)} {lexicon.any_name(rng)}"
    return rng.choice(_NAMES_HELD_OUT if held_out else _NAMES)


def city(rng: Random, held_out: bool) -> str:
    if not held_out and rng.random() < _OTHER_SHARE:
        return rng.choice(("", "", "", "San ", "New ", "Los ", "Port ", "Saint ")) + lexicon.any_name(rng)
    return rng.choice(_CITIES_HELD_OUT if held_out else CITIES)


def noun(rng: Random, held_out: bool) -> str:
    if not held_out and rng.random() < 0.7:
        return lexicon.any_word(rng)
    return rng.choice(_NOUNS_HELD_OUT if held_out else NOUNS)
