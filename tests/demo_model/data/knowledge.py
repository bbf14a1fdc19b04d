# ruff: noqa: E501 (tables of wordings, an entry a line)
"""General knowledge in tables: elements, animals, units, opposites, calendar, and single questions."""

ELEMENTS = """hydrogen:H helium:He lithium:Li beryllium:Be boron:B carbon:C nitrogen:N oxygen:O fluorine:F neon:Ne
sodium:Na magnesium:Mg aluminium:Al silicon:Si phosphorus:P sulfur:S chlorine:Cl argon:Ar potassium:K calcium:Ca
scandium:Sc titanium:Ti vanadium:V chromium:Cr manganese:Mn iron:Fe cobalt:Co nickel:Ni copper:Cu zinc:Zn
gallium:Ga germanium:Ge arsenic:As selenium:Se bromine:Br krypton:Kr rubidium:Rb strontium:Sr yttrium:Y
zirconium:Zr niobium:Nb molybdenum:Mo technetium:Tc ruthenium:Ru rhodium:Rh palladium:Pd silver:Ag cadmium:Cd
indium:In tin:Sn antimony:Sb tellurium:Te iodine:I xenon:Xe""".split()
HEAVY_ELEMENTS = {"platinum": ("Pt", 78), "gold": ("Au", 79), "mercury": ("Hg", 80), "lead": ("Pb", 82),
                  "radon": ("Rn", 86), "radium": ("Ra", 88), "thorium": ("Th", 90), "uranium": ("U", 92),
                  "plutonium": ("Pu", 94)}  # fmt: skip

#: element -> (symbol, atomic number)
ELEMENT_TABLE: dict[str, tuple[str, int]] = {
    name: (symbol, number) for number, (name, symbol) in enumerate((entry.split(":") for entry in ELEMENTS), start=1)
} | HEAVY_ELEMENTS

#: animal -> (class, legs, sound or "", young or "")
ANIMALS: dict[str, tuple[str, int, str, str]] = {}
for _entry in """dog mammal 4 barks puppy|cat mammal 4 meows kitten|cow mammal 4 moos calf|horse mammal 4 neighs foal
sheep mammal 4 bleats lamb|goat mammal 4 bleats kid|pig mammal 4 grunts piglet|lion mammal 4 roars cub
tiger mammal 4 roars cub|bear mammal 4 growls cub|wolf mammal 4 howls pup|donkey mammal 4 brays foal
mouse mammal 4 squeaks pup|elephant mammal 4 trumpets calf|rabbit mammal 4 - kit|fox mammal 4 barks cub
deer mammal 4 - fawn|kangaroo mammal 2 - joey|whale mammal 0 sings calf|dolphin mammal 0 clicks calf|bat mammal 2 squeaks pup
duck bird 2 quacks duckling|goose bird 2 honks gosling|hen bird 2 clucks chick|owl bird 2 hoots owlet
eagle bird 2 screeches eaglet|crow bird 2 caws chick|pigeon bird 2 coos squab|swan bird 2 - cygnet|penguin bird 2 - chick
sparrow bird 2 chirps chick|ostrich bird 2 - chick|snake reptile 0 hisses snakelet|lizard reptile 4 - hatchling
turtle reptile 4 - hatchling|crocodile reptile 4 - hatchling|frog amphibian 4 croaks tadpole|toad amphibian 4 croaks tadpole
newt amphibian 4 - larva|salmon fish 0 - fry|shark fish 0 - pup|trout fish 0 - fry|tuna fish 0 - fry|bee insect 6 buzzes larva
ant insect 6 - larva|butterfly insect 6 - caterpillar|fly insect 6 buzzes maggot|beetle insect 6 - larva
cricket insect 6 chirps nymph|spider arachnid 8 - spiderling|scorpion arachnid 8 - scorpling""".replace(
    "\n", "|"
).split("|"):
    _name, _group, _legs, _sound, _young = _entry.split()
    ANIMALS[_name] = (_group, int(_legs), _sound.strip("-"), _young)

