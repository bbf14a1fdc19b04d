"""Which stores are looked at, and where they lie: by the variables that their owners read, else where they put them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hypura_daemon.models.stores.demo import DemoStore
from hypura_daemon.models.stores.huggingface import HuggingFaceStore
from hypura_daemon.models.stores.lm_studio import LmStudioStore
from hypura_daemon.models.stores.ollama import OllamaStore
from hypura_daemon.models.stores.store import Store


def stores_at(wanted: Sequence[str], environ: Mapping[str, str], user: Path) -> tuple[Store, ...]:
    """The wanted of settings.STORES, and the demo model's; `user` is the user's home folder."""
    stores: list[Store] = []
    if "ollama" in wanted:
        given = environ.get("OLLAMA_MODELS")
        usual = (user / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models"))
        stores += [OllamaStore(root) for root in ([_folder(given, user)] if given else usual)]
    if "huggingface" in wanted:
        stores.append(HuggingFaceStore(_hub_cache(environ, user)))
    if "lm-studio" in wanted:
        given = environ.get("HYPURA_LM_STUDIO")
        usual = (user / ".lmstudio" / "models", user / ".cache" / "lm-studio" / "models")
        stores += [LmStudioStore(root) for root in ([_folder(given, user)] if given else usual)]
    return (*stores, DemoStore())


def _hub_cache(environ: Mapping[str, str], user: Path) -> Path:
    """As huggingface_hub finds it: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables"""
    if given := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return _folder(given, user)
    if given := environ.get("HF_HOME"):
        return _folder(given, user) / "hub"
    cache = environ.get("XDG_CACHE_HOME")
    return (_folder(cache, user) if cache else user / ".cache") / "huggingface" / "hub"


def _folder(given: str, user: Path) -> Path:
    return user / given[2:] if given.startswith("~/") else Path(given).absolute()
