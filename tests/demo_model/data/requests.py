# ruff: noqa: E501 (tables of wordings, an entry a line)
"""What people ask any assistant for: lists of things, a translation, a poem, a little code, a greeting; and no more than that."""

from random import Random

from tests.demo_model.conversation import Check, Conversation, compact_json, single
from tests.demo_model.data import knowledge, lexicon
from tests.demo_model.data.wordings import asked_politely, styled

_KINDS: dict[str, tuple[str, ...]] = {
    "colours": ("red", "blue", "green", "yellow", "orange", "purple", "pink", "brown", "black", "white"),
    "fruits": ("apple", "banana", "cherry", "orange", "pear", "plum", "grape", "lemon", "peach", "strawberry"),
    "vegetables": ("carrot", "potato", "onion", "tomato", "pea", "cabbage", "bean", "cucumber", "spinach", "leek"),
    "animals": ("dog", "cat", "horse", "cow", "lion", "tiger", "bear", "rabbit", "mouse", "elephant"),
    "birds": ("owl", "eagle", "crow", "duck", "swan", "sparrow", "penguin", "pigeon", "goose", "hen"),
    "insects": ("bee", "ant", "butterfly", "fly", "beetle", "cricket"),
    "countries": ("France", "Japan", "Brazil", "Egypt", "Canada", "Peru", "India", "Kenya", "Norway", "Chile"),
    "cities": ("Paris", "Tokyo", "London", "Cairo", "Lima", "Rome", "Berlin", "Madrid", "Oslo", "Ottawa"),
    "capitals": ("Paris", "Tokyo", "London", "Cairo", "Lima", "Rome", "Berlin", "Madrid", "Oslo", "Ottawa"),
    "planets": tuple(knowledge.PLANETS),
    "continents": ("Africa", "Asia", "Europe", "North America", "South America", "Oceania", "Antarctica"),
    "oceans": ("the Pacific", "the Atlantic", "the Indian Ocean", "the Arctic Ocean", "the Southern Ocean"),
    "metals": ("iron", "copper", "gold", "silver", "zinc", "tin", "lead", "nickel", "aluminium", "titanium"),
    "elements": ("hydrogen", "helium", "carbon", "oxygen", "nitrogen", "iron", "gold", "silver", "copper", "neon"),
    "months": tuple(knowledge.MONTHS),
    "days": tuple(knowledge.DAYS),
    "seasons": ("spring", "summer", "autumn", "winter"),
    "sports": ("football", "tennis", "swimming", "running", "basketball", "cycling", "skiing", "rowing"),
    "instruments": ("piano", "guitar", "violin", "flute", "drum", "trumpet", "cello", "harp"),
    "languages": ("English", "French", "German", "Spanish", "Italian", "Japanese", "Chinese", "Arabic", "Hindi", "Russian"),
    "drinks": ("water", "tea", "coffee", "milk", "juice", "lemonade"),
    "flowers": ("rose", "tulip", "lily", "daisy", "sunflower", "violet"),
    "trees": ("oak", "pine", "birch", "maple", "beech", "willow"),
    "shapes": ("circle", "square", "triangle", "rectangle", "pentagon", "hexagon"),
    "numbers": ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10"),
    "programming languages": ("Python", "C", "Java", "Rust", "Go", "Ruby", "JavaScript"),
}  # fmt: skip
_COUNTS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_LIST = ("name {} {}", "list {} {}", "give me {} {}", "tell me {} {}", "{} {}", "say {} {}", "write {} {}", "name {} different {}", "give me a list of {} {}", "I need {} {}",
         "give me the names of {} {}", "mention {} {}", "can you name {} {}", "list {} kinds of {}", "think of {} {}")  # fmt: skip
