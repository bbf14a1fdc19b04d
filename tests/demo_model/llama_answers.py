"""Greedy answers by llama.cpp itself, and logits to compare PyTorch's with."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import llama_cpp  # Before numpy: llama.cpp's C++ library has to be loaded first.

# isort: split
import numpy as np
import numpy.typing as npt

from tests.demo_model.answering import parsed
from tests.demo_model.conversation import Answer, Conversation
from tests.demo_model.template import render

_MAX_NEW_TOKENS = 260


class LlamaModel:
    """A GGUF in llama.cpp, without hypura; `with` frees it. extra_buffers is off: some machines fault in them."""

    def __init__(self, path: Path, context_tokens: int = 2048, threads: int = 2) -> None:
        llama_cpp.llama_backend_init()
        wanted = llama_cpp.llama_model_default_params()
        wanted.use_extra_bufts = False
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), wanted)
        if not self._model:
            raise ValueError(f"llama.cpp cannot load {path}; its words are on stderr")
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = context_tokens, context_tokens, 512
        settings.n_threads = settings.n_threads_batch = threads
        settings.type_k = settings.type_v = llama_cpp.GGML_TYPE_F32
        settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self._size = llama_cpp.llama_vocab_n_tokens(self._vocabulary)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def tokenize(self, text: str) -> list[int]:
        """Token ids, special tokens honoured."""
        data = text.encode()
        room = (llama_cpp.llama_token * (len(data) + 8))()
        count = llama_cpp.llama_tokenize(self._vocabulary, data, len(data), room, len(room), False, True)
        if count < 0:
            raise ValueError(f"llama.cpp could not tokenise {text[:60]!r}")
        return list(room[:count])

    def _decode(self, tokens: Sequence[int]) -> None:
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        code = llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(array, len(tokens)))
        if code != 0:
            raise RuntimeError(f"llama_decode returned {code} on {len(tokens)} tokens")

    def _forget(self) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)

    def _last_logits(self) -> npt.NDArray[np.float32]:
        pointer = llama_cpp.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (self._size,)).copy()

    def logits(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """Logits after each token, [tokens, vocabulary], each token decoded by itself."""
        self._forget()
        rows = []
        for token in tokens:
            self._decode([token])
            rows.append(self._last_logits())
        return np.stack(rows)

    def continued(self, tokens: Sequence[int], max_new_tokens: int = _MAX_NEW_TOKENS) -> list[int]:
        """Greedy tokens up to an end-of-generation token, which is left out."""
        self._forget()
        self._decode(tokens)
        made: list[int] = []
        while len(made) < max_new_tokens:
            best = int(self._last_logits().argmax())
            if llama_cpp.llama_vocab_is_eog(self._vocabulary, best):
                break
            made.append(best)
            self._decode([best])
        return made

    def text_of(self, tokens: Sequence[int]) -> str:
        """The text of tokens, marks included."""
        room = ctypes.create_string_buffer(256)
        data = b""
        for token in tokens:
            count = llama_cpp.llama_token_to_piece(self._vocabulary, token, room, len(room), 0, True)
            data += room.raw[:count]
        return data.decode(errors="replace")

    def answer_all(self, conversations: Sequence[Conversation]) -> list[Answer]:
        """An Answerer."""
        answers = []
        for item in conversations:
            prompt = self.tokenize(render(item.asked, item.tools, think=item.think))
            answers.append(parsed(self.text_of(self.continued(prompt))))
        return answers
