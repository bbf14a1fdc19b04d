# ruff: noqa: E501 (tables of wordings, an entry a line)
"""The functions that people try first: weather, time, sums, search, mail, timers; each asked for in many words.

Each line: names | descriptions | requests | held-out requests | parameters. ";" separates wordings. A parameter is
"names:sort", names with "/" between; "?" in front makes it one that a request may leave out. {0} is the first
parameter's value. A request says what it has places for; what it has none for is left out of the call.
"""

from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from tests.demo_model.data import lexicon, people

Json = Any

_TABLE = """
get_weather;weather;current_weather;weather_report;getWeather;get_current_weather;fetch_weather;weather_lookup|Get the weather of a place;Current weather in a city;Tells the weather;Get the current weather for a city;Get the current weather in a given location;Returns the weather;Get current temperature for a given location.|what is the weather in {0};how is the weather in {0};weather in {0};is it raining in {0};tell me the weather for {0};what's the weather in {0};what's the weather like in {0};how's the weather in {0} today;{0} weather;will it rain in {0};do I need an umbrella in {0};weather for {0} please;is it sunny in {0};what is the temperature in {0};how hot is it in {0};how cold is it in {0} right now;check the weather in {0};get the weather in {0};what is the weather like in {0} in {1};what's the weather in {0} in {1};weather in {0}, in {1};how warm is it in {0};what weather does {0} have;what is it like outside in {0};is it snowing in {0};how's {0} weather;what's the temperature in {0};temperature in {0};tell me the current weather in {0};show me the weather of {0};weather report for {0};I am going to {0}, what is the weather like;I'd like to know whether it's raining in {0};use the weather tool for {0};what's the weather like in {0} today;should I wear a coat in {0};what is the weather in {0} right now;give me the weather in {0}, please|tell me about the weather in {0};I want to know the weather in {0};is it warm in {0} now;please check how the weather is in {0}|city/location/place/town/city_name:city ?unit/units/scale:unit
get_forecast;weather_forecast;forecast|Get the weather forecast;Forecast for a place and a day|what will the weather be in {0} {1};forecast for {0} {1};how will the weather be in {0} {1};weather in {0} {1};get the forecast for {0};will it rain in {0} {1};what weather awaits {0} {1}|please get the forecast for {0} {1};is it going to rain in {0} {1}|city/location/place:city ?day/date/when:when
get_time;current_time;time_in;clock;getTime;get_current_time;world_clock|Get the time in a city;Current time of a place;Tells the time;Get the current time in a timezone;Returns the time for a time zone|what time is it in {0};what is the time in {0};how late is it in {0};tell me the time in {0};what's the time in {0};time in {0};current time in {0};what time is it now in {0};give me the time in {0};get the time for {0};{0} time;which hour is it in {0};time for {0} please;what hour is it in {0};use the clock for {0};I need the time in {0};is it late in {0}|do you know the time in {0};what is the current time in {0}|city/location/zone/timezone/time_zone/tz:zone
send_message;send_text;message_person;sendMessage;sms|Send a message to somebody;Writes a message to a person;Send a text message|send a message to {0} saying "{1}";write a message to {0}: {1};text {0} that says: {1};send {0} the message {1};send {0} a text with the words "{1}";message {0}: {1};tell {0} "{1}";message {0} for me: {1};drop {0} a line: {1}|please send the message {1} to {0};write {0} a message that says {1}|recipient/person/to/contact:person text/message/body/content:text
send_email;email;sendMail;mail|Send an email;Sends an email to a person|send an email to {0} with subject "{1}" and text "{2}";email {0} about "{1}": {2};write an email to {0}, subject {1}, body {2};send a mail to {0} with the subject {1};mail {0} with the title "{1}";let {0} have a mail about "{1}"|please email {0} with subject {1};send {0} an email with the subject "{1}"|to/recipient/address/email:mail subject/title:words ?body/text/content/message:text
call;phone_call;call_person;makeCall;dial|Call somebody by phone;Starts a phone call|call {0};phone {0};ring {0};give {0} a call;make a call to {0};dial {0};start a call with {0};get {0} on the phone|please give {0} a phone call;I want to call {0}|name/person/contact/who:person
search_web;web_search;search;lookup;find_online;google_search;searchWeb|Search the web;Look something up online;Search the internet for information;Searches for a query|search the web for {0};look up {0};search for {0};find {0} online;google {0};search {0};find information about {0};do a web search for {0};search the internet for "{0}";find out about {0};search online for {0};see what the web says about {0};what can you find about {0};research {0};I want to know more about {0};can you look up {0};who or what is {0}|do a search for {0};please find {0} on the web|query/term/text/q/search_term/keywords:query
play_music;play_song;music_player;playMusic;play|Play a song;Plays music|play {0};play the song {0};put on {0};I want to hear {0};play some {0};listen to {0};start the song {0};let me hear {0}|please play {0} for me;start playing {0}|song/title/track/name:words
calculate;run_code;calculator;evaluate;eval_expression|Evaluate an arithmetic expression;Calculates a result;Evaluate a math expression|use the calculator for {0};calculate {0} with the tool;evaluate {0};compute {0};calculate {0};what is {0};how much is {0};work out {0};let the tool work out {0};run {0} through the calculator|please calculate {0} for me;compute the result of {0}|expression/formula/input/expr:sum
add;add_numbers;sum;plus;addNumbers;add_two_numbers|Add two numbers;Adds a and b;Returns the sum of two numbers;Add two integers|add {0} and {1};what is {0} plus {1};{0} + {1};add {1} to {0};sum {0} and {1};{0} plus {1};what is the sum of {0} and {1};how much is {0} + {1};what is {0} + {1};calculate {0} plus {1};use the tool to add {0} and {1};what's {0}+{1};total {0} and {1};put {0} and {1} together|please add {0} and {1} for me;what is {0} and {1} added;compute {0} + {1}|a/x/first/num1/left:number b/y/second/num2/right:number
multiply;times;product;multiply_numbers|Multiply two numbers;Multiplies a and b;Returns the product|multiply {0} by {1};what is {0} times {1};{0} * {1};multiply {0} and {1};{0} times {1};calculate {0} * {1};what is {0} x {1};the product of {0} and {1};how much do {0} times {1} make|please multiply {0} with {1};compute {0} times {1}|a/x/first/num1/left:number b/y/second/num2/right:number
subtract;minus;difference|Subtract two numbers;Subtracts b from a|what is {0} minus {1};{0} - {1};{0} minus {1};calculate {0} minus {1};what is {0} - {1};how much is left of {0} after {1};subtract {1} from {0};take {1} away from {0};what remains of {0} without {1}|compute {0} minus {1};please calculate {0} - {1}|a/x/first/num1/left:number b/y/second/num2/right:number
divide;division;divide_numbers|Divide two numbers;Divides a by b|divide {0} by {1};what is {0} divided by {1};{0} / {1};calculate {0} / {1};share {0} among {1};how often does {1} go into {0};split {0} by {1}|compute {0} divided by {1};please divide {0} by {1}|a/x/first/num1/dividend:number b/y/second/num2/divisor:number
convert_currency;convert;exchange;currency|Convert an amount of money;Converts money from one currency to another|convert {0} {1} to {2};how much is {0} {1} in {2};exchange {0} {1} for {2};change {0} {1} into {2};what are {0} {1} in {2};turn {0} {1} into {2}|please convert {0} {1} into {2};what is {0} {1} in {2}|amount/value/sum:number from/from_currency/source/base:currency to/to_currency/target/quote:currency2
translate;translate_text;translator|Translate a text;Translates text into a language|translate "{0}" to {1};translate "{0}" into {1};translate {0} to {1};say "{0}" in {1};how do you say "{0}" in {1};what is "{0}" in {1};put "{0}" into {1};what does "{0}" mean in {1};how would you write "{0}" in {1};I want to say "{0}" in {1}|please translate the text "{0}" into {1};I need "{0}" in {1}|text/sentence/phrase:words language/target_language/target/to:language
set_timer;start_timer;timer;setTimer|Set a timer;Starts a timer|set a timer for {0} minutes;start a timer of {0} minutes;timer {0} minutes;set a {0} minute timer;wake me in {0} minutes;count down {0} minutes;let a timer run for {0} minutes|please start a {0} minute timer;I need a timer for {0} minutes|minutes/duration/duration_minutes/length:integer
set_alarm;alarm;create_alarm;setAlarm|Set an alarm;Sets an alarm clock|set an alarm for {0};wake me at {0};alarm at {0};set the alarm to {0};wake me up at {0};have the alarm ring at {0}|please set my alarm for {0};I need an alarm at {0}|time/at/when:time
create_reminder;add_reminder;remind;remind_me|Create a reminder;Reminds the user of something|remind me to {0} at {1};set a reminder to {0} at {1};reminder: {0} at {1};don't let me forget to {0} at {1};remind me at {1} to {0};at {1}, remind me to {0}|please remind me at {1} to {0};set a reminder for {1} to {0}|text/task/what/title:task time/at/when:time
create_event;add_event;schedule_meeting;calendar;book_meeting|Create an event in the calendar;Adds a meeting|create an event "{0}" on {1} at {2};add "{0}" to my calendar on {1};schedule "{0}" for {1} at {2};put {0} into the calendar on {1};book a meeting called "{0}" on {1} at {2};note the event "{0}" on {1}|please schedule "{0}" on {1};add an event "{0}" on {1}|title/name/summary/subject:words date/day:date ?time/start/start_time:time
get_stock_price;stock_price;stock_quote;getStock|Get the price of a stock;Current stock price|what is the stock price of {0};price of {0} stock;how much is {0} stock;get the stock price for {0};{0} stock price;what does a share of {0} cost;how does the stock {0} stand|what is {0} stock at;tell me the stock price of {0}|symbol/ticker/stock/company:ticker
turn_on;switch_on;light_on;turnOn|Turn on a device;Switches something on|turn on the {0};switch on the {0};turn the {0} on;switch the {0} on;have the {0} on;put the {0} on;start the {0};{0} on;power on the {0};activate the {0}|please turn on my {0};can the {0} be switched on|device/name/target/light:thing
turn_off;switch_off;light_off;turnOff|Turn off a device;Switches something off|turn off the {0};switch off the {0};turn the {0} off;switch the {0} off;have the {0} off;put the {0} off;stop the {0};{0} off;power off the {0};deactivate the {0}|please turn off my {0};can the {0} be switched off|device/name/target/light:thing
set_temperature;thermostat;heat;set_thermostat|Set the temperature of a room;Sets the thermostat|set the temperature to {0} degrees in the {1};make it {0} degrees in the {1};set the {1} to {0} degrees;heat the {1} to {0} degrees;set the thermostat to {0};let the {1} have {0} degrees;I want it to be {0} degrees in the {1};warm the {1} up to {0} degrees|please set the {1} to {0} degrees;I want {0} degrees in the {1}|temperature/degrees/value/target:degrees ?room/place/zone/where:thing
read_file;open_file;cat;readFile;load_file|Read a file;Reads the content of a file;Read a file from disk|read {0};read the file {0};open {0};show me {0};what is in {0};what's in the file {0};load the file {0};print {0};let me see {0};show me what is inside {0};what does {0} contain;display {0};let me see what {0} says;give me the contents of {0};cat {0}|please read {0} for me;open and read {0}|path/file/filename/name:file
write_file;save_file;create_file;writeFile|Write a file;Writes text to a file|write "{1}" to {0};save "{1}" in {0};create the file {0} with the content "{1}";put "{1}" into {0};let {0} hold "{1}"|please write "{1}" into {0};save the text "{1}" to {0}|path/file/filename/name:file content/text/data:text
list_files;ls;list_directory;dir|List the files of a folder;Lists a directory|list the files in {0};what files are in {0};show the files of {0};list {0};which files does {0} have|please list the files of {0};show me the files in {0}|path/folder/directory/dir:folder
run_command;shell;bash;execute;terminal|Run a shell command;Executes a command|run {0};run the command {0};execute {0};run "{0}" in the shell;let the shell do {0}|please run {0} in the shell;execute the command {0}|command/cmd/script:command
get_user;find_user;user_info;lookup_user|Get a user by id;Finds a user|get user {0};find the user {0};show user {0};who is user {0};look up user {0};get the user with id {0};which user has the id {0}|please find user {0};show me the user with id {0}|user_id/id/user:integer
get_order;order_status;track_order;find_order|Get the status of an order;Tracks an order|where is order {0};what is the status of order {0};track order {0};status of order {0};find order {0};where is my order {0};how far is order {0}|please track my order {0};tell me the status of order {0}|order_id/order/id/number:code
book_flight;find_flight;search_flights;flights|Book a flight;Finds flights between cities|book a flight from {0} to {1} on {2};find flights from {0} to {1} on {2};fly from {0} to {1} on {2};flights from {0} to {1};I need a flight from {0} to {1};get me from {0} to {1} by plane|please book a flight from {0} to {1};I want to fly from {0} to {1}|origin/from/departure/source:city destination/to/arrival/target:city2 ?date/day/when:date
book_table;reserve_table;restaurant;make_reservation|Book a table in a restaurant;Reserves a table|book a table for {0} at {1};reserve a table for {0} people at {1};table for {0} at {1};a table for {0} people at {1};keep a table for {0} at {1}|please book a table for {0} people at {1};I need a table for {0} at {1}|people/guests/party_size/count:small time/at/when:time
order_food;order_pizza;order;place_order|Order food;Places an order|order {0} {1};order {0} of {1};I would like {0} {1};get me {0} {1};buy {0} {1};let me have {0} {1}|please order {0} {1};I want {0} {1}|quantity/count/amount/number:small item/food/product/dish:thing
get_population;population;inhabitants|Get the population of a place;How many people live somewhere|what is the population of {0};how many people live in {0};population of {0};how many inhabitants does {0} have;how large is the population of {0}|tell me the population of {0};what population does {0} have|city/country/place/name:city
get_distance;distance;route;directions|Get the distance between two places;Distance from one city to another|how far is it from {0} to {1};distance from {0} to {1};what is the distance between {0} and {1};how far is {1} from {0};how many kilometres lie between {0} and {1}|what is the distance from {0} to {1};tell me how far it is from {0} to {1}|origin/from/start/a:city destination/to/end/b:city2
get_news;news;headlines|Get the news about a topic;Latest news|news about {0};what is new about {0};get the news on {0};show me news about {0};latest news on {0};anything new on {0}|tell me the news about {0};what are the latest news on {0}|topic/subject/query/about:query
random_number;roll_dice;random;pick_number|Get a random number;Picks a number between two limits|give me a random number between {0} and {1};pick a number from {0} to {1};random number between {0} and {1};roll a number from {0} to {1};draw a number between {0} and {1}|please pick a random number from {0} to {1};I need a random number between {0} and {1}|min/low/from/minimum:integer max/high/to/maximum:integer
get_definition;define;dictionary;define_word|Define a word;Looks a word up in a dictionary|define {0};what does {0} mean;define the word {0};what is the meaning of {0};look up the word {0};give the sense of {0};explain the word {0};give me a definition of {0};what is a {0}|please define {0};tell me what {0} means|word/term/name:word
"""
_QUERIES = (
    "{0} {1}s in {2}",
    "{0} {1} to {2}",
    "how to {3} a {1}",
    "the {1} of {2}",
    "{0} {1}",
    "{1}s for {2}",
    "best {1} near {2}",
    "who made the {1}",
    "when to {3} the {0} {1}",
    "{2} {1}",
    "{1} and {0} {1}s",
    "the height of {2}",
)
#: Entries of the table, by their first names, whose requests others fit too.
_FAMILIES = {
    "get_forecast": "get_weather",
    **dict.fromkeys(
        ("add", "multiply", "subtract", "divide", "get_population", "get_definition", "get_distance", "get_news"),
        "calculate",
    ),
    **dict.fromkeys(("search_web", "convert_currency", "get_stock_price", "run_command"), "calculate"),
    **dict.fromkeys(("write_file", "list_files"), "read_file"),
    **dict.fromkeys(("send_email", "call"), "send_message"),
    **dict.fromkeys(("create_event", "create_reminder", "set_timer"), "set_alarm"),
    **dict.fromkeys(("turn_off", "play_music", "set_temperature"), "turn_on"),
}
_CURRENCIES = "USD EUR GBP JPY CHF CNY INR dollars euros pounds yen francs rupees".split()
_LANGUAGES = "English German French Spanish Italian Dutch Japanese Chinese Portuguese Russian Latin Swedish Polish Turkish".split()
_COMMANDS = "ls|ls -la|pwd|git status|python main.py|make test|df -h|whoami|date|echo hello|npm install|top|cat notes.txt".split(
    "|"
)
_TEXTS = """see you soon|happy birthday|the train is late|call me back|dinner is ready|good luck|we need milk|thank you all|the door is open
bring the keys|I am on my way|meet me at the station|hello|hello world|I am late|the meeting is at noon""".replace(
    "\n", "|"
).split("|")


