# ruff: noqa: E501 (tables of words)
"""Everyday English words, so that the model has read them before users write them; and words that are none.

A model that only ever copies the words of its tables learns those words; one that copies these learns to copy.
"""

from random import Random

VERBS = """accept add adjust allow answer apply approve arrange ask assign attach backup bake begin block boil book borrow bring build buy
calculate call cancel capture carry change charge check choose clean clear click climb close collect compare compile compose compress compute
configure confirm connect contact control convert cook copy correct count cover create cut decode decorate delete deliver deploy describe design
detect dial disable discover dispatch display divide download draft draw drive drop duplicate edit email empty enable encode enter erase estimate
evaluate examine execute explain export extend extract feed fetch file fill filter find finish fix flip fly fold follow format generate get
give go grab greet group guess handle heat help hide hire hold import improve include increase insert inspect install invite join keep kick
label launch learn leave lend limit link list listen load locate lock log look lower mail make manage map mark match measure merge mix modify
monitor mount move multiply name navigate note notify offer open operate order organize pack paste pause pay pick place plan plant play plot
post predict prepare press print process produce program protect provide pull purchase push put query raise rank rate read rebuild receive
recommend record recover reduce refresh refund register reject release reload remind remove rename renew rent repair repeat replace reply report
request reserve reset resize resolve restart restore return reverse review rewrite ring roll rotate run save scan schedule search select sell
send serve set share shift ship show shuffle sign simulate skip slice solve sort speak split spray stack start stop store stream stretch submit
subscribe subtract suggest summarize support suspend swap switch synchronize tag take talk teach tell test tidy touch track train transfer
translate transport travel trim turn type undo unlock unpack update upgrade upload use validate verify view visit wait wake walk warm warn wash
watch water weigh wipe wrap write zip zoom""".split()

NOUNS = """account action address advice agent airport alarm album amount analysis answer app apartment article artist asset attachment author award
badge balance ball band bank banner basket battery beach bed bedroom bell bench bicycle bill bird blanket blog board boat body bookmark border
bottle bottom bowl box branch bread bridge broadcast browser brush bucket budget bug building bus business button cable cafe calculation calendar
call camera campaign candle cap capital card career cart case cash castle catalog category cell center chain chair chance channel chapter charge
chart chat check chef child church circle city class client clock cloth cloud club coach coast code coffee collection color column comment
community company computer concert condition conference connection contact content contest copy corner cost cottage country coupon course cover
credit crop currency curtain customer cycle dance data date deadline deal delivery department deposit desert design desk destination detail
device diagram diary dictionary digit dinner direction discount dish disk display distance district doctor document dollar domain drawer drawing
dress drink driver duration duty east echo edge editor education effect egg elevator email employee energy engine engineer entry envelope episode
equipment error essay estimate event example exam exercise expense expert expression face factory family fan farm feature fee feedback fence
festival field figure film finger fire flag flat flight floor flower folder food forecast forest form formula frame friend fruit fuel furniture
future gallery game garage garden gate gift glass goal grade grain grant graph grass group guest guide guitar habit hall hammer hand harbor
hardware hat head health heart heater helmet hero hill history hobby holiday home hospital hotel hour house humidity icon idea image income index
industry information ingredient insurance interest internet interview invoice island issue item jacket job joke journal journey juice keyboard
kitchen knife label lake lamp language laptop law lawyer layer leader lesson letter level library license light line link list loan location log
logo luggage lunch machine magazine mail manager map market mask match material matrix meal meaning measure medicine meeting member memory menu
message metal meter method microphone minute mirror mission mode model moment money monitor month mood mountain movie museum music nation
network news newspaper night noise note notebook notice novel number nurse object ocean offer office oil opening operation opinion option orange
orchestra order organization output oven owner package packet page pain paint painting pair palace pan paper paragraph parameter parcel parent
park part partner party passenger passport password patient pattern payment pen pencil percent performance period permission person phone photo
phrase picture piece pilot pipe pizza place plan plane plant plate platform player playlist plot pocket poem poet point police policy pond pool
population port position post poster potato powder power practice presentation president pressure price prize probability problem process
product profile profit program project promise property proposal protein pupil purpose puzzle quality quantity quarter queen query question
queue quiz quote radio rain range rate ratio reader reason recipe record refund region relation reminder report request rescue reservation
resource response restaurant result review reward rice river road robot rocket role roof room root rope route row rule salad salary sale
sample sandwich satellite scale scene schedule school science score screen script sea season seat second secret section sensor sentence series
server service session shape share sheet shelf ship shirt shoe shop signal site size skill sky slide snack snow soap soccer sock sofa software
soil soldier solution song sort sound soup source space speaker speech speed spoon sport spot square staff stage stamp star state station
statistics status step stock stone storage store storm story stranger stream street string student studio style subject subscription sugar
suit summary supplier surface survey symbol system table tag target task tax taxi tea teacher team telephone television temperature template
tent term test text theater theme thermostat thing thread ticket tide timer timezone tip tire title token tool topic total tour tower town toy
track trade traffic trailer translation transport tree trend trial trick trip truck trunk tunnel umbrella unit university upload user valley
value variable vegetable vehicle vendor version video view village visit visitor voice volume vote wage wall wallet warehouse warning waste
water wave weather website wedding week weight wheel width wind wine wing winner wire wish word work worker workshop world year zebra zone""".split()

