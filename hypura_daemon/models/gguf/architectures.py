"""The architectures that llama.cpp knows (llama-arch.cpp, 0.3.36): which are language models, which can be streamed."""

KNOWN = frozenset(
    """
    afmoe apertus arcee arctic arwkv7 baichuan bailingmoe bailingmoe2 bailingmoe3 bert bitnet bloom
    chameleon chatglm codeshell cogvlm cohere2 cohere2moe command-r dbrx deci deepseek deepseek2
    deepseek2-ocr deepseek32 deepseek4 dflash dots1 dots3note dream eagle3 ernie4_5 ernie4_5-moe eurobert
    exaone exaone-moe exaone4 falcon falcon-h1 gemma gemma-embedding gemma2 gemma3 gemma3n gemma4
    gemma4-assistant glm-dsa glm4 glm4moe glm5-next gpt-oss gpt2 gptj gptneox granite granite_swa
    granitehybrid granitemoe graniteswitch grok grovemoe hrm_text hunyuan-dense hunyuan-moe hunyuan_vl hy_v3
    hy_v4 internlm2 jais jais2 jamba jina-bert-v2 jina-bert-v3 kimi-k3 kimi-linear laguna lfm2 lfm2moe llada
    llada-moe llama llama-embed llama4 maincoder mamba mamba2 maple mellum mimo2 minicpm minicpm3 minimax-01
    minimax-m2 minimax-m3 mistral3 mistral4 modern-bert mpt muse-glimmer nanbeige nemotron nemotron_h
    nemotron_h_moe neo-bert nomic-bert nomic-bert-moe olmo olmo2 olmoe openelm orion paddleocr
    pangu-embedded phi2 phi3 phimoe plamo plamo2 plamo3 plm pockettts qwen qwen2 qwen2moe qwen2vl qwen3
    qwen35 qwen35moe qwen3moe qwen3next qwen3tts qwen3vl qwen3vlmoe qwen4exp refact rnd1 rwkv6 rwkv6qwen2
    rwkv7 seed_oss smallthinker smollm3 spark2_5 stablelm starcoder starcoder2 step35 t5 t5encoder talkie
    wavtokenizer-dec xverse
    """.split()
)
"""LLM_ARCH_NAMES; a file with another one is refused before a worker is started for it."""

NO_LANGUAGE_MODELS = {
    "clip": "a vision projector, which is a part of a model",
    "wavtokenizer-dec": "a vocoder, which turns codes into sound",
    "eagle3": "a draft model, which works only beside the model it was made for",
    "dflash": "a draft model, which works only beside the model it was made for",
    "gemma4-assistant": "a draft model, which works only beside the model it was made for",
}
"""What GGUF files are that cannot be run on their own."""

ENCODERS = frozenset(
    """
    bert modern-bert nomic-bert nomic-bert-moe neo-bert jina-bert-v2 jina-bert-v3 eurobert
    gemma-embedding llama-embed t5encoder
    """.split()
)
"""They turn text into vectors and cannot continue it."""

DIFFUSERS = frozenset({"dream", "llada", "llada-moe", "rnd1"})
"""They have no KV cache and write all tokens at once, which hypura does not do."""

# Streaming is proven lossless for the architectures below: logits of random models, bit for bit.
# tests/worker/test_lossless.py makes a random model of every architecture that llama.cpp's own architecture test
# knows, and of some that it leaves out, streams it, and compares. The others run resident or by mmap: grovemoe's two
# expert banks name their node alike (the guard stops it); dream, llada and rnd1 are diffusion models, which cannot be
# split into ubatches; plm's graph fails an assertion of llama.cpp 0.3.36 (it stores V of two dimensions where three
# are meant).

EXPERT_STREAMING = frozenset(
    """
    afmoe arctic bailingmoe bailingmoe2 bailingmoe3 cohere2moe dbrx deepseek deepseek2 deepseek2-ocr
    deepseek32 deepseek4 dots1 dots3note ernie4_5-moe exaone-moe gemma4 glm-dsa glm4moe glm5-next gpt-oss
    granite granitemoe grok hunyuan-moe hy_v3 hy_v4 kimi-k3 kimi-linear laguna lfm2moe llama llama4 maple
    mellum mimo2 minicpm minimax-01 minimax-m2 minimax-m3 mistral3 mistral4 olmoe phimoe qwen2moe qwen35moe
    qwen3moe qwen3next qwen3vlmoe qwen4exp refact smallthinker step35
    """.split()
)
"""Their routed experts can be streamed into slots, biases and scales included."""

DENSE_STREAMING = frozenset(
    """
    afmoe apertus arcee arctic arwkv7 baichuan bailingmoe bailingmoe2 bailingmoe3 bitnet bloom chatglm
    codeshell cogvlm cohere2 cohere2moe command-r dbrx deci deepseek deepseek2 deepseek2-ocr deepseek32
    deepseek4 dots1 dots3note ernie4_5 ernie4_5-moe exaone exaone-moe exaone4 falcon falcon-h1 gemma gemma2
    gemma3 gemma3n gemma4 glm-dsa glm4 glm4moe glm5-next gpt-oss gpt2 gptneox granite granite_swa
    granitehybrid granitemoe grok grovemoe hrm_text hunyuan-dense hunyuan-moe hunyuan_vl hy_v3 hy_v4
    internlm2 jais jais2 jamba kimi-k3 kimi-linear laguna lfm2 lfm2moe llama llama4 maincoder mamba mamba2
    maple mellum mimo2 minicpm minicpm3 minimax-01 minimax-m2 minimax-m3 mistral3 mistral4 mpt muse-glimmer
    nanbeige nemotron nemotron_h nemotron_h_moe olmo olmo2 olmoe openelm orion paddleocr pangu-embedded phi2
    phi3 phimoe plamo plamo2 plamo3 pockettts qwen qwen2 qwen2moe qwen2vl qwen3 qwen35 qwen35moe qwen3moe
    qwen3next qwen3tts qwen3vl qwen3vlmoe qwen4exp refact rwkv6 rwkv6qwen2 rwkv7 seed_oss smallthinker
    smollm3 spark2_5 stablelm starcoder starcoder2 step35 talkie xverse
    """.split()
)
"""The tensors of their layers can be streamed through the ring."""