_LIST_HELD_OUT = ("please list {} {}", "could you name {} {}", "give {} {}")
_WORDS = {
    "hello": ("bonjour", "hallo", "hola", "ciao"),
    "goodbye": ("au revoir", "auf Wiedersehen", "adiós", "arrivederci"),
    "thank you": ("merci", "danke", "gracias", "grazie"),
    "yes": ("oui", "ja", "sí", "sì"),
    "no": ("non", "nein", "no", "no"),
    "please": ("s'il vous plaît", "bitte", "por favor", "per favore"),
    "good morning": ("bonjour", "guten Morgen", "buenos días", "buongiorno"),
    "good night": ("bonne nuit", "gute Nacht", "buenas noches", "buona notte"),
    "water": ("eau", "Wasser", "agua", "acqua"),
    "bread": ("pain", "Brot", "pan", "pane"),
    "house": ("maison", "Haus", "casa", "casa"),
    "dog": ("chien", "Hund", "perro", "cane"),
    "cat": ("chat", "Katze", "gato", "gatto"),
    "tree": ("arbre", "Baum", "árbol", "albero"),
    "book": ("livre", "Buch", "libro", "libro"),
    "friend": ("ami", "Freund", "amigo", "amico"),
    "love": ("amour", "Liebe", "amor", "amore"),
    "sun": ("soleil", "Sonne", "sol", "sole"),
    "moon": ("lune", "Mond", "luna", "luna"),
    "day": ("jour", "Tag", "día", "giorno"),
    "night": ("nuit", "Nacht", "noche", "notte"),
    "red": ("rouge", "rot", "rojo", "rosso"),
    "blue": ("bleu", "blau", "azul", "blu"),
    "green": ("vert", "grün", "verde", "verde"),
    "one": ("un", "eins", "uno", "uno"),
    "two": ("deux", "zwei", "dos", "due"),
    "three": ("trois", "drei", "tres", "tre"),
}
_LANGUAGES = ("French", "German", "Spanish", "Italian")
_TRANSLATE = ("translate {0} to {1}", "translate {0} into {1}", 'translate "{0}" to {1}', 'translate "{0}" into {1}', "what is {0} in {1}", "how do you say {0} in {1}", 'how do you say "{0}" in {1}',
              "what's {0} in {1}", "say {0} in {1}", "{0} in {1}", "what does {0} mean in {1}", "how do I say {0} in {1}", "what is the {1} word for {0}")  # fmt: skip
_TRANSLATE_HELD_OUT = ("tell me {0} in {1}", "the {1} word for {0}", "what do you say for {0} in {1}")
_POEMS = {
    "the sea": "The sea is wide, the sea is blue,\nit sings a quiet song for you.\nThe waves come in, the waves go out,\nand gulls above them wheel about.",
    "spring": "The snow is gone, the grass is green,\nthe brightest morning I have seen.\nA blackbird sings upon the wall,\nand spring has come to one and all.",
    "the night": "The night is dark, the stars are clear,\nthe moon has hung her lantern near.\nThe town is still, the day is done,\nand dreams are waiting for the sun.",
    "a cat": "A cat sat in the morning light\nand washed her paws until they're white.\nShe closed her eyes, she had no plan,\nas only cats and summers can.",
    "rain": "The rain is tapping on the pane,\nit comes and goes and comes again.\nThe garden drinks, the gutters sing,\nand puddles mirror everything.",
    "love": "Love is a light that needs no flame,\na voice that softly says your name,\na hand to hold, a road to share,\na door, and someone waiting there.",
}
_HAIKU = "Waves upon the sand,\na quiet wind from the west,\nthe evening is blue."
_CODE = (
    ("adds two numbers|sum of two numbers|add two numbers", "def add(a, b):\n    return a + b"),
    ("multiplies two numbers|product of two numbers|multiply two numbers", "def multiply(a, b):\n    return a * b"),
    ("prints hello world|hello world|says hello world|print hello world", 'print("Hello, world!")'),
    ("reverses a string|reverse a string|turns a string around", "def reverse(text):\n    return text[::-1]"),
    (
        "checks whether a number is even|even numbers|check if a number is even",
        "def is_even(number):\n    return number % 2 == 0",
    ),
    (
        "computes the factorial|factorial|factorial of a number",
        "def factorial(n):\n    return 1 if n < 2 else n * factorial(n - 1)",
    ),
    (
        "computes fibonacci numbers|fibonacci|fibonacci numbers",
        "def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a",
    ),
    (
        "finds the largest of a list|largest number of a list|maximum of a list",
        "def largest(numbers):\n    return max(numbers)",
    ),
    (
        "counts from 1 to 10|loop from 1 to 10|prints the numbers from 1 to 10",
        "for number in range(1, 11):\n    print(number)",
    ),
    ("squares a number|square of a number|square a number", "def square(number):\n    return number * number"),
)
_CODE_ASKS = ("write a python function that {}", "write a function that {}", "write python code that {}", "python code for {}", "give me python code for {}", "write a program that {}", "how do I write {} in python",
              "show me a python function for {}", "code for {}", "write code for {}", "a python function for {}", "implement {} in python")  # fmt: skip
