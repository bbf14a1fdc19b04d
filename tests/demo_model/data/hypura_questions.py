# ruff: noqa: E501 (tables of wordings, an entry a line)
"""Questions about hypura and about the demo model itself; answers true to the project's README."""

from functools import lru_cache
from random import Random

from tests.demo_model.conversation import Conversation
from tests.demo_model.data.facts import as_conversation
from tests.demo_model.data.singles import Fact, read_facts

_FACTS = """
what is hypura;what does hypura do;what is hypura for;explain hypura|what hypura is;what hypura does|hypura;the purpose of hypura|can you describe hypura|hypura runs language models that are larger than your memory. It keeps what it can in GPU and RAM and streams the rest from the drive.|larger,memory
how does hypura work;how can hypura run a model larger than memory|how hypura works;how hypura runs a model larger than memory|the way hypura works|by what means does hypura run large models|hypura measures the machine and decides for every tensor whether it lives on the GPU, in RAM or on the drive. What does not fit is streamed from NVMe while llama.cpp computes.|streamed
how do I load a model;how can I load a model;how do I load a model in hypura|how to load a model;how I can load a model|the command to load a model;the command that loads a model|which command loads a model|Use hypuractl load MODEL, where MODEL is a registered name or a path. Add --memory 4GB to limit its memory.|hypuractl load
how do I run a model;how can I run a model;how do I ask a model something;how do I chat with a model|how to run a model;how I can run a model|the command to run a model;the command that runs a model|which command runs a model|Use hypuractl run MODEL "your prompt". Without a prompt it opens a conversation.|hypuractl run
how do I unload a model;how can I unload a model;how do I free the memory of a model|how to unload a model;how I can unload a model|the command to unload a model;the command that unloads a model|which command unloads a model|Use hypuractl unload MODEL. Its worker process ends and its memory is free again.|hypuractl unload
how do I add a model;how can I register a model;how do I register a GGUF file|how to add a model;how to register a model|the command to add a model;the command that registers a model|which command adds a model|Use hypuractl add PATH with a GGUF file or a folder of them. The files are never copied, moved or deleted.|hypuractl add
how do I remove a model;how can I forget a model|how to remove a model;how to forget a model|the command to remove a model|which command removes a model|Use hypuractl rm NAME. The model is forgotten, but its files are left alone.|hypuractl rm
how do I list the models;how can I see my models;which models are there|how to list the models;how to see my models|the command to list models;the list of models|which command lists the models|Use hypuractl models to list the registered models.|hypuractl models
how do I see what is loaded;how can I see the status;how do I check the status|how to see what is loaded;how to see the status|the command for the status|which command shows what is loaded|Use hypuractl status. It shows which models are loaded and how they do.|hypuractl status
how do I see the plan;how can I see where the tensors go|how to see the plan;how to see where the tensors go|the command that shows the plan|which command shows a plan|Use hypuractl plan MODEL. Add --tensors to see the place of every tensor.|hypuractl plan
how do I see my hardware profile;how can I measure my machine|how to see the hardware profile|the command for the hardware profile|which command shows the hardware|Use hypuractl profile. It shows what the machine has and what the drive can do.|hypuractl profile
how do I stop hypura;how can I stop the daemon;how do I end the daemon|how to stop hypura;how to stop the daemon|the command that stops the daemon|which command ends hypura|Use hypuractl stop. It ends the daemon.|hypuractl stop
how do I try hypura;how do I see hypura work;how do I start with hypura|how to try hypura;how to start with hypura|the first step with hypura|what is the quickest way to see hypura work|Clone the repository and type make run. It installs hypura, runs a model that is larger than its memory budget and prints what was streamed.|make run
what is a tier;what are tiers;which tiers are there|what a tier is;which tiers there are|a tier in hypura;the meaning of tier|can you describe a tier|A tier is where a tensor lives: gpu, ram or nvme.|gpu,ram,nvme
what is a slot;what are expert slots;what is an expert slot|what a slot is;what an expert slot is|a slot in hypura;the meaning of slot|can you describe a slot|A slot is room in memory for the slices of one expert. The experts that are needed are read from the drive into slots.|expert
what is a plan;what does the plan say|what a plan is;what the plan says|a plan in hypura;the meaning of plan|can you describe a plan|A plan is what the daemon decides before a load: the mode, the tier of every tensor, the slots and an estimate of the speed.|tier
what is a mode;which modes are there;what modes does hypura have|which modes there are;what the modes are|the modes of hypura|can you describe the modes|There are three modes: resident, expert-streaming and dense-streaming.|resident,expert-streaming,dense-streaming
what is resident mode;what does resident mean|what resident mode is;what resident means|resident mode;the meaning of resident|can you describe the resident mode|Resident means that the whole model fits in memory. It then runs as stock llama.cpp does.|memory
what is expert streaming;how does expert streaming work|what expert streaming is;how expert streaming works|expert streaming;the meaning of expert streaming|can you describe expert streaming|Expert streaming keeps everything but the routed experts in memory. The experts are read on demand into a cache of slots.|slots
what is dense streaming;how does dense streaming work|what dense streaming is;how dense streaming works|dense streaming;the meaning of dense streaming|can you describe dense streaming|Dense streaming reads the layers of a dense model through a ring, ahead of the computation. As many layers as fit stay in memory.|ring
what is streaming;what does streaming mean in hypura;what does it mean to stream weights|what streaming is;what streaming means|streaming in hypura;the meaning of streaming|can you describe streaming|Streaming means that weights are read from the drive while the model computes, because they do not all fit in memory.|drive
what does --memory do;what is --memory;what is the memory option for;how do I limit the memory|what --memory does;how to limit the memory|the meaning of --memory;the --memory option|which option limits the memory|--memory limits the whole resident memory of the worker process, for example --memory 4GB. What does not fit is streamed.|limits
what does --weight-cache do;what is --weight-cache;what is the weight cache|what --weight-cache does;what the weight cache is|the meaning of --weight-cache;the --weight-cache option|which option limits the weight cache|--weight-cache limits how much of the streamable weights may stay in memory, as a size or a percentage such as 25%.|weights
what does --exact do;what is --exact|what --exact does;what --exact is for|the meaning of --exact;the --exact option|which option makes results exact|--exact makes the logits independent of the memory budget, bit for bit.|bit
what does --json do;how do I get JSON output from hypuractl|what --json does|the meaning of --json;the --json option|which option prints JSON|--json prints one JSON object instead of text. Every hypuractl command takes it.|object
is streaming lossless;does streaming change the answers;does hypura change the model|whether streaming changes the answers;whether streaming is lossless|the effect of streaming on the answers|do answers change through streaming|Streaming is lossless. It changes where the bytes are, never what is computed.|never
which license does hypura have;what is the licence of hypura;is hypura free software;is hypura open source|which licence hypura has|the licence of hypura;the license of hypura|under which licence is hypura|hypura has the MIT licence.|MIT
what is a GGUF file;what is GGUF|what a GGUF file is;what GGUF is|a GGUF file;the meaning of GGUF|can you describe GGUF|GGUF is the file format of llama.cpp. One file holds the weights, the tokenizer and the settings of a model.|format
what is llama.cpp|what llama.cpp is|llama.cpp|can you describe llama.cpp|llama.cpp is the library that computes the models. hypura uses it as it is, through llama-cpp-python.|library
what is a mixture of experts;what is an MoE|what a mixture of experts is;what MoE means|a mixture of experts;the meaning of MoE|can you describe a mixture of experts|A mixture of experts is a model whose layers have many experts. A router picks a few of them for each token.|router
what is a router;what does the router do|what a router is;what the router does|the router of a model|can you describe the router|The router picks the experts of a layer for each token.|experts
what is an expert;what are experts in a model|what an expert is|an expert in a model|can you describe an expert|An expert is one of many small networks in a layer. Only the few that the router picks are computed.|router
what is a token;what are tokens|what a token is;what tokens are|the meaning of token|can you describe a token|A token is a piece of text, such as a word or a part of one. Models read and write tokens.|piece
what is a KV cache;what is the KV cache|what the KV cache is|the KV cache;the meaning of KV cache|can you describe the KV cache|The KV cache holds the keys and values of the tokens so far, so that they need not be computed again.|keys
what is quantization;what is a quantised model|what quantization is|quantization;the meaning of quantization|can you describe quantization|Quantization stores weights in fewer bits. The model gets smaller and loses a little accuracy.|bits
what is the daemon;what is hypurad;what does the daemon do|what the daemon is;what hypurad is|the daemon;hypurad|can you describe the daemon|The daemon, hypurad, keeps the list of models, makes plans and starts one worker process per model.|worker
what is a worker;what does a worker do|what a worker is;what a worker does|a worker in hypura|can you describe a worker|A worker is the process that runs one model. If it dies, no other model is harmed.|process
what is hypuractl;what does hypuractl do|what hypuractl is|hypuractl;the meaning of hypuractl|can you describe hypuractl|hypuractl is the command line of hypura. It starts the daemon where none runs.|command
on which systems does hypura run;does hypura run on Linux;does hypura run on a Mac;which platforms does hypura support|on which systems hypura runs|the platforms of hypura|what operating systems does hypura support|hypura is made for macOS on Apple silicon and for Linux. It is tested on Linux.|Linux
does hypura write to my drive;does streaming wear out my drive|whether hypura writes to the drive|the effect of hypura on my drive|is my drive worn out by hypura|hypura never writes to the drive of a model. Streaming only reads.|reads
what is the hit rate;what does hit rate mean|what the hit rate is|the hit rate;the meaning of hit rate|can you describe the hit rate|The hit rate is the share of the chosen experts that were already in memory.|share
who are you;what are you;what is your name;who am I talking to;what is your name please|who you are;what you are;what your name is|your name|introduce yourself|I am the hypura demo model, a very small mixture of experts that ships with hypura.|hypura
who made you;who trained you;where do you come from|who made you;who trained you|your maker|whose work are you|I was trained by the hypura project, on text that its own generators made.|hypura
what can you do;what are you good at;how can you help me;what can I ask you|what you can do;how you can help me|your abilities;the things you can do|which tasks can you do|I can answer simple questions about general knowledge and hypura, do sums, call tools, write JSON and tell short stories.|questions
how large are you;how many parameters do you have;how big are you|how large you are;how many parameters you have|your size;the number of your parameters|what size are you|I am very small: about 18 million parameters in a file of less than 12 megabytes.|million
are you a human;are you a person;are you real;are you a robot|whether you are a human;whether you are a robot|your nature|do I talk to a human|No, I am a small language model.|language model
can you make mistakes;are you always right;can I trust you|whether you make mistakes;whether I can trust you|your accuracy|do you make errors|I am a very small model and I make mistakes. Check what matters.|mistakes
do you know everything;how much do you know|how much you know;whether you know everything|your knowledge|are you all-knowing|No, I know only a few hundred simple facts.|facts
"""


@lru_cache(maxsize=1)
def _facts() -> tuple[Fact, ...]:
    return read_facts(_FACTS)


def generate(rng: Random, held_out: bool = False) -> Conversation:
    return as_conversation(rng, rng.choice(_facts()), "hypura", held_out)