#: (small unit, large unit, how many small ones make a large one)
UNITS: tuple[tuple[str, str, str], ...] = tuple(
    (small, large, count)
    for small, large, count in (
        entry.split(":")
        for entry in """seconds:minute:60|minutes:hour:60|hours:day:24|days:week:7|months:year:12|weeks:year:52
days:year:365|days:leap year:366|years:decade:10|years:century:100|years:millennium:1000|millimetres:centimetre:10
centimetres:metre:100|millimetres:metre:1000|metres:kilometre:1000|inches:foot:12|feet:yard:3|feet:mile:5280
grams:kilogram:1000|milligrams:gram:1000|kilograms:tonne:1000|ounces:pound:16|millilitres:litre:1000|bits:byte:8
bytes:kilobyte:1000|kilobytes:megabyte:1000|megabytes:gigabyte:1000|seconds:hour:3600|hours:week:168|degrees:circle:360
degrees:right angle:90|items:dozen:12|cents:dollar:100|cents:euro:100|quarters:year:4|sides:triangle:3|sides:square:4
sides:pentagon:5|sides:hexagon:6|sides:octagon:8|letters:alphabet:26|players:football team:11|strings:violin:4
strings:guitar:6|keys:piano:88|teeth:adult mouth:32""".replace("\n", "|").split("|")
    )
)

OPPOSITES = tuple(
    tuple(entry.split(":"))
    for entry in """hot:cold big:small fast:slow high:low light:dark up:down left:right open:closed happy:sad rich:poor
young:old hard:soft wet:dry full:empty long:short wide:narrow thick:thin heavy:light early:late good:bad new:old
loud:quiet strong:weak clean:dirty near:far inside:outside above:below before:after always:never first:last day:night
black:white true:false love:hate win:lose buy:sell push:pull start:stop begin:end give:take come:go ask:answer
remember:forget laugh:cry north:south east:west summer:winter friend:enemy war:peace life:death success:failure
question:answer sweet:sour deep:shallow rough:smooth sharp:blunt cheap:expensive easy:difficult safe:dangerous
brave:cowardly polite:rude awake:asleep alive:dead top:bottom front:back increase:decrease arrive:leave
accept:refuse build:destroy cause:effect maximum:minimum positive:negative ancient:modern guilty:innocent""".split()
)

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
PLANETS = "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune".split()
COLOURS = {("blue", "yellow"): "green", ("red", "yellow"): "orange", ("red", "blue"): "purple",
           ("red", "white"): "pink", ("black", "white"): "grey"}  # fmt: skip
THING_COLOURS = {"grass": "green", "snow": "white", "blood": "red", "coal": "black", "a ripe banana": "yellow",
                 "a clear daytime sky": "blue", "milk": "white", "a carrot": "orange", "an emerald": "green",
                 "a ruby": "red", "a sapphire": "blue", "chocolate": "brown", "a lemon": "yellow",
                 "a ripe tomato": "red", "a flamingo": "pink", "an elephant": "grey"}  # fmt: skip

#: country -> (language, currency)
LANGUAGES: dict[str, tuple[str, str]] = {}
for _entry in """France French euro|Germany German euro|Austria German euro|Spain Spanish euro|Italy Italian euro|Portugal Portuguese euro
Brazil Portuguese real|Mexico Spanish peso|Argentina Spanish peso|Chile Spanish peso|Peru Spanish sol|Colombia Spanish peso|Cuba Spanish peso
Japan Japanese yen|China Chinese yuan|Russia Russian rouble|Poland Polish zloty|Sweden Swedish krona|Norway Norwegian krone|Denmark Danish krone
Finland Finnish euro|Greece Greek euro|Turkey Turkish lira|Hungary Hungarian forint|Romania Romanian leu|Ukraine Ukrainian hryvnia|Czechia Czech koruna
England English pound|Ireland English euro|Australia English dollar|Egypt Arabic pound|Morocco Arabic dirham|Iran Persian rial|Vietnam Vietnamese dong
Thailand Thai baht|Indonesia Indonesian rupiah|India Hindi rupee|Israel Hebrew shekel|Iceland Icelandic krona|Bulgaria Bulgarian euro""".replace(
    "\n", "|"
).split("|"):
    _country, _language, _money = _entry.split()
    LANGUAGES[_country] = (_language, _money)

