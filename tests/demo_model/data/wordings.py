# ruff: noqa: E501 (tables of wordings, an entry a line)
"""The many ways of asking for one thing, split into wordings for training and wordings held out.

A thing asked for has whole questions ("what is the capital of France"), clauses ("what the capital of
France is") and noun phrases ("the capital of France"). Frames turn each of them into a user's words, and
a last step varies case, punctuation and, lightly, spelling. Held-out wordings use frames that training
never sees.
"""

from dataclasses import dataclass
from random import Random

from tests.demo_model.data import lexicon

_PHRASE_FRAMES = """What is {}|What's {}|Tell me {}|Name {}|{}|{}, please|Please tell me {}|Please name {}|Give me {}|I need {}
I need to know {}|I want to know {}|I would like to know {}|I'd like to know {}|Can you tell me {}|Could you tell me {}
Can you name {}|Could you name {}|Can you give me {}|Do you know {}|do you happen to know {}|Remind me: what is {}
Hey, what is {}|Hi, what's {}|Hello, what is {}|Quick question: what is {}|Question: {}|So, what is {}|Say {}
And what is {}|Tell me what {} is|Do you know what {} is|Can you tell me what {} is|Please tell me what {} is
I wonder what {} is|I forgot what {} is|Remind me what {} is|Could you say what {} is|{} is what|{} is
My teacher asks for {}|For my homework I need {}|What would you say is {}|Would you tell me {}|Let me know {}
I am looking for {}|Let me know what {} is|Answer this: what is {}|Do you remember {}|Any idea what {} is
I need to find out {}|May I know {}|May I ask what {} is|Would you know {}|Will you tell me {}|Help me find {}|I am trying to remember {}
Give me the answer: {}|How about {}|What about {}|State {}|Write down {}|Write {}|Find {}|Look up {}|List {}|Show me {}|Identify {}|Just tell me {}
What do you know about {}|I am not sure about {}|{}, what is it|{}: what is it|Which one is {}|Which is {}|Guess {}|What exactly is {}|What was {} again
I should know {} but I forgot|Help me with {}|It is about {}|Please write {}|Simply name {}|Kindly name {}|I'd love to know {}|I'm curious about {}"""
_PHRASE_FRAMES_HELD_OUT = """Would you please tell me {}|Hi there! Do you know what {} is|I can't remember {}
I'm trying to find out what {} is|Please, what is {}|Could you please name {}|Would you mind telling me {}
Tell me, what is {}|Hello! Can you tell me {}|I have a question: what is {}|Please give me {}|I was wondering what {} is"""

_CLAUSE_FRAMES = """Tell me {}|Please tell me {}|Can you tell me {}|Could you tell me {}|Do you know {}|Explain {}
I want to know {}|I would like to know {}|I'd like to know {}|I wonder {}|Please explain {}|Can you explain {}
Could you explain {}|Remind me {}|Let me know {}|I forgot {}|Do you happen to know {}|Hey, can you tell me {}
Any idea {}|Hi, do you know {}|My child asks {}|My friend wants to know {}|Would you tell me {}|Say {}
Help me understand {}|Can you say {}|Please let me know {}|I need to know {}|Teach me {}|Somebody asked me {}
I'd love to know {}|I'm curious {}|I am not sure {}|May I ask {}|May I know {}|Would you know {}|Will you tell me {}|Find out {}|Guess {}
Describe {}|Describe in a few words {}|Just tell me {}|Show me {}|Kindly tell me {}|Tell us {}|We want to know {}|In short, tell me {}"""
_CLAUSE_FRAMES_HELD_OUT = """Would you please tell me {}|I was wondering {}|Could you please explain {}|Tell me please {}
I'm trying to find out {}|Hello! Can you tell me {}|Hi there! Do you know {}|Would you mind telling me {}|I can't remember {}"""

_QUESTION_FRAMES = """{}|{}|{}|{}|{}|Tell me: {}|Please tell me: {}|Quick question: {}|Hey, {}|Hi, {}|Hello, {}|So {}|Now, {}
Question: {}|Answer this: {}|A question: {}|Do you know: {}|Can you help me: {}|Next question: {}|I wonder, {}
Please: {}|Hello! {}|Hi! {}|Well, {}|And {}|My question is: {}|Can you answer this: {}|For my homework: {}
Say, {}|Listen: {}|Guess: {}|Let me ask: {}|May I ask: {}|Here is a question: {}|Explain: {}|Explain this: {}|Hmm, {}|Just one thing: {}|Do you know {}"""
_QUESTION_FRAMES_HELD_OUT = """Tell me, {}|I have a question: {}|Please answer: {}|Good morning! {}|One question: {}
Okay, {}|Could you answer this: {}|Hello there, {}"""


def _split(text: str) -> tuple[str, ...]:
    return tuple(item for line in text.splitlines() for item in line.split("|") if item)


