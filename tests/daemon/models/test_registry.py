"""The registry: adding, finding and removing models, and what happens if files or the catalogue are damaged."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hypura_daemon.errors import InvalidModelName, InvalidRequest, ModelFileError, ModelNotFound
from hypura_daemon.models.model import Model, open_model
from hypura_daemon.models.registry import Registry
from hypura_daemon.models.stores.folder import MAX_DEPTH
from tests.daemon.models.files import DENSE, MOE, MOE_TENSORS, gguf_bytes, write_model, write_split


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder of models."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    return folder


def names(registry: Registry) -> list[str]:
    return [model.name for model in registry.list()]


def test_a_model_is_added_found_and_removed(home: Path, shelf: Path) -> None:
    path = write_model(shelf / "Qwen3-8B-Q4_K_M.gguf", gguf_bytes(MOE, MOE_TENSORS))
    registry = Registry(home)
    assert registry.list() == []
    (added,) = registry.add(path)
    assert (added.name, added.path, added.architecture, added.experts) == ("qwen3-8b:q4_k_m", path, "llama", 4)
    assert added.size_bytes == path.stat().st_size
    assert added.modified_seconds == pytest.approx(path.stat().st_mtime)
    assert registry.list() == [added]
    assert registry.open("QWEN3-8B:q4_k_m").name == "qwen3-8b:q4_k_m"
    assert registry.get("qwen3-8b").path == path  # the only tag there is
    assert Registry(home).list() == [added]  # kept over a restart
    registry.remove("qwen3-8b:q4_k_m")
    assert names(registry) == names(Registry(home)) == []
    assert path.exists()


def test_adding_again_changes_nothing(home: Path, shelf: Path) -> None:
    path = write_model(shelf / "m.gguf")
    registry = Registry(home)
    assert registry.add(path, "mine") == registry.add(path, "mine") == registry.add(path)
    assert names(registry) == ["mine:latest"]
    assert [model.name for model in registry.add(path, "alias:x")] == ["alias:x"]
    assert names(registry) == ["alias:x", "mine:latest"]


def test_a_taken_name_names_both_files(home: Path, shelf: Path) -> None:
    first, second = write_model(shelf / "a" / "m.gguf"), write_model(shelf / "b" / "m.gguf")
    registry = Registry(home)
    registry.add(first, "mine")
    with pytest.raises(InvalidRequest, match="mine:latest already stands for") as caught:
        registry.add(second, "Mine")
    assert str(first) in str(caught.value) and str(second) in str(caught.value)
    assert names(registry) == ["mine:latest"]


def test_names_made_from_files_avoid_taken_names(home: Path, shelf: Path) -> None:
    registry = Registry(home)
    for folder in "abc":
        registry.add(write_model(shelf / folder / "m-q4_0.gguf"))
    assert names(registry) == ["m-2:q4_0", "m-3:q4_0", "m:q4_0"]


def test_bad_names_and_paths(home: Path, shelf: Path) -> None:
    path = write_model(shelf / "m.gguf")
    registry = Registry(home)
    with pytest.raises(InvalidModelName):
        registry.add(path, "../m")
    with pytest.raises(InvalidRequest, match="is a folder"):
        registry.add(shelf, "name")
    with pytest.raises(InvalidRequest, match="not absolute"):
        registry.add(Path("m.gguf"))
    with pytest.raises(ModelFileError, match="No such file"):
        registry.add(shelf / "absent.gguf")
    with pytest.raises(ModelFileError, match="no model was found"):
        registry.add(write_model(shelf / "empty" / "notes.txt", b"x").parent)
    assert names(registry) == []


def test_unknown_names_get_a_hint(home: Path, shelf: Path) -> None:
    registry = Registry(home)
    with pytest.raises(ModelNotFound, match="hypuractl add PATH"):
        registry.get("qwen3")
    registry.add(write_model(shelf / "m.gguf"), "qwen3:q4_k_m")
    with pytest.raises(ModelNotFound, match=r"no model is called qwen3:q8_0; did you mean qwen3:q4_k_m\?"):
        registry.open("qwen3:q8_0")
    registry.add(shelf / "m.gguf", "qwen3:q2_k")
    with pytest.raises(ModelNotFound, match="qwen3:latest; did you mean qwen3:q4_k_m or qwen3:q2_k"):
        registry.get("qwen3")  # two tags: neither is meant
    with pytest.raises(ModelNotFound):
        registry.remove("nothing")


def test_a_folder(home: Path, shelf: Path) -> None:
    write_model(shelf / "a.gguf")
    write_model(shelf / "deep" / "er" / "b.GGUF")
    write_split(shelf / "deep")
    write_model(shelf / "broken.gguf", b"GGUF")
    write_model(shelf / "mmproj-a.gguf", gguf_bytes({"general.architecture": "clip"}))
    write_model(shelf / "._a.gguf", b"resource fork")
    write_model(shelf / ".hidden" / "c.gguf")
    write_model(shelf / "notes.txt", b"hello")
    write_model(shelf / "/".join("d" * (MAX_DEPTH + 1)) / "too-deep.gguf")
    (shelf / "loop").symlink_to(shelf)
    registry = Registry(home)
    assert sorted(model.name for model in registry.add(shelf)) == ["a:latest", "b:latest", "big:latest"]
    assert names(registry) == ["a:latest", "b:latest", "big:latest"]


def test_any_part_stands_for_its_split_model(home: Path, shelf: Path) -> None:
    paths = write_split(shelf)
    registry = Registry(home)
    for path in reversed(paths):
        (added,) = registry.add(path)
        assert (added.name, added.path) == ("big:latest", paths[0])
    assert added.size_bytes == sum(path.stat().st_size for path in paths)


def test_links_keep_their_name(home: Path, shelf: Path) -> None:
    """A Hugging Face cache has links with the model's name to files named by their hash."""
    blob = write_model(shelf / "blobs" / "0123abcd")
    link = shelf / "snapshots" / "model-q8_0.gguf"
    link.parent.mkdir()
    link.symlink_to(blob)
    (added,) = Registry(home).add(link)
    assert (added.name, added.path) == ("model:q8_0", link)