#: In the form of singles.py.
SINGLES = """
why is the sky blue;what makes the sky blue;why does the sky look blue;how come the sky is blue;what is the reason for the blue sky;why do we see a blue sky|why the sky is blue;why the sky looks blue;what makes the sky blue|the reason why the sky is blue|why is it that the sky is blue;what causes the blue colour of the sky|The sky is blue because the molecules of the air scatter short blue wavelengths of sunlight far more strongly than long red ones, which is called Rayleigh scattering. The scattered blue light reaches our eyes from every direction of the sky.|scatter,blue
why are sunsets red;why is the sky red at sunset;why does the evening sky look red|why sunsets are red;why the sky is red at sunset|the reason why sunsets are red|what makes sunsets red|At sunset the light of the sun crosses much more air, so most of its blue light is scattered away. The red light that is left colours the sky.|blue,red
why does it rain;what makes it rain;how does rain form;where does rain come from|why it rains;how rain forms;where rain comes from|the cause of rain|what causes rain|Water evaporates, rises and cools until it forms clouds of tiny drops. When the drops grow too heavy, they fall as rain.|clouds,drops
why do we have seasons;what causes the seasons;why are there seasons|why we have seasons;what causes the seasons|the cause of the seasons|how do the seasons come about|The seasons come from the tilt of the axis of the Earth. The half that leans towards the sun has summer and the other half has winter.|tilt
why is the sea salty;why is the ocean salty;where does the salt in the sea come from|why the sea is salty;why the ocean is salty|the reason why the sea is salty|what makes the sea salty|Rivers wash salts out of rocks and carry them into the sea. The water evaporates, but the salt stays behind.|rivers,salt
why do leaves fall in autumn;why do trees lose their leaves|why trees lose their leaves;why leaves fall in autumn|the reason why trees lose their leaves|what makes leaves fall in autumn|Trees drop their leaves to save water and energy in the cold season. They grow new ones in spring.|water
why are leaves green;why are plants green;what makes leaves green|why leaves are green;why plants are green|the reason why leaves are green|why do leaves look green|Leaves are green because of chlorophyll. It absorbs red and blue light and reflects green light.|chlorophyll
why does ice float;why does ice float on water|why ice floats;why ice floats on water|the reason why ice floats|what makes ice float|Ice floats because water expands when it freezes. So ice is less dense than liquid water.|dense
what is gravity;how does gravity work;what does gravity do|what gravity is;how gravity works|the meaning of gravity|can you describe gravity|Gravity is the force that pulls masses towards each other. It keeps us on the ground and the planets in their orbits.|force
what is photosynthesis;how does photosynthesis work|what photosynthesis is;how photosynthesis works|the meaning of photosynthesis|can you describe photosynthesis|Photosynthesis is how plants make sugar and oxygen. They use sunlight, water and carbon dioxide.|sunlight,oxygen
what is an atom;what are atoms|what an atom is;what atoms are|the meaning of the word atom|can you describe an atom|An atom is the smallest part of a chemical element. It has a nucleus of protons and neutrons, with electrons around it.|nucleus
what is a molecule;what are molecules|what a molecule is|the meaning of the word molecule|can you describe a molecule|A molecule is a group of atoms that are bound together. Water, for example, has two hydrogen atoms and one oxygen atom.|atoms
what is water made of;what does water consist of|what water is made of;what water consists of|the composition of water|which elements make up water|Water is made of hydrogen and oxygen.|hydrogen,oxygen
what is the chemical formula of water;what is the formula for water|what the formula of water is|the chemical formula of water;the formula of water;the formula for water|which formula does water have|The chemical formula of water is H2O.|H2O
what is the chemical formula of salt;what is the formula of table salt|what the formula of table salt is|the chemical formula of table salt|which formula does salt have|The chemical formula of table salt is NaCl.|NaCl
at what temperature does water boil;when does water boil;how hot is boiling water|at what temperature water boils;when water boils|the boiling point of water|what temperature makes water boil|Water boils at 100 degrees Celsius at sea level.|100
at what temperature does water freeze;when does water freeze;how cold is freezing water|at what temperature water freezes;when water freezes|the freezing point of water|what temperature makes water freeze|Water freezes at 0 degrees Celsius.|0
how fast is light;how fast does light travel|how fast light is;how fast light travels|the speed of light|what speed does light have|Light travels at about 300,000 kilometres per second.|kilometres per second
how fast is sound;how fast does sound travel|how fast sound is;how fast sound travels|the speed of sound|what speed does sound have|Sound travels at about 343 metres per second in air.|343
how far away is the moon;how far is the moon|how far away the moon is|the distance to the moon|what is the distance from the Earth to the moon|The moon is about 384,000 kilometres away.|384
how far away is the sun;how far is the sun|how far away the sun is|the distance to the sun|what is the distance from the Earth to the sun|The sun is about 150 million kilometres away.|150 million
what is the sun;is the sun a star|what the sun is|the sun|what kind of thing is the sun|The sun is a star. It is a hot ball of hydrogen and helium in the middle of our solar system.|star
what is the moon;is the moon a planet|what the moon is|the moon|what kind of thing is the moon|The moon is the natural satellite of the Earth. It goes around the Earth in about 27 days.|satellite
how many planets are there;how many planets does the solar system have|how many planets there are|the number of planets|how many planets go around the sun|There are eight planets in the solar system.|eight
which planet is the largest;what is the biggest planet;which is the largest planet|which planet is the largest|the largest planet;the biggest planet;the largest planet of the solar system|which planet is the biggest of all|The largest planet is Jupiter.|Jupiter
which planet is the smallest;what is the smallest planet|which planet is the smallest|the smallest planet;the smallest planet of the solar system|which planet is the tiniest of all|The smallest planet is Mercury.|Mercury
which planet is closest to the sun;which planet is nearest to the sun|which planet is closest to the sun|the planet closest to the sun;the planet nearest to the sun|which planet lies nearest the sun|The planet closest to the sun is Mercury.|Mercury
which planet is farthest from the sun;what is the outermost planet|which planet is farthest from the sun|the planet farthest from the sun;the outermost planet|which planet lies farthest out|The planet farthest from the sun is Neptune.|Neptune
which planet is the hottest;what is the hottest planet|which planet is the hottest|the hottest planet|which planet is hotter than all others|The hottest planet is Venus.|Venus
which planet is called the red planet;which planet is red|which planet is called the red planet|the red planet|which planet do people call red|Mars is called the red planet.|Mars
which planet has rings;which planet is famous for its rings|which planet has rings|the planet with the famous rings|which planet is known for big rings|Saturn is famous for its rings.|Saturn
how long does the Earth take to go around the sun;how long is one orbit of the Earth|how long the Earth takes to go around the sun|the time that the Earth takes around the sun|in what time does the Earth circle the sun|The Earth takes about 365 days to go around the sun.|365
what is the largest ocean;which ocean is the largest;which ocean is the biggest|which ocean is the largest|the largest ocean;the biggest ocean|which ocean is bigger than all others|The largest ocean is the Pacific Ocean.|Pacific
what is the longest river;which river is the longest|which river is the longest|the longest river;the longest river in the world|which river is longer than all others|The longest river is usually said to be the Nile.|Nile
what is the highest mountain;which mountain is the highest;what is the tallest mountain|which mountain is the highest|the highest mountain;the highest mountain in the world;the tallest mountain|which mountain is higher than all others|The highest mountain is Mount Everest.|Everest
what is the largest country;which country is the largest;which country is the biggest|which country is the largest|the largest country;the largest country in the world|which country is bigger than all others|The largest country is Russia.|Russia
what is the smallest country;which country is the smallest|which country is the smallest|the smallest country;the smallest country in the world|which country is tinier than all others|The smallest country is Vatican City.|Vatican
what is the largest continent;which continent is the largest;which continent is the biggest|which continent is the largest|the largest continent|which continent is bigger than all others|The largest continent is Asia.|Asia
how many continents are there;how many continents does the Earth have|how many continents there are|the number of continents|what number of continents does the world have|There are seven continents.|seven
what is the largest desert;which desert is the largest hot desert|which hot desert is the largest|the largest hot desert|which hot desert is bigger than all others|The largest hot desert is the Sahara.|Sahara
what is the largest animal;which animal is the largest;which animal is the biggest|which animal is the largest|the largest animal;the biggest animal|which animal is bigger than all others|The largest animal is the blue whale.|blue whale
what is the fastest land animal;which land animal is the fastest|which land animal is the fastest|the fastest land animal|which animal runs faster than all others|The fastest land animal is the cheetah.|cheetah
what is the tallest animal;which animal is the tallest|which animal is the tallest|the tallest animal|which animal is taller than all others|The tallest animal is the giraffe.|giraffe
what do bees make;what do bees produce|what bees make;what bees produce|the food that bees make|which food comes from bees|Bees make honey.|honey
what do cows eat;what does a cow eat|what cows eat|the food of cows|which food do cows like|Cows eat grass.|grass
what do pandas eat;what does a panda eat|what pandas eat|the food of pandas|which food do pandas like|Pandas eat mostly bamboo.|bamboo
how many bones does a human have;how many bones are in the human body|how many bones a human has|the number of bones in the human body|what number of bones does an adult have|An adult human has 206 bones.|206
what does the heart do;what is the heart for|what the heart does|the job of the heart|which job does the heart have|The heart pumps blood through the body.|blood
what do lungs do;what are lungs for|what the lungs do|the job of the lungs|which job do lungs have|The lungs take oxygen out of the air and give off carbon dioxide.|oxygen
what is the largest organ of the body;which organ is the largest|which organ is the largest|the largest organ of the human body|which organ is bigger than all others|The largest organ of the human body is the skin.|skin
what is a verb|what a verb is|the meaning of the word verb|can you describe a verb|A verb is a word for an action or a state, such as run or be.|action
what is a noun|what a noun is|the meaning of the word noun|can you describe a noun|A noun is a word for a person, a place, a thing or an idea.|thing
what is a prime number;what are prime numbers|what a prime number is|the meaning of prime number|can you describe a prime number|A prime number is a whole number above 1 that only 1 and itself divide. Examples are 2, 3, 5 and 7.|divide
what is an even number;what are even numbers|what an even number is|the meaning of even number|can you describe an even number|An even number can be divided by 2 without a rest.|2
what is pi;what is the value of pi|what pi is|the value of pi|which value does pi have|Pi is about 3.14159. It is the circumference of a circle divided by its diameter.|3.14159
who wrote Romeo and Juliet;who is the author of Romeo and Juliet|who wrote Romeo and Juliet|the author of Romeo and Juliet|which writer gave us Romeo and Juliet|Romeo and Juliet was written by William Shakespeare.|Shakespeare
who painted the Mona Lisa;who is the painter of the Mona Lisa|who painted the Mona Lisa|the painter of the Mona Lisa|which artist made the Mona Lisa|The Mona Lisa was painted by Leonardo da Vinci.|Leonardo
who wrote Faust;who is the author of Faust|who wrote Faust|the author of Faust|which writer gave us Faust|Faust was written by Johann Wolfgang von Goethe.|Goethe
who wrote Don Quixote;who is the author of Don Quixote|who wrote Don Quixote|the author of Don Quixote|which writer gave us Don Quixote|Don Quixote was written by Miguel de Cervantes.|Cervantes
who developed the theory of relativity;who found the theory of relativity|who developed the theory of relativity|the author of the theory of relativity|which physicist gave us relativity|The theory of relativity was developed by Albert Einstein.|Einstein
who was the first person on the moon;who walked on the moon first|who was the first person on the moon|the first person on the moon|which human stood on the moon first|The first person on the moon was Neil Armstrong, in 1969.|Armstrong
who discovered penicillin;who found penicillin|who discovered penicillin|the discoverer of penicillin|which scientist discovered penicillin|Penicillin was discovered by Alexander Fleming.|Fleming
who proposed the theory of evolution;who wrote On the Origin of Species|who wrote On the Origin of Species|the author of On the Origin of Species|which scientist gave us evolution|Charles Darwin wrote On the Origin of Species.|Darwin
who composed the Ninth Symphony with the Ode to Joy;who composed the Ode to Joy|who composed the Ode to Joy|the composer of the Ode to Joy|which composer set the Ode to Joy|The Ode to Joy is from the Ninth Symphony by Ludwig van Beethoven.|Beethoven
who invented the printing press in Europe;who invented the printing press|who invented the printing press|the inventor of the printing press|which man gave Europe the printing press|The printing press was invented in Europe by Johannes Gutenberg.|Gutenberg
who invented the telephone|who invented the telephone|the inventor of the telephone|which man got the patent for the telephone|Alexander Graham Bell is usually named as the inventor of the telephone.|Bell
what is a computer;what are computers|what a computer is|the meaning of the word computer|can you describe a computer|A computer is a machine that follows programs to work on data.|machine
what is a language model;what are language models|what a language model is|the meaning of language model|can you describe a language model|A language model is a program that predicts the next piece of a text. Trained on many texts, it can answer and chat.|predicts
what is machine learning|what machine learning is|the meaning of machine learning|can you describe machine learning|Machine learning means that a program learns from examples instead of fixed rules.|examples
what is memory in a computer;what is RAM|what RAM is|the meaning of RAM|can you describe RAM|RAM is the fast working memory of a computer. It loses its contents when the power goes off.|memory
what is an SSD;what is a solid state drive|what an SSD is|the meaning of SSD|can you describe an SSD|An SSD is a drive that keeps data in flash memory, without moving parts.|flash
what is the freezing point of water in Fahrenheit|at how many degrees Fahrenheit water freezes|the freezing point of water in Fahrenheit|when does water freeze in Fahrenheit|Water freezes at 32 degrees Fahrenheit.|32
what gas do we breathe;which gas do humans need to breathe|which gas we need to breathe|the gas that we need to breathe|which gas keeps humans alive|We need oxygen to breathe.|oxygen
which gas do plants take in;what gas do plants absorb|which gas plants take in|the gas that plants take in|which gas do plants need from the air|Plants take in carbon dioxide.|carbon dioxide
what is the most common gas in air;which gas is air mostly made of|which gas air is mostly made of|the most common gas in the air|which gas fills most of the air|Air is mostly nitrogen, about 78 percent.|nitrogen
what are the primary colours;which colours are primary|what the primary colours are|the primary colours|which three colours are primary|The primary colours are red, yellow and blue.|red,yellow,blue
what are the colours of the rainbow;which colours does a rainbow have|what the colours of the rainbow are|the colours of the rainbow|which colours can be seen in a rainbow|A rainbow is red, orange, yellow, green, blue, indigo and violet.|red,violet
what are the four seasons;which seasons are there|what the four seasons are|the four seasons|which seasons does a year have|The four seasons are spring, summer, autumn and winter.|spring,winter
what are the days of the week;which days does a week have|what the days of the week are|the days of the week|which seven days make a week|The days of the week are Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.|Monday,Sunday
who wrote Hamlet;who is the author of Hamlet;which author wrote Hamlet|who wrote Hamlet|the author of Hamlet|by whom is Hamlet|William Shakespeare wrote Hamlet.|Shakespeare
who wrote Macbeth;who is the author of Macbeth|who wrote Macbeth|the author of Macbeth|by whom is Macbeth|William Shakespeare wrote Macbeth.|Shakespeare
who wrote the Odyssey;who is the author of the Odyssey;who wrote the Iliad|who wrote the Odyssey|the author of the Odyssey|by whom is the Odyssey|Homer is said to have written the Iliad and the Odyssey.|Homer
who wrote Alice in Wonderland;who is the author of Alice in Wonderland|who wrote Alice in Wonderland|the author of Alice in Wonderland|by whom is Alice in Wonderland|Lewis Carroll wrote Alice in Wonderland.|Carroll
who wrote Pride and Prejudice;who is the author of Pride and Prejudice|who wrote Pride and Prejudice|the author of Pride and Prejudice|by whom is Pride and Prejudice|Jane Austen wrote Pride and Prejudice.|Austen
who was Albert Einstein;who is Albert Einstein;who was Einstein;what did Einstein do|who Albert Einstein was|Albert Einstein;the work of Einstein|what is Einstein known for|Albert Einstein was a physicist who developed the theory of relativity.|physicist
who was Isaac Newton;who is Isaac Newton;what did Newton discover;who was Newton|who Isaac Newton was|Isaac Newton;the work of Newton|what is Newton known for|Isaac Newton was a physicist who found the laws of motion and of gravity.|gravity
who was Marie Curie;who is Marie Curie;what did Marie Curie discover|who Marie Curie was|Marie Curie;the work of Marie Curie|what is Marie Curie known for|Marie Curie was a scientist who discovered radium and polonium.|radium
who was Mozart;who is Mozart;who was Wolfgang Amadeus Mozart|who Mozart was|Mozart;Wolfgang Amadeus Mozart|what is Mozart known for|Wolfgang Amadeus Mozart was a composer from Salzburg in Austria.|composer
who was Leonardo da Vinci;who is Leonardo da Vinci|who Leonardo da Vinci was|Leonardo da Vinci|what is Leonardo da Vinci known for|Leonardo da Vinci was an Italian painter and inventor. He painted the Mona Lisa.|painter
who was Alan Turing;who is Alan Turing|who Alan Turing was|Alan Turing|what is Alan Turing known for|Alan Turing was a mathematician and one of the founders of computer science.|mathematician
who was the first president of the United States;who was George Washington|who the first president of the United States was|the first president of the United States|which man was the first American president|George Washington was the first president of the United States.|Washington
who discovered America;who sailed to America in 1492;who was Columbus|who discovered America|the discoverer of America|which sailor reached America in 1492|Christopher Columbus reached America in 1492.|Columbus
when did the Second World War end;when did World War II end;in which year did World War 2 end;when did WW2 end|when the Second World War ended|the end of World War II;the year in which World War II ended|in what year was World War II over|The Second World War ended in 1945.|1945
when did the First World War begin;when did World War I start|when the First World War began|the beginning of the First World War|in what year did World War I begin|The First World War began in 1914.|1914
when was the moon landing;in which year did people land on the moon;when did humans first walk on the moon|when the moon landing was|the year of the moon landing|in what year did people reach the moon|People first landed on the moon in 1969.|1969
when did the Berlin Wall fall;in which year did the Berlin Wall fall|when the Berlin Wall fell|the fall of the Berlin Wall|in what year was the Berlin Wall opened|The Berlin Wall fell in 1989.|1989
when did the Titanic sink;in which year did the Titanic sink|when the Titanic sank|the year in which the Titanic sank|in what year was the Titanic lost|The Titanic sank in 1912.|1912
who invented the light bulb;who made the light bulb|who invented the light bulb|the inventor of the light bulb|which inventor made the light bulb|Thomas Edison is known for the light bulb.|Edison
what is H2O;what does H2O mean;what does H2O stand for|what H2O is|the meaning of H2O|which substance is H2O|H2O is water.|water
what is CO2;what does CO2 stand for;what does CO2 mean|what CO2 is|the meaning of CO2|which gas is CO2|CO2 is carbon dioxide.|carbon dioxide
what is DNA;what does DNA stand for|what DNA is|DNA;the meaning of DNA|can you describe DNA|DNA is the molecule that carries the genes of living things.|genes
what is the square root of 16;square root of 16|what the square root of 16 is|the square root of 16|which number squared is 16|The square root of 16 is 4.|4
what is the square root of 144;square root of 144|what the square root of 144 is|the square root of 144|which number squared is 144|The square root of 144 is 12.|12
what is the square root of 81;square root of 81|what the square root of 81 is|the square root of 81|which number squared is 81|The square root of 81 is 9.|9
how many seconds are in a day;how many seconds does a day have|how many seconds are in a day|the number of seconds in a day|what number of seconds does a day have|A day has 86400 seconds.|86400
how old is the Earth;what is the age of the Earth|how old the Earth is|the age of the Earth|for how long has the Earth existed|The Earth is about 4.5 billion years old.|4.5
how old is the universe;what is the age of the universe|how old the universe is|the age of the universe|for how long has the universe existed|The universe is about 13.8 billion years old.|13.8
what is the tallest building;which building is the tallest;what is the highest building in the world|which building is the tallest|the tallest building;the tallest building in the world|which building is higher than all others|The tallest building is the Burj Khalifa in Dubai.|Burj
how high is Mount Everest;how tall is Mount Everest;what is the height of Mount Everest|how high Mount Everest is|the height of Mount Everest|what height does Mount Everest have|Mount Everest is 8849 metres high.|8849
where is the Eiffel Tower;in which city is the Eiffel Tower;where does the Eiffel Tower stand|where the Eiffel Tower is|the place of the Eiffel Tower|in which city can I see the Eiffel Tower|The Eiffel Tower is in Paris.|Paris
where is the Statue of Liberty;in which city is the Statue of Liberty|where the Statue of Liberty is|the place of the Statue of Liberty|in which city can I see the Statue of Liberty|The Statue of Liberty is in New York.|New York
where is the Colosseum;in which city is the Colosseum|where the Colosseum is|the place of the Colosseum|in which city can I see the Colosseum|The Colosseum is in Rome.|Rome
what is the Great Wall;where is the Great Wall|where the Great Wall is|the Great Wall;the place of the Great Wall|in which country can I see the Great Wall|The Great Wall is in China.|China
how many people live on Earth;how many people are there in the world;what is the population of the world|how many people live on Earth|the population of the world;the population of the Earth|what number of people live on Earth|About 8 billion people live on Earth.|8 billion
how many countries are there;how many countries are in the world|how many countries there are|the number of countries|what number of countries does the world have|There are about 195 countries in the world.|195
how many oceans are there;how many oceans does the Earth have|how many oceans there are|the number of oceans|what number of oceans are on Earth|There are five oceans.|five
how many letters are in the alphabet;how many letters does the alphabet have|how many letters the alphabet has|the number of letters of the alphabet|what number of letters are in the alphabet|The alphabet has 26 letters.|26
how many colours are in the rainbow;how many colors does a rainbow have|how many colours a rainbow has|the number of colours in a rainbow|what number of colours does a rainbow have|A rainbow has 7 colours.|7
which is the largest city in the world;what is the biggest city in the world|which city is the largest|the largest city in the world|which city is bigger than all others|The largest city is usually said to be Tokyo.|Tokyo
what is Python;what is the Python language|what Python is|Python;the Python programming language|can you describe Python|Python is a programming language that is easy to read.|programming
what is the internet;how does the internet work|what the internet is|the internet|can you describe the internet|The internet is a network that connects computers all over the world.|network
what is artificial intelligence;what is AI;what does AI mean|what artificial intelligence is;what AI is|artificial intelligence;AI;the meaning of AI|can you describe artificial intelligence|Artificial intelligence is software that does tasks which seem to need thought.|software
what is a black hole;what are black holes|what a black hole is|a black hole|can you describe a black hole|A black hole is a place in space whose gravity is so strong that not even light escapes.|gravity
what is a volcano;what are volcanoes|what a volcano is|a volcano|can you describe a volcano|A volcano is an opening in the ground through which molten rock comes out.|rock
what is an earthquake;what causes earthquakes|what an earthquake is;what causes earthquakes|an earthquake;the cause of earthquakes|can you describe an earthquake|An earthquake is a shaking of the ground. It comes from plates of rock that move.|ground
why is the grass green;what makes grass green|why the grass is green|the reason why grass is green|why does grass look green|Grass is green because of chlorophyll. It absorbs red and blue light and reflects green light.|chlorophyll
why do leaves change colour;why do leaves change color in autumn;why do leaves turn yellow|why leaves change colour|the reason why leaves change colour|what makes leaves turn red|In autumn the green chlorophyll breaks down, so that yellow and red colours of the leaf show.|chlorophyll
why do we sleep;why do people sleep;why is sleep important|why we sleep|the reason why we sleep|what is sleep good for|Sleep gives the body and the brain time to rest and repair. It also helps memory.|rest
why is blood red;what makes blood red|why blood is red|the reason why blood is red|why does blood look red|Blood is red because of the iron in haemoglobin, which carries oxygen.|iron
how do planes fly;why do planes fly;how does a plane fly|how planes fly|the way a plane flies|what keeps a plane in the air|A plane flies because its wings push air down, which pushes the plane up.|wings
what is thunder;what causes thunder;why does it thunder|what thunder is|thunder;the cause of thunder|where does thunder come from|Thunder is the sound of air that lightning heats so fast that it bursts apart.|lightning
what is the fastest animal;which animal is the fastest|which animal is the fastest|the fastest animal|which animal is faster than all others|The fastest animal is the peregrine falcon.|falcon
"""
