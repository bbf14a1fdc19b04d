"""What a file is if it is not a GGUF file, by its first bytes, and what to do about it. Pure."""

import re

START_BYTES = 512
"""The number of a file's first bytes that are examined."""
_CONVERT = "convert the model with llama.cpp's convert_hf_to_gguf.py, or download a GGUF version of it"
_UNPACK = "unpack it, and give the GGUF file in it"
_AGAIN = "download the file itself again, and see that the address and your access to it are right"
_LFS_SIZE = re.compile(rb"\nsize (\d{1,19})")
_LEGACY = "written for llama.cpp before August 2023, which no longer reads it; convert the model again"
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", f"as zip archives and PyTorch files do; {_CONVERT}, or unpack it if it is an archive"),
    (b"PK\x05\x06", "as empty zip archives do; download the model again"),
    (b"\x1f\x8b", f"as gzip archives do; {_UNPACK}"),
    (b"BZh", f"as bzip2 archives do; {_UNPACK}"),
    (b"\xfd7zXZ\0", f"as xz archives do; {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"as zstd archives do; {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"as 7z archives do; {_UNPACK}"),
    (b"Rar!", f"as RAR archives do; {_UNPACK}"),
    (b"\x89HDF", f"as HDF5 (Keras) files do; {_CONVERT}"),
    (b"FUGG", "GGUF backwards: it is for machines with the other byte order; convert it for little-endian machines"),
    (b"lmgg", f"as GGML files do, {_LEGACY}"),
    (b"ggml", f"as GGML files do, {_LEGACY}"),
    (b"fmgg", f"as GGMF files do, {_LEGACY}"),
    (b"tjgg", f"as GGJT files do, {_LEGACY}"),
    (b"algg", "as LoRA adapters of 2023 do; merge it into its model, and convert that"),
    (b"\x7fELF", "as programs do; give a model"),
    (b"%PDF", "as PDF documents do; give a model"),
)
_TEXTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"<(!doctype\s+html|html|head|body)", re.I), f"it is a web page (HTML); {_AGAIN}"),
    (re.compile(r"<\?xml", re.I), f"it is an XML document, as servers answer with an error; {_AGAIN}"),
    (
        re.compile(r"(\s*#[^\n]*\n)*\s*FROM\s+\S", re.I),
        "it is a Modelfile; make a model of it with: hypuractl create NAME -f FILE",
    ),
    (re.compile(r"[\[{]"), f"it is JSON, such as a server's error, or a model's index or settings; {_AGAIN}"),
)


def what_it_is(start: bytes, size_bytes: int) -> str:
    """The end of the error "is not a GGUF file: ": what a file that begins with `start` is, and the remedy."""
    if size_bytes == 0:
        return "it is empty, the file ends at byte 0; download or copy it again"
    for kind in (_pointer, _safetensors, _pickle, _tar, _zeros):
        if description := kind(start, size_bytes):
            return description
    begin = f"it starts with {start[:4]!r}"
    for magic, description in _STARTS:
        if start.startswith(magic):
            return f"{begin}, {description}"
    if description := _text(start):
        return description
    return f"{begin}, not b'GGUF'; give a GGUF file"


def _pointer(start: bytes, size_bytes: int) -> str:
    if not start.startswith(b"version https://git-lfs.github.com/spec/"):
        return ""
    match = _LFS_SIZE.search(start)
    of = f" of {int(match[1])} bytes" if match else ""
    return f"it is a Git LFS pointer to a file{of}, not the file itself; fetch that with `git lfs pull`"


def _safetensors(start: bytes, size_bytes: int) -> str:
    header_bytes = int.from_bytes(start[:8], "little")
    if start[8:9] != b"{" or not 2 <= header_bytes <= max(size_bytes, 100 << 20):
        return ""
    return f"it is a safetensors file; {_CONVERT}"


def _pickle(start: bytes, size_bytes: int) -> str:
    if len(start) < 2 or start[0] != 0x80 or not 2 <= start[1] <= 5:
        return ""
    return f"it is a Python pickle, as older PyTorch files are; {_CONVERT}"


def _tar(start: bytes, size_bytes: int) -> str:
    return f"it is a tar archive; {_UNPACK}" if start[257:262] == b"ustar" else ""


def _zeros(start: bytes, size_bytes: int) -> str:
    if start.strip(b"\0"):
        return ""
    return (
        "it begins with zeros, as a download does that has only reserved its space; let the download end, or repeat it"
    )


def _text(start: bytes) -> str:
    """What a text file is; empty for other files."""
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = start.decode(encoding, "ignore").strip()
    if not text or not all(character.isprintable() or character in "\r\n\t" for character in text):
        return ""
    if len(start.decode(encoding, "replace")) > len(start.decode(encoding, "ignore")) + 1:
        return ""  # Not text: more is undecodable than a character cut off at the end.
    for pattern, description in _TEXTS:
        if pattern.match(text):
            return description
    return f"it is text ({text.splitlines()[0][:60]!r}), perhaps a server's error message; {_AGAIN}"
