"""Hugging Face repositories: which of their GGUF files a name means, and where these are fetched.

huggingface_hub knows the hub: its addresses, its tokens, its endpoint (HF_ENDPOINT). download.py fetches the files: it
can be cancelled, resumes, and checks the digests from the hub.
"""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hypura_daemon.errors import DownloadFailed, HypuraError, InvalidRequest, ModelNotFound
from hypura_daemon.models.gguf.splits import MAX_PARTS, part_of
from hypura_daemon.models.names import DEFAULT_TAG, ModelName
from hypura_daemon.models.pulling.download import Remote, unreachable
from hypura_daemon.models.stores.repositories import is_model_file, repository_tag

if TYPE_CHECKING:
    import httpx

DEFAULT_ENDPOINT = "https://huggingface.co"
INFO_SECONDS = 30.0
MAX_FILES = 20_000
PREFERRED = (
    *("Q4_K_M", "Q4_K_XL", "UD-Q4_K_XL", "Q4_K_S", "Q4_K_L", "MXFP4", "MXFP4_MOE", "IQ4_NL", "IQ4_XS", "Q4_0", "Q4_1"),
    *("Q5_K_M", "Q5_K_S", "Q5_0", "Q6_K", "Q8_0", "Q3_K_M", "Q3_K_L", "Q3_K_S", "Q2_K", "BF16", "F16", "F32"),
)
"""The quantizations that a name without one stands for: first four bits, then more, then fewer."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository; sha256 is empty if the hub does not give it."""

    path: PurePosixPath
    size_bytes: int
    sha256: str
    url: str


@dataclass(frozen=True, slots=True)
class HubModel:
    """What to fetch: a model's files in order, and the headers for the requests."""

    files: tuple[HubFile, ...]
    headers: Mapping[str, str]


def hub_model(name: ModelName) -> HubModel:
    """The files that a name means. Blocks; raises ModelNotFound, DownloadFailed, InvalidRequest."""
    from huggingface_hub import HfApi, constants, hf_hub_url
    from huggingface_hub.utils._headers import build_hf_headers

    repository = f"{name.namespace}/{name.name}"
    endpoint = os.environ.get("HF_ENDPOINT") or constants.ENDPOINT or DEFAULT_ENDPOINT
    try:
        info = HfApi(endpoint=endpoint).model_info(repository, files_metadata=True, timeout=INFO_SECONDS)
    except Exception as error:
        raise _explained(error, repository, endpoint) from error
    listed = [
        HubFile(
            PurePosixPath(item.rfilename),
            item.size or 0,
            (item.lfs.sha256 if item.lfs else "") or "",
            hf_hub_url(repository, item.rfilename, revision=info.sha, endpoint=endpoint),
        )
        for item in (info.siblings or [])[:MAX_FILES]
        if is_model_file(item.rfilename)
    ]
    headers = {key: value for key, value in build_hf_headers(library_name="hypura").items() if value}
    return HubModel(chosen(listed, name), headers)


def chosen(files: Sequence[HubFile], name: ModelName) -> tuple[HubFile, ...]:
    """The files of the model that a name's tag stands for, all its parts in order. Pure.

    Raises ModelNotFound if there is none, InvalidRequest for paths that lead elsewhere.
    """
    models: dict[str, dict[int, HubFile]] = {}
    counts: dict[str, int] = {}
    for file in files:
        if file.path.is_absolute() or any(part in ("", ".", "..") or "\0" in part for part in file.path.parts):
            raise InvalidRequest(f"{name} has a file called {str(file.path)!r}, which leads out of its folder")
        part = part_of(file.path.name)
        key = str(file.path.with_name(part.named(1) if part else file.path.name))
        models.setdefault(key, {})[part.number if part else 1] = file
        counts[key] = part.count if part else 1
    tags = {key: repository_tag(Path(key), Path()) for key in sorted(models)}
    key = _key_for(name, tags)
    if counts[key] > MAX_PARTS:
        raise ModelNotFound(f"{key} of {name} has {counts[key]} parts, more than {MAX_PARTS}; name another file")
    missing = next((number for number in range(1, counts[key] + 1) if number not in models[key]), None)
    if missing is not None:
        raise ModelNotFound(f"{name} lacks part {missing} of the {counts[key]} parts of {key}; name another file")
    return tuple(models[key][number] for number in sorted(models[key]))


def _key_for(name: ModelName, tags: Mapping[str, str]) -> str:
    if not tags:
        raise ModelNotFound(f"{name} has no GGUF file; name a repository with some, its name often ends in -GGUF")
    by_tag: dict[str, str] = {}
    for key, tag in tags.items():
        by_tag.setdefault(tag.upper(), key)
    if name.tag == DEFAULT_TAG:
        return next((by_tag[tag] for tag in PREFERRED if tag in by_tag), next(iter(by_tag.values())))
    wanted = name.tag.upper()
    if wanted in by_tag:
        return by_tag[wanted]
    for key in tags:
        if PurePosixPath(key).name.upper() in (wanted, f"{wanted}.GGUF"):
            return key
    known = ", ".join(sorted(by_tag)[:40])
    raise ModelNotFound(f"{name.namespace}/{name.name} has no {name.tag}; it has {known}")


def remote_file(client: "httpx.AsyncClient", file: HubFile, hub_headers: Mapping[str, str]) -> Remote:
    """A repository's file as a Remote."""

    @asynccontextmanager
    async def request(headers: Mapping[str, str]) -> "AsyncIterator[httpx.Response]":
        async with client.stream("GET", file.url, headers={**hub_headers, **headers}) as response:
            yield response

    return Remote(file.path.name, request, file.size_bytes, file.sha256)


def _explained(error: Exception, repository: str, endpoint: str) -> HypuraError:
    """The hub's errors as hypura's."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError

    host = endpoint.removeprefix("https://").removeprefix("http://")
    if isinstance(error, GatedRepoError):
        return DownloadFailed(
            f"{repository} is open only to users with access; ask for access at {host}, and log in with: hf auth login"
        )
    if isinstance(error, RepositoryNotFoundError):
        return ModelNotFound(f"{host} has no repository {repository}, or it is private; check its name")
    if isinstance(error, HFValidationError):
        return InvalidRequest(f"{repository!r} is not a valid repository name: {error}")
    if isinstance(error, HfHubHTTPError):
        first = str(error).strip().splitlines()[:1]
        return DownloadFailed(f"{host} gave no information about {repository}: {first[0] if first else error!r}")
    return unreachable(host, error)