def test_files_in_the_homes_models_folder_are_listed(home: Path, shelf: Path) -> None:
    registry = Registry(home)
    registry.add(write_model(shelf / "m.gguf"), "here")
    inside = write_model(home / "models" / "sub" / "here.gguf")
    assert names(registry) == ["here-2:latest", "here:latest"]
    assert registry.get("here-2").path == inside
    with pytest.raises(InvalidRequest, match="move the file away"):
        registry.remove("here-2")
    inside.unlink()
    assert names(registry) == ["here:latest"]


def test_a_new_file_in_the_home_is_found_by_name(home: Path) -> None:
    registry = Registry(home)
    write_model(home / "models" / "new-q4_0.gguf")
    assert registry.open("new:q4_0").architecture == "llama"


def test_a_listed_file_that_became_unreadable(home: Path, shelf: Path) -> None:
    registry = Registry(home)
    good, bad, gone = (write_model(shelf / f"{name}.gguf") for name in ("good", "bad", "gone"))
    registry.add(shelf)
    bad.write_bytes(b"GGUF\3")
    gone.unlink()
    errors = {model.name: model.error for model in registry.list()}
    assert errors["good:latest"] == ""
    assert str(bad) in errors["bad:latest"]
    assert "No such file" in errors["gone:latest"]
    with pytest.raises(ModelFileError, match="No such file"):
        registry.open("gone")
    registry.remove("gone")
    assert names(registry) == ["bad:latest", "good:latest"]
    assert good.exists()


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(home: Path, shelf: Path) -> None:
    path = write_model(shelf / "m.gguf")
    registry = Registry(home)
    registry.add(path)
    before = registry.open("m")
    assert registry.open("m").tensors is before.tensors
    # Same size, same time: only the inode tells, as after a download that was moved into place.
    status = path.stat()
    other = write_model(shelf / "other", gguf_bytes({**DENSE, "llama.attention.head_count_kv": 4}))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    assert path.stat().st_size == status.st_size
    assert registry.open("m").hyperparameters.head_count_kv == (4, 4)