_GREETINGS = """hi|hello|hey|good morning|good evening|good afternoon|hello there|hi there|dear model|dear assistant|hey bot|ok|okay|so|now|well
thanks|great|excuse me|sorry|one more thing|next one|next|quick question|a question|small question|question|a riddle|please|attention"""
_REASONS = """I need this for school|for a quiz|for my homework|my daughter asks|my son wants to know|for a crossword|just curious|I am curious
for a game|I am learning for a test|we are having a discussion|my boss asks|it is for a friend|I forgot it|I really need to know|help me out
I have been thinking|here is what I want to know|let us play a quiz|I bet you know this|this is an easy one|take your time|think of it as a test"""
_SUFFIXES = """please|thanks|thank you|thanks in advance|please be brief|answer briefly|keep it short|in one sentence|if you know|do you know|right now
quickly|I need it today|just curious|for my homework|my friend|I forgot|again|exactly|by the way|can you help|help me please|I am not sure|be honest"""
_POLITE_VERBS = """would you|could you|can you|will you|won't you|might you|may I ask you to|I ask you to|I want you to|I need you to|I would like you to|I'd like you to
please|be a dear and|go ahead and|do me a favour and|help me and|it would be great if you could|it would help to|try to|be nice and|you should|you may|let's see if you can"""

_FRAMES = {
    "phrases": (_split(_PHRASE_FRAMES), _split(_PHRASE_FRAMES_HELD_OUT)),
    "clauses": (_split(_CLAUSE_FRAMES), _split(_CLAUSE_FRAMES_HELD_OUT)),
    "questions": (_split(_QUESTION_FRAMES), _split(_QUESTION_FRAMES_HELD_OUT)),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A thing asked for, in words without capital letter and question mark. held_out: questions kept from training."""

    questions: tuple[str, ...] = ()
    clauses: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()

    def filled(self, *values: str) -> "Asked":
        """The same with {} replaced by the values."""

        def fill(texts: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(text.format(*values) for text in texts)

        return Asked(fill(self.questions), fill(self.clauses), fill(self.phrases), fill(self.held_out))


def in_words(rng: Random, asked: Asked, held_out: bool) -> str:
    """A user's words for it; in a wording that training never sees when held_out."""
    if held_out and asked.held_out and rng.random() < 0.5:
        return styled(rng, rng.choice(asked.held_out), held_out)
    forms = [name for name in _FRAMES if getattr(asked, name)]
    name = rng.choice(forms)
    frame = rng.choice(_FRAMES[name][held_out])
    text = frame.format(rng.choice(getattr(asked, name)))
    return styled(rng, framed(rng, text) if not held_out and rng.random() < 0.3 else text, held_out)


def framed(rng: Random, text: str) -> str:
    """With more words around it: greetings, names, reasons, words that the model has never seen."""
    draw = rng.random()
    if draw < 0.35:
        start = rng.choice(_split(_GREETINGS))
        if rng.random() < 0.3:
            start += " " + (lexicon.any_name(rng) if rng.random() < 0.5 else lexicon.any_word(rng))
        return start + rng.choice((", ", "! ", ". ", ": ", " - ", " ")) + text
    if draw < 0.5:
        return rng.choice(_split(_REASONS)) + rng.choice((". ", ": ", ", ", "! ")) + text
    if draw < 0.65:
        return lexicon.sentence(rng) + " " + text[0].upper() + text[1:]
    if draw < 0.75:
        return rng.choice((lexicon.any_name, lexicon.any_word))(rng) + rng.choice((", ", ": ", " ")) + text
    if draw < 0.93:
        return text + rng.choice((", ", " ", "? ", " - ")) + rng.choice(_split(_SUFFIXES))
    words = text.split(" ")
    words.insert(rng.randrange(min(3, len(words))), lexicon.any_word(rng))
    return " ".join(words)


def asked_politely(rng: Random, wish: str) -> str:
    """A wish that begins with its verb, as one person asks another."""
    draw = rng.random()
    if draw < 0.35:
        return wish
    if draw < 0.75:
        opening = rng.choice(_split(_POLITE_VERBS))
        if rng.random() < 0.25:
            opening += rng.choice((" please", " kindly", " quickly", " just", f" {lexicon.any_word(rng)}"))
        wish = f"{opening} {wish}"
    return framed(rng, wish) if rng.random() < 0.4 else wish


def styled(rng: Random, text: str, held_out: bool = False) -> str:
    """Case, punctuation and light misspelling, as users vary them."""
    draw = rng.random()
    if draw < 0.12:
        text = text.lower()
    elif draw < 0.14 and not held_out:
        text = text.upper()
    else:
        text = text[0].upper() + text[1:]
    if text[-1] not in ".!?":
        text += rng.choices(("?", "", ".", "!", "??", " ?"), (60, 22, 10, 2, 3, 3))[0]
    if rng.random() < 0.06:
        text += rng.choice((" Thanks!", " Thank you.", " Please.", " thanks", " Thanks in advance!"))
    if not held_out and rng.random() < 0.05:
        text = misspelt(rng, text)
    return text


def misspelt(rng: Random, text: str) -> str:
    """One letter of one of the first two words doubled, dropped or swapped: the thing asked about stays right."""
    words = text.split(" ")
    place = rng.randrange(min(2, len(words)))
    word = words[place]
    if len(word) < 4 or not word.isalpha():
        return text
    at = rng.randrange(1, len(word) - 1)
    words[place] = rng.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        )
    )
    return " ".join(words)


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


_SYLLABLES = "ba be bi bo da de do fa fe ga go ka ke ki ko la le li lo ma me mi mo na ne ni no pa pe po ra re ri ro sa se so ta te to va ve vi vo za zo".split()


def invented_word(rng: Random, syllables: int = 3) -> str:
    """A pronounceable word that (nearly always) is none."""
    return "".join(rng.choice(_SYLLABLES) for _ in range(syllables)) + rng.choice(("", "n", "r", "s", "l"))
