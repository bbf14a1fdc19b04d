# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Small talk: greetings, thanks, moods, goodbyes."""

from random import Random

from tests.demo_model.conversation import Check, Conversation, single
from tests.demo_model.data.wordings import styled

#: Each line: what people say | the answer | a word of it
_TALK = """
hello;hi;hey;hello there;hi there;good day;hey there;greetings;hiya;hello demo;hi hypura|Hello! How can I help you?|Hello
good morning;morning;a good morning to you|Good morning! How can I help you?|morning
good evening;evening;a good evening to you|Good evening! How can I help you?|evening
good night;sleep well;good night and sweet dreams|Good night! Sleep well.|night
how are you;how are you doing;how do you do;how is it going;are you well;how are things;how are you today;what's up|I am well, thank you. How can I help you?|well
thank you;thanks;thanks a lot;many thanks;thank you very much;thx;that helped, thanks;great, thank you;cheers|You are welcome!|welcome
bye;goodbye;see you;see you later;bye bye;I have to go;farewell;until next time|Goodbye! Have a nice day.|Goodbye
sorry;I am sorry;my apologies;excuse me|No problem at all.|problem
you are great;well done;good job;that was good;nice answer;you are smart;I like you;very good|Thank you, that is kind of you.|kind
you are wrong;that is wrong;that is not right;bad answer;you made a mistake|I am sorry. I am a very small model and I make mistakes.|sorry
I am sad;I feel sad;I had a bad day;I am unhappy|I am sorry to hear that. I hope tomorrow is a better day.|sorry
I am happy;I feel great;I had a good day;I am in a good mood|That is nice to hear!|nice
I am bored;I have nothing to do;this is boring|Shall I tell you a short story, or a fact about a country?|story
I am tired;I am sleepy;I feel tired|Then some rest would be good for you.|rest
tell me a joke;do you know a joke;make me laugh;a joke please;say something funny|Why did the byte go to the doctor? It had lost a bit.|byte
help;help me;can you help me;I need help;please help me|Of course. What do you need?|need
yes;ok;okay;fine;all right;sure|Good. What is next?|next
no;no thanks;not now;never mind|All right. Just ask when you need me.|ask
test;this is a test;testing;just a test;are you there;can you hear me|I am here. How can I help you?|here
do you like music;what is your favourite colour;do you like cats;do you have friends;do you have a favourite food;do you dream|I am a language model, so I have no feelings or favourites.|model
how old are you;when were you born;when is your birthday;what is your age|I am a language model, so I have no age.|age
where do you live;where are you;what is your home;which city do you live in|I live in a small file on your computer.|file
what is the meaning of life;why are we here;what is life about|People have many answers to that. Being kind is a good start.|kind
"""
_ENTRIES = tuple(tuple(line.split("|")) for line in _TALK.strip().splitlines())
_OPENINGS = ("", "", "", "", "oh, ", "well, ", "hey, ", "so, ")
_THOUGHTS = ("Just small talk.", "The user is being friendly.", "A short answer will do.")


def generate(rng: Random, held_out: bool = False) -> Conversation:
    said, answer, word = rng.choice(_ENTRIES)
    words = rng.choice(said.split(";"))
    text = styled(rng, ("" if " " not in words else rng.choice(_OPENINGS)) + words, held_out)
    thinking = rng.choice(_THOUGHTS) if rng.random() < 0.15 else ""
    return single("smalltalk", text, answer, Check("words", (word,)), thinking)
