"""A registry with Ollama's protocol, which is Docker's: GET /v2/NAME/manifests/TAG, /v2/NAME/blobs/DIGEST.

A registry that needs a token answers 401 and says where to get one:
https://distribution.github.io/distribution/spec/auth/token
"""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from hypura_daemon.errors import DownloadFailed, ModelNotFound
from hypura_daemon.models.names import DEFAULT_HOST, DEFAULT_NAMESPACE, ModelName
from hypura_daemon.models.pulling.download import Remote, unreachable
from hypura_daemon.models.stores.ollama import MAX_MANIFEST_BYTES, BadManifest, Layer, Manifest, parse_manifest

if TYPE_CHECKING:
    import httpx

MAX_TOKEN_BYTES = 1 << 16
_MANIFEST_TYPES = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class RegistryHost:
    """One model of one registry. `insecure` allows connections without TLS."""

    def __init__(self, client: "httpx.AsyncClient", name: ModelName, *, insecure: bool) -> None:
        self.host = name.host or DEFAULT_HOST
        self._client = client
        self._name = name
        self._path = f"{name.namespace or DEFAULT_NAMESPACE}/{name.name}"
        self._insecure = insecure
        self._scheme = "https"
        self._token = ""

    async def manifest(self) -> tuple[bytes, Manifest]:
        """The manifest as received, and parsed. Raises ModelNotFound, DownloadFailed."""
        import httpx

        try:
            content = await self._manifest()
        except httpx.ConnectError:
            self._scheme = "http"
            content = await self._manifest()
        try:
            manifest = parse_manifest(content)
            manifest.model()
        except BadManifest as error:
            raise DownloadFailed(f"{self._name} of {self.host} cannot be used: {error}") from error
        return content, manifest

    def blob(self, layer: Layer) -> Remote:
        """One of the manifest's blobs."""

        @asynccontextmanager
        async def request(headers: Mapping[str, str]) -> "AsyncIterator[httpx.Response]":
            async with self._opened(f"blobs/sha256:{layer.digest}", headers) as response:
                yield response

        return Remote(f"sha256:{layer.digest[:12]} of {self._name}", request, layer.size_bytes, layer.digest)

    async def _manifest(self) -> bytes:
        import httpx

        try:
            async with self._opened(f"manifests/{self._name.tag}", {"Accept": _MANIFEST_TYPES}) as response:
                if response.status_code == 404:
                    raise ModelNotFound(
                        f"{self.host} has no model {self._name}; see its list of models, "
                        "or name a repository of Hugging Face as hf.co/OWNER/REPOSITORY"
                    )
                if response.status_code != 200:
                    status = f"{response.status_code} {response.reason_phrase}"
                    login = (
                        "; it requires a login, which hypura does not support"
                        if response.status_code in (401, 403)
                        else ""
                    )
                    raise DownloadFailed(f"{self.host} answered {status} for {self._name}{login}")
                return await limited(response, MAX_MANIFEST_BYTES)
        except httpx.HTTPError as error:
            if isinstance(error, httpx.ConnectError) and self._insecure and self._scheme == "https":
                raise  # Perhaps a registry without TLS.
            raise unreachable(self.host, error) from error

    @asynccontextmanager
    async def _opened(self, what: str, headers: Mapping[str, str]) -> "AsyncIterator[httpx.Response]":
        """The response to a GET, with a token if the registry requires one."""
        url = f"{self._scheme}://{self.host}/v2/{self._path}/{what}"
        async with self._client.stream("GET", url, headers=self._with_token(headers)) as response:
            if response.status_code != 401:
                self._check_scheme(response)
                yield response
                return
            challenge = response.headers.get("www-authenticate", "")
        self._token = await self._fetched_token(challenge)
        async with self._client.stream("GET", url, headers=self._with_token(headers)) as response:
            self._check_scheme(response)
            yield response

    def _with_token(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {**headers, "Authorization": f"Bearer {self._token}"} if self._token else dict(headers)

    def _check_scheme(self, response: "httpx.Response") -> None:
        if response.url.scheme != "https" and not self._insecure:
            raise DownloadFailed(
                f"{self.host} redirects to {response.url.host} without TLS; allow that with --insecure"
            )

    async def _fetched_token(self, challenge: str) -> str:
        """The token that a challenge, `Bearer realm="…",service="…",scope="…"`, leads to."""
        parameters = dict(_PARAMETER.findall(challenge))
        realm = parameters.pop("realm", "")
        if not challenge.lower().startswith("bearer ") or not realm.startswith(("https://", "http://")):
            raise DownloadFailed(f"{self.host} requires a login for {self._name}, which hypura does not support")
        if realm.startswith("http://") and not self._insecure:
            raise DownloadFailed(f"{self.host} requires a token fetched without TLS; allow that with --insecure")
        wanted = {key: value for key, value in parameters.items() if key in ("service", "scope")}
        async with self._client.stream("GET", realm, params=wanted) as response:
            if response.status_code != 200:
                raise DownloadFailed(
                    f"{self.host} gave no token for {self._name}: {response.status_code} {response.reason_phrase}"
                )
            content = await limited(response, MAX_TOKEN_BYTES)
        token = _token_in(content)
        if not token:
            raise DownloadFailed(f"{self.host} gave no token for {self._name}; pull again later")
        return token


async def limited(response: "httpx.Response", most_bytes: int) -> bytes:
    """The response's body. Raises DownloadFailed if it is longer than most_bytes."""
    content = b""
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > most_bytes:
            raise DownloadFailed(
                f"{response.url.host} sent more than {most_bytes} bytes where a short text was expected"
            )
    return content


def _token_in(content: bytes) -> str:
    try:
        answer = json.loads(content)
    except ValueError:
        return ""
    token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else ""
    return token if isinstance(token, str) and token.isprintable() and token.isascii() else ""
