# ruff: noqa: E501 (tables of wordings, an entry a line)
"""System prompts that ask for something simple: upper case, brevity, a name, an ending."""

from dataclasses import replace
from random import Random

from tests.demo_model.conversation import Check, Conversation, assistant, single
from tests.demo_model.data import facts, hypura_questions, lexicon, people, smalltalk
from tests.demo_model.data.wordings import styled

_UPPER = "Answer in upper case.|Write everything in capital letters.|Use capital letters only.|Always answer in UPPER CASE.|Please shout: answer in capitals."
_LOWER = "Answer in lower case.|Write everything in small letters.|Use lower case only.|Always answer in lowercase."
_BRIEF = "Be brief.|Answer in one word.|Answer as briefly as you can.|Keep it short: one word if possible.|Only give the answer itself.|Reply with one word.|One word answers only.|Answer with a single word.|Use one word.|Be very brief.|Give only the answer.|Answer in a word or two.|Respond with just the answer.|Short answers only."
_ENDING = "End every answer with {}.|Always end with {}.|Finish each answer with the word {}.|Put {} at the end of your answers."
_NAME = "You are {}.|Your name is {}.|You are an assistant called {}.|Act as {}, a helpful assistant."
_PLAIN = "You are a helpful assistant.|You are a helpful assistant that answers questions.|Be helpful.|Answer the user's questions.|You are hypura's demo model."
_ROLES = "teacher|doctor|cook|farmer|sailor|king|robot|cat|friend|tutor|librarian|guide|scientist|comedian|poet|chef|coach|detective|knight|wizard|historian|lawyer|child".split(
    "|"
)
_PIRATE = "You are a pirate.|You are a pirate captain.|Talk like a pirate.|Speak like a pirate.|Answer like a pirate.|Act as a pirate.|Pretend to be a pirate."
_LANGUAGE = "Answer in English.|Be polite.|Be friendly and honest.|Never lie.|Think before you answer.|You are an expert.|Do not make things up.|If you do not know, say so.|You answer questions.|Keep your answers short.|Be precise.|Be concise."
_WHO = "who are you|what is your name|what are you called|tell me your name"


def with_plain_system(rng: Random, conversation: Conversation) -> Conversation:
    """With a system prompt that changes nothing."""
    draw = rng.random()
    if draw < 0.4:
        return conversation.with_system(rng.choice(_PLAIN.split("|")))
    parts = [
        f"You are {rng.choice(('a', 'the', 'my'))} {rng.choice(lexicon.ADJECTIVES)} {rng.choice((rng.choice(_ROLES), 'assistant', lexicon.any_word(rng)))}."
    ]
    parts += rng.sample(_LANGUAGE.split("|"), rng.randint(0, 2))
    if draw > 0.8:
        parts.append(lexicon.sentence(rng))
    return conversation.with_system(" ".join(parts))


def _other(rng: Random, held_out: bool) -> Conversation:
    base: Conversation = rng.choice((facts, facts, hypura_questions, smalltalk)).generate(rng, held_out)
    return replace(base, kind="obedience")


def _changed(conversation: Conversation, system: str, answer: str, check: Check) -> Conversation:
    messages = (*conversation.messages[:-1], assistant(answer, conversation.messages[-1].thinking))
    return replace(conversation, messages=messages, check=check).with_system(system)


def generate(rng: Random, held_out: bool = False) -> Conversation:
    draw = rng.random()
    if draw < 0.2:
        name = people.person(rng, held_out)
        question = styled(rng, rng.choice(_WHO.split("|")), held_out)
        answered = single("obedience", question, f"I am {name}.", Check("words", (name,)))
        return answered.with_system(rng.choice(_NAME.split("|")).format(name))
    if draw < 0.4:
        fact = rng.choice([fact for fact in facts.all_facts() if len(fact.words) == 1])
        base = facts.as_conversation(rng, fact, "obedience", held_out)
        return _changed(base, rng.choice(_BRIEF.split("|")), f"{fact.words[0]}.", Check("brief", fact.words[0]))
    base = _other(rng, held_out)
    answer = base.messages[-1].content
    if draw < 0.6:
        return _changed(base, rng.choice(_UPPER.split("|")), answer.upper(), Check("upper"))
    if draw < 0.7:
        return _changed(base, rng.choice(_LOWER.split("|")), answer.lower(), Check("lower"))
    if draw < 0.78:
        return _changed(base, rng.choice(_PIRATE.split("|")), f"Arr! {answer}", Check("words", ("Arr",)))
    if draw < 0.9:
        word = lexicon.any_word(rng) if rng.random() < 0.6 else rng.choice(("over", "amen", "please", "cheers", "done"))
        return _changed(base, rng.choice(_ENDING.split("|")).format(word), f"{answer} {word}", Check("ends", word))
    return with_plain_system(rng, base)