@dataclass(frozen=True, slots=True)
class Function:
    """A function on offer, the call that a user wants, and the user's words."""

    name: str
    description: str
    schema: dict[str, Json]
    arguments: dict[str, Json]
    request: str
    #: Functions of one family fit each other's requests.
    family: str

    @property
    def tool(self) -> dict[str, Json]:
        """In OpenAI's form."""
        function: dict[str, Json] = {"name": self.name, "description": self.description, "parameters": self.schema}
        if not self.description:
            del function["description"]
        return {"type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class _Entry:
    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    requests: tuple[str, ...]
    held_out: tuple[str, ...]
    #: names, sort, whether it may go unsaid
    parameters: tuple[tuple[tuple[str, ...], str, bool], ...]


@lru_cache(maxsize=1)
def _entries() -> tuple[_Entry, ...]:
    entries = []
    for line in _TABLE.strip().splitlines():
        names, descriptions, requests, held_out, parameters = line.split("|")
        read = tuple(
            (tuple(text.lstrip("?").split(":")[0].split("/")), text.split(":")[1], text.startswith("?"))
            for text in parameters.split()
        )
        entries.append(
            _Entry(
                tuple(names.split(";")),
                tuple(descriptions.split(";")),
                tuple(requests.split(";")),
                tuple(held_out.split(";")),
                read,
            )
        )
    return tuple(entries)


def _value(rng: Random, sort: str, held_out: bool) -> tuple[Json, str]:
    """A value, and its JSON type."""
    if sort in ("integer", "small"):
        return rng.randint(1, 12 if sort == "small" else 10 ** rng.randint(1, 4)), "integer"
    if sort == "degrees":
        return rng.randint(5, 35), rng.choice(("integer", "number"))
    if sort == "number":
        if rng.random() < 0.2:
            return rng.randint(0, 999) + rng.randint(1, 99) / 100, "number"
        return rng.randint(0, 10 ** rng.randint(1, 4)), rng.choice(("number", "integer"))
    return _text(rng, sort, held_out), "string"


def _text(rng: Random, sort: str, held_out: bool) -> str:
    match sort:
        case "city" | "city2" | "zone":
            if sort == "zone" and rng.random() < 0.2:
                return f"{rng.choice(('Europe', 'Asia', 'America', 'Africa'))}/{people.city(rng, held_out).replace(' ', '_')}"
            return people.city(rng, held_out)
        case "person":
            return people.person(rng, held_out)
        case "mail":
            name = people.person(rng, held_out)
            return (
                name
                if rng.random() < 0.4
                else f"{name.split()[0].lower()}@{lexicon.any_word(rng)}.{rng.choice(('com', 'org', 'de', 'net'))}"
            )
        case "sum":
            return f"{rng.randint(2, 999)} {rng.choice('+-*/')} {rng.randint(2, 999)}"
        case "unit":
            return rng.choice(("celsius", "fahrenheit"))
        case "when":
            return rng.choice(("today", "tomorrow", "tonight", "on monday", "on friday", "next week", "this weekend"))
        case "currency" | "currency2":
            return rng.choice(_CURRENCIES)
        case "language":
            return rng.choice(_LANGUAGES)
        case "time":
            return (
                f"{rng.randint(0, 23)}:{rng.choice((0, 15, 30, 45, rng.randint(0, 59))):02}"
                if rng.random() < 0.7
                else f"{rng.randint(1, 12)} {rng.choice(('am', 'pm'))}"
            )
        case "date":
            return (
                f"{rng.randint(2020, 2032)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
                if rng.random() < 0.6
                else rng.choice(("Monday", "Tuesday", "Friday", "tomorrow", "today"))
            )
        case "text":
            return rng.choice(_TEXTS) if rng.random() < 0.5 else lexicon.any_phrase(rng)
        case "task":
            return f"{rng.choice(lexicon.VERBS)} the {people.noun(rng, held_out)}"
        case "ticker":
            return (
                "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(2, 4)))
                if rng.random() < 0.6
                else lexicon.any_name(rng)
            )
        case "thing":
            return (
                people.noun(rng, held_out)
                if rng.random() < 0.7
                else f"{rng.choice(lexicon.ADJECTIVES)} {rng.choice(lexicon.NOUNS)}"
            )
        case "word":
            return lexicon.any_word(rng)
        case "file":
            folder = f"{rng.choice(('/', '', './'))}{lexicon.any_word(rng)}/" if rng.random() < 0.4 else ""
            return (
                f"{folder}{people.noun(rng, held_out)}.{rng.choice(('txt', 'csv', 'md', 'json', 'py', 'log', 'toml'))}"
            )
        case "folder":
            return rng.choice(
                (f"/{lexicon.any_word(rng)}", f"/home/{lexicon.any_word(rng)}", lexicon.any_word(rng), ".")
            )
        case "command":
            return rng.choice(_COMMANDS) if rng.random() < 0.7 else f"{rng.choice(_COMMANDS)} {lexicon.any_word(rng)}"
        case "code":
            return lexicon.any_code(rng)
        case _:
            return (
                lexicon.any_phrase(rng, 4)
                if not held_out
                else " ".join(people.noun(rng, True) for _ in range(rng.randint(1, 3)))
            )


def _declared(rng: Random, name: str, kind: str, sort: str) -> dict[str, Json]:
    schema: dict[str, Json] = {"type": kind}
    if sort == "unit" and rng.random() < 0.8:
        schema["enum"] = ["celsius", "fahrenheit"]
    if rng.random() < 0.6:
        schema["description"] = rng.choice(
            (
                name,
                f"the {name}",
                f"The {name}",
                f"name of the {name}",
                f"The {name} to use",
                f"{name.capitalize()} of the request",
            )
        )
    return schema


def everyday(rng: Random, held_out: bool) -> Function:
    """One of the functions that people try first."""
    entry = rng.choice(_entries()[:3] if rng.random() < 0.12 else _entries())
    request = rng.choice(entry.held_out if held_out else entry.requests)
    properties: dict[str, Json] = {}
    arguments: dict[str, Json] = {}
    values: list[Json] = []
    required: list[str] = []
    choice = rng.randrange(99) if rng.random() < 0.8 else -1
    for place, (names, sort, optional) in enumerate(entry.parameters):
        name = rng.choice(names) if choice < 0 else names[choice % len(names)]
        while name in properties:
            name = rng.choice(names)
        value, kind = _value(rng, sort, held_out)
        values.append(value)
        said = f"{{{place}}}" in request
        if not said and optional and rng.random() < 0.4:
            continue  # Not even declared.
        properties[name] = _declared(rng, name, kind, sort)
        if said:
            arguments[name] = value.removeprefix("on ") if sort == "when" else value
        if said and (not optional or rng.random() < 0.3):
            required.append(name)
    schema: dict[str, Json] = {"type": "object", "properties": properties, "required": required}
    if not required and rng.random() < 0.5:
        del schema["required"]
    description = rng.choice(entry.descriptions)
    if rng.random() < 0.25:
        description += rng.choice((".", ". " + lexicon.sentence(rng), ". Use it when needed."))
    elif rng.random() < 0.06:
        description = ""
    family = _FAMILIES.get(entry.names[0], entry.names[0])
    return Function(rng.choice(entry.names), description, schema, arguments, request.format(*values), family)