def test_a_part_that_changes_is_noticed(home: Path, shelf: Path) -> None:
    paths = write_split(shelf)
    registry = Registry(home)
    registry.add(paths[0])
    paths[2].unlink()
    assert "big-00003-of-00003.gguf cannot be found" in registry.list()[0].error


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[]", b'{"models": 3}', b"null", b"[" * 100_000, b'{"models": {"a": "/b"}}']
)
def test_a_damaged_catalogue_is_set_aside(content: bytes, home: Path, shelf: Path) -> None:
    home.mkdir()
    for aside in ("models.json.unreadable", "models.json.unreadable-2"):
        (home / "models.json").write_bytes(content)
        registry = Registry(home)
        assert names(registry) == []
        assert (home / aside).read_bytes() == content
    registry.add(write_model(shelf / "m.gguf"))
    assert names(Registry(home)) == ["m:latest"]


def test_bad_entries_of_the_catalogue_are_left_out(home: Path) -> None:
    home.mkdir()
    entries = [
        {"name": "good", "path": "/m.gguf"},
        {"name": "../bad", "path": "/m.gguf"},
        {"name": "relative", "path": "m.gguf"},
        {"name": "zero", "path": "/m\0"},
        {"name": "surrogate", "path": "/\ud800"},
        {"name": 3, "path": "/m.gguf"},
        {"path": "/m.gguf"},
        "text",
    ]
    (home / "models.json").write_text(json.dumps({"version": 1, "models": entries}))
    assert names(Registry(home)) == ["good:latest"]


def test_a_catalogue_that_cannot_be_written_changes_nothing(home: Path, shelf: Path) -> None:
    registry = Registry(home)
    home.write_text("a file where the folder should be")
    with pytest.raises(ModelFileError, match="cannot be written"):
        registry.add(write_model(shelf / "m.gguf"))
    assert names(registry) == []


def test_threads_do_not_lose_each_others_models(home: Path, shelf: Path) -> None:
    registry = Registry(home)
    paths = [write_model(shelf / f"m{number}.gguf") for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(registry.add, paths))
    assert len(names(registry)) == len(names(Registry(home))) == 24
    assert sorted(path.name for path in home.iterdir()) == ["models.json", "summaries.json"]


def test_a_list_after_a_restart_reads_no_header_again(home: Path, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Registry(home)
    paths = [write_model(shelf / f"m{number}.gguf") for number in range(3)]
    for path in paths:
        first.add(path)
    listed = first.list()
    opened: list[Path] = []

    def counting(path: Path, name: str) -> Model:
        opened.append(path)
        return open_model(path, name)

    monkeypatch.setattr("hypura_daemon.models.registry.open_model", counting)
    assert Registry(home).list() == listed
    assert opened == []
    paths[1].write_bytes(gguf_bytes(MOE, MOE_TENSORS))
    again = Registry(home)
    assert [model.experts for model in again.list()] == [0, 4, 0]
    assert set(opened) == {paths[1]}
    again.add(paths[1], "alias")
    assert len({model.digest for model in again.list()}) == 2  # One digest for the copies of a file, another else.
    for damage in (b"", b"{", b'{"version": 1, "files": [{"files": []}]}', b'{"version": 1, "files": 3}', b"[]"):
        (home / "summaries.json").write_bytes(damage)
        assert len(Registry(home).list()) == 4


def test_a_folder_is_listed_without_being_registered_with_what_is_not_a_model(home: Path, shelf: Path) -> None:
    registry = Registry(home)
    write_model(shelf / "good.gguf")
    write_model(shelf / "other" / "good.gguf")
    (shelf / "broken.gguf").write_bytes(b"GGUF")
    (shelf / os.fsdecode(b"n\xe9.gguf")).touch()
    for list_only in (True, False):
        found, left_out = registry.add_folder(shelf, list_only=list_only)
        assert [model.name for model in found] == ["good:latest", "good-2:latest"]
        assert [(Path(left.path).name, left.is_part) for left in left_out] == [
            ("n\ufffd.gguf", False),
            ("broken.gguf", False),
        ]
        assert all(left.path in left.reason for left in left_out)
        assert names(registry) == ([] if list_only else ["good-2:latest", "good:latest"])


def test_a_folder_of_weights_in_other_formats_is_named(home: Path, shelf: Path) -> None:
    (shelf / "model-00001-of-00002.safetensors").touch()
    with pytest.raises(ModelFileError, match=r"is not a GGUF file.*convert_hf_to_gguf"):
        Registry(home).add(shelf)