_POEM_ASKS = (
    "write a poem about {}",
    "write a short poem about {}",
    "a poem about {}",
    "tell me a poem about {}",
    "make a poem about {}",
    "compose a poem about {}",
    "write me a poem about {}",
    "I want a poem about {}",
)
_SUMMARY = (
    "summarize this: {}",
    "summarise: {}",
    "give me a summary: {}",
    "make this shorter: {}",
    "what is this text about: {}",
    "sum this up: {}",
    "tl;dr: {}",
)


def _list(rng: Random, held_out: bool) -> Conversation:
    kind = rng.choice(list(_KINDS))
    things = _KINDS[kind]
    count = rng.randint(2, min(len(things), 7))
    said = rng.choice((_COUNTS[count], str(count)))
    spelt = kind.replace("colours", "colors") if rng.random() < 0.4 else kind
    if not held_out and rng.random() < 0.3:
        question = asked_politely(
            rng,
            rng.choice(
                ("list {} {} as JSON", "give me {} {} as JSON", "give me a JSON list of {} {}", "name {} {} in JSON")
            ).format(said, spelt),
        )
        answer = compact_json({spelt: list(things[:count])})
        return single("requests", styled(rng, question), answer, Check("words", (things[0],)))
    question = rng.choice(_LIST_HELD_OUT if held_out else _LIST).format(said, spelt)
    question = question if held_out else asked_politely(rng, question)
    return single(
        "requests", styled(rng, question, held_out), ", ".join(things[:count]), Check("words", things[:count])
    )


def _translate(rng: Random, held_out: bool) -> Conversation:
    word, place = rng.choice(list(_WORDS)), rng.randrange(4)
    language, there = _LANGUAGES[place], _WORDS[word][place]
    if rng.random() < 0.15:
        question = rng.choice(
            (f"what does {there} mean", f"what does {there} mean in English", f"translate {there} to English")
        )
        known = next(name for name, others in _WORDS.items() if there in others)
        return single(
            "requests", styled(rng, question, held_out), f'"{there}" means "{known}".', Check("words", (known,))
        )
    if not held_out and rng.random() < 0.15:
        other = lexicon.any_word(rng)
        if other not in _WORDS:
            question = rng.choice(_TRANSLATE).format(other, rng.choice((*_LANGUAGES, "Japanese", "Dutch", "Latin")))
            return single(
                "requests",
                styled(rng, question),
                "I don't know that word in this language.",
                Check("words", ("don't know",)),
            )
    question = rng.choice(_TRANSLATE_HELD_OUT if held_out else _TRANSLATE).format(word, language)
    return single(
        "requests", styled(rng, question, held_out), f'"{word}" is "{there}" in {language}.', Check("words", (there,))
    )