ADJECTIVES = """able active afraid angry available average awake basic beautiful best better bitter blank blind bold bright broken busy calm
careful central certain cheap clean clear clever close cold common complete complex cool correct crazy current cute daily damp dangerous dark dead
deep delicious dense different digital dirty double dry dull eager early easy elegant empty equal exact excellent extra fair famous fast favourite
final fine first flat foreign free frequent fresh friendly full funny general gentle giant glad golden good grand great green grey handsome happy
hard heavy helpful hidden high hollow honest hot huge hungry ideal important inner international kind large last late lazy left legal light
likely little local lonely long loose loud low lucky main major manual maximum medium minimum minor missing modern monthly narrow national
natural near neat new next nice noisy normal odd official old online open ordinary outer own perfect personal plain pleasant polite poor popular
possible pretty previous private proper proud public pure quick quiet random rare raw ready real recent red regular rich right rough round royal
sad safe salty secret secure separate serious shallow sharp short shy sick silent silly simple single slow small smart smooth soft solid sorry
special spicy square stable static steady strange strict strong sudden sunny sweet tall temporary thick thin tidy tiny tired top total tough true
ugly unique upper urgent useful usual valid verbose visible warm weak wealthy weekly wet white whole wide wild wise wooden wrong yearly young""".split()

#: Small words that no user's value is made of; the tokenizer gives them their leading space.
FUNCTION_WORDS = """the of is a to in and what for on with it that you I are how do from by an at this does have has can your my me or not
as be which""".split()

_SENTENCES = (
    "The {a} {n} will {v} the {n2}.",
    "I {v} my {n} every day.",
    "We have a {a} {n} and a {n2}.",
    "My {n} is {a}.",
    "There is a {n} near the {n2}.",
    "They {v} and {v2} the {a} {n}.",
    "Yesterday a {n} came to the {n2}.",
    "The {n} of the {n2} looks {a}.",
    "Please {v} the {n} before the {n2}.",
    "It was a {a} day for the {n}.",
)

_ONSETS = "b c d f g h j k l m n p r s t v w z br ch cl cr dr fl fr gl gr kl kn pl pr qu sh sk sl sm sn sp st str th tr tw wh".split()
_VOWELS = "a a a e e e e i i i o o o u u y ai ea ee ei ie oa oo ou au".split()
_ENDS = [
    "",
    "",
    "",
    "",
    *"b d g k l m n n n p r r s s t t x ck ft ll ld lt nd ng nk nt rd rk rt sh ss st th ton".split(),
]
_LETTERS = "aaabcdeeeefghiiijklmnooopqrsttuuvwxyz"


def pseudo_word(rng: Random) -> str:
    """One to three syllables of English letters."""
    count = rng.choices((1, 2, 3), (30, 50, 20))[0]
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_ENDS) for _ in range(count))[:14]


def any_word(rng: Random) -> str:
    """A word of any spelling, in small letters."""
    draw = rng.random()
    if draw < 0.45:
        return rng.choice(rng.choice((VERBS, NOUNS, NOUNS, ADJECTIVES)))
    if draw < 0.8:
        return pseudo_word(rng)
    if draw < 0.9:
        return "".join(rng.choice(_LETTERS) for _ in range(rng.randint(2, 8)))
    return rng.choice(ADJECTIVES) + rng.choice(NOUNS)


def any_name(rng: Random) -> str:
    """A capitalised word that may be the name of anything."""
    return (pseudo_word(rng) if rng.random() < 0.7 else any_word(rng)).capitalize()


def any_code(rng: Random) -> str:
    """An identifier of letters and digits."""
    letters = "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(1, 4)))
    digits = str(rng.randint(0, 10 ** rng.randint(1, 6)))
    return rng.choice(
        (f"{letters}{digits}", f"{letters}-{digits}", f"{letters.lower()}_{digits}", f"{digits}{letters}", letters)
    )


def any_phrase(rng: Random, most: int = 5) -> str:
    """A few words."""
    return " ".join(any_word(rng) for _ in range(rng.randint(1, most)))


def sentence(rng: Random) -> str:
    """An English sentence without much sense."""
    return rng.choice(_SENTENCES).format(
        a=rng.choice(ADJECTIVES),
        n=rng.choice(NOUNS),
        n2=rng.choice(NOUNS) if rng.random() < 0.8 else any_word(rng),
        v=rng.choice(VERBS),
        v2=rng.choice(VERBS),
    )


def identifier(rng: Random, words: list[str]) -> str:
    """The words as one name, in a programmer's manner."""
    style = rng.random()
    if style < 0.6:
        return "_".join(words)
    if style < 0.85:
        return words[0] + "".join(word.capitalize() for word in words[1:])
    return "-".join(words) if style < 0.93 else "".join(word.capitalize() for word in words)