def _written(rng: Random, held_out: bool) -> Conversation:
    draw = rng.random()
    if draw < 0.45:
        about, poem = rng.choice(list(_POEMS.items()))
        ask = rng.choice(_POEM_ASKS)
        if not held_out and rng.random() < 0.35:
            about = lexicon.any_word(rng) if rng.random() < 0.7 else ""
            ask = ask if about else ask.removesuffix(" about {}")
        return single(
            "requests", styled(rng, ask.format(about), held_out), poem, Check("words", (poem.split()[-1].rstrip("."),))
        )
    if draw < 0.52:
        ask = rng.choice(
            (
                "write a haiku",
                "a haiku please",
                "tell me a haiku",
                "write a haiku about the sea",
                f"write a haiku about {rng.choice(lexicon.NOUNS)}",
                "compose a haiku",
            )
        )
        return single("requests", styled(rng, ask, held_out), _HAIKU, Check("words", ("evening",)))
    if draw < 0.85:
        names, code = rng.choice(_CODE)
        ask = rng.choice(_CODE_ASKS).format(rng.choice(names.split("|")))
        return single(
            "requests",
            styled(rng, ask, held_out),
            f"```python\n{code}\n```",
            Check("words", (code.split("(")[0].split()[-1],)),
        )
    first = lexicon.sentence(rng)
    text = " ".join((first, *(lexicon.sentence(rng) for _ in range(rng.randint(1, 4)))))
    return single(
        "requests", rng.choice(_SUMMARY).format(text), first, Check("words", (first.split()[-1].rstrip("."),))
    )


_GREETING_ASKS = {"say hello": "Hello!", "say hi": "Hi!", "say goodbye": "Goodbye!", "say good morning": "Good morning!", "say thank you": "Thank you!", "greet me": "Hello! How can I help you?",
                  "say hello to the world": "Hello, world!", "say hello world": "Hello, world!", "say yes": "Yes.", "say no": "No.", "say something": "Hello! How can I help you?", "say anything": "Hello! How can I help you?",
                  "introduce yourself": "I am the hypura demo model, a very small mixture of experts that ships with hypura."}  # fmt: skip


def _greeting(rng: Random, held_out: bool) -> Conversation:
    ask = rng.choice(list(_GREETING_ASKS))
    answer = _GREETING_ASKS[ask]
    end = "" if held_out else rng.choice(("", "", "", " in one word", " please", " to me", " briefly", " in English"))
    return single(
        "requests", styled(rng, ask + end, held_out), answer, Check("words", (answer.split()[0].rstrip(",!."),))
    )


def _language(rng: Random, held_out: bool) -> Conversation:
    """What is spoken and paid with where."""
    country, (language, money) = rng.choice(list(knowledge.LANGUAGES.items()))
    if rng.random() < 0.55:
        ask = rng.choice(("what language is spoken in {}", "which language do people speak in {}", "what do people speak in {}", "what is the language of {}", "which languages are spoken in {}", "the language of {}", "official language of {}",
                          "what language do they speak in {}") if not held_out else ("which language is spoken in {}", "what is spoken in {}"))  # fmt: skip
        return single(
            "requests",
            styled(rng, ask.format(country), held_out),
            f"People in {country} speak {language}.",
            Check("words", (language.split()[0],)),
        )
    ask = rng.choice(
        (
            "what is the currency of {}",
            "which currency does {} have",
            "what money do they use in {}",
            "what currency is used in {}",
            "how do people pay in {}",
            "currency of {}",
            "what is {}'s currency",
        )
        if not held_out
        else ("which currency is used in {}", "what is the money of {}")
    )
    return single(
        "requests",
        styled(rng, ask.format(country), held_out),
        f"The currency of {country} is the {money}.",
        Check("words", (money.split()[-1],)),
    )


def generate(rng: Random, held_out: bool = False) -> Conversation:
    return rng.choices((_list, _translate, _written, _greeting, _language), (30, 18, 25, 8, 22))[0](rng, held_out)
