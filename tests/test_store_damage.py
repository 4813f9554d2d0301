"""Reading what is cut short, altered, made on purpose or of the future: an error of ours, and nothing believed."""

from __future__ import annotations

import hashlib
import json
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus import store
from isthmus.errors import DamagedFileError, FileError, FutureFileError

MEMBERS = ("model.json", "format.json", "weights.safetensors", "card.md")


def save(path: Path) -> Path:
    tensors = {"mean": np.arange(3) / 7, "weight": torch.ones(3, 4), "flag": np.array([True, False, True])}
    store.write(path, model={"word": "pca"}, format={"shape": [3], "on": True}, tensors=tensors, card="# Digits\n")
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save(tmp_path / "digits.isthmus")


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def digest_as_documented(members: dict[str, bytes]) -> str:
    head = json.loads(members["model.json"])
    blank = members["model.json"].replace(head["hash"]["digest"].encode(), b"0" * 64)
    whole = b""
    for name in MEMBERS:
        content = blank if name == "model.json" else members[name]
        whole += name.encode() + b"\0" + str(len(content)).encode() + b"\0" + content
    return hashlib.sha256(whole).hexdigest()


def sealed(members: dict[str, bytes]) -> dict[str, bytes]:
    """The members with the hash that belongs to them, as one who means harm would write it."""
    head = json.loads(members["model.json"])
    digest = digest_as_documented(members)
    return members | {"model.json": members["model.json"].replace(head["hash"]["digest"].encode(), digest.encode())}


def zipped(path: Path, members: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            if change:
                change(info)
            archive.writestr(info, content)
    return path


def refused(path: Path, text: str, error: type[FileError] = DamagedFileError) -> None:
    with pytest.raises(error, match=text) as caught:
        store.read(path)
    assert type(caught.value) is error
    assert str(path) in str(caught.value)


def test_zipped_again_it_is_read(saved: Path) -> None:
    """The helpers below make good files when nothing is changed: so their refusals are for the change."""
    wanted = store.read(saved)
    back = store.read(zipped(saved, sealed(members_of(saved))))
    assert back.hash == wanted.hash
    assert back.model == wanted.model


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "x.isthmus", "does not exist. Check the name", FileError)
    refused(tmp_path, "is a folder", FileError)
    refused(tmp_path / "x" / "y", "does not exist", FileError)


@pytest.mark.parametrize("content", [b"hello", b"\x80\x04", b"PK", b"\x89PNG" + bytes(100)])
def test_not_a_zip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    refused(tmp_path / "x", "it is not a model file: it does not begin as one. Copy or download it again, or save")


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    refused(tmp_path / "x", "it is empty")


def test_another_zip(tmp_path: Path) -> None:
    refused(zipped(tmp_path / "x", {"word/document.xml": b"<x/>"}), "it holds no model.json")
    refused(zipped(tmp_path / "x", {"model.json": b'{"keras": 3}'}), "model.json does not begin as ours does")


def test_cut_short_or_lengthened(saved: Path) -> None:
    whole = saved.read_bytes()
    for size in (4, 30, len(whole) // 2, len(whole) - 22, len(whole) - 1):
        saved.write_bytes(whole[:size])
        refused(saved, "it is cut short")
    saved.write_bytes(whole + b"\0")
    refused(saved, "or something was added at its end")
    saved.write_bytes(b"#!/bin/sh\n" + whole)
    refused(saved, "it does not begin as one")
    saved.write_bytes(b"PK\3\4" + whole)
    refused(saved, "cannot be used")


def test_every_flipped_byte_of_every_member_is_found(saved: Path) -> None:
    whole = saved.read_bytes()
    with zipfile.ZipFile(saved) as archive:
        infos = archive.infolist()
    flipped = 0
    for info in infos:
        start = info.header_offset + 30 + len(info.filename)
        for place in range(start, start + info.file_size, 3):
            saved.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
            with pytest.raises(FileError):
                store.read(saved)
            flipped += 1
    assert flipped > 100


def test_a_flipped_weight_is_named_as_such(saved: Path) -> None:
    members = members_of(saved)
    weights = bytearray(members["weights.safetensors"])
    weights[-1] ^= 1
    refused(
        zipped(saved, members | {"weights.safetensors": bytes(weights)}),
        "does not agree with its hash: some bytes were altered",
    )


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    path = save(tmp_path_factory.mktemp("fuzz") / "x.isthmus")
    return path, path.read_bytes()


def read_or_error(path: Path) -> store.Contents | FileError:
    try:
        return store.read(path)
    except FileError as error:
        if str(path) not in str(error):
            raise AssertionError("the error does not name the file") from error
        return error


def equal(one: store.Contents, two: store.Contents) -> bool:
    same = one[:2] == two[:2] and one[3:] == two[3:] and one.tensors.keys() == two.tensors.keys()
    return same and all(torch.equal(one.tensors[name], two.tensors[name]) for name in one.tensors)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_random_damage_is_an_error_or_harmless(whole_file: tuple[Path, bytes], data: st.DataObject) -> None:
    path, whole = whole_file
    path.write_bytes(whole)
    wanted = store.read(path)
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        # half of the damage in the directory at the end, where the structure is
        where = data.draw(st.integers(0, len(broken) - 1) | st.integers(max(0, len(broken) - 300), len(broken) - 1))
        what = data.draw(st.sampled_from(["flip", "cut", "insert", "remove", "set"]))
        if what == "flip":
            broken[where] ^= 1 << data.draw(st.integers(0, 7))
        elif what == "set":
            broken[where : where + 4] = data.draw(st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\1\0\0\0"]))
        elif what == "insert":
            broken[where:where] = data.draw(st.binary(min_size=1, max_size=4))
        elif what == "cut":
            del broken[max(1, where) :]
        elif len(broken) > 1:
            del broken[where]
    path.write_bytes(bytes(broken))
    back = read_or_error(path)
    assert isinstance(back, FileError) or equal(back, wanted)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_under_a_right_hash_is_an_error_or_readable(whole_file: tuple[Path, bytes], data: st.DataObject) -> None:
    """Parsers get what anyone may have made on purpose; nothing but our own errors may come of it."""
    path, whole = whole_file
    path.write_bytes(whole)
    members = members_of(path)
    name = data.draw(st.sampled_from(MEMBERS[1:] + MEMBERS[2:3] * 2))
    content = bytearray(members[name])
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.integers(0, min(len(content), 400) - 1))
        size = data.draw(st.integers(0, 3))
        content[where : where + size] = data.draw(
            st.binary(max_size=4) | st.sampled_from([b"9", b"-1", b"{", b"]", b'"', b"BF16", b"1e999", b"null", b",0"])
        )
        content = content or bytearray(b" ")
    zipped(path, sealed(members | {name: bytes(content)}))
    read_or_error(path)


@pytest.mark.parametrize("name", MEMBERS[1:])
def test_a_missing_member(saved: Path, name: str) -> None:
    members = members_of(saved)
    del members[name]
    refused(zipped(saved, members), f"{name} is missing from it")


@pytest.mark.parametrize(
    "name",
    ["extra.txt", "../../etc/passwd", "/etc/passwd", "C:\\x", "model.json/", "Model.json", "weights.pkl", "ü" * 9],
)
def test_members_that_do_not_belong(saved: Path, name: str) -> None:
    refused(zipped(saved, sealed(members_of(saved)) | {name: b""}), "which no model file holds")
    assert not (saved.parent / "extra.txt").exists()


def test_a_member_that_stands_twice(saved: Path) -> None:
    members = sealed(members_of(saved))
    zipped(saved, members)
    with zipfile.ZipFile(saved, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(zipfile.ZipInfo("format.json"), members["format.json"])
    refused(saved, "it holds 'format.json' twice")


def test_links_and_folders(saved: Path) -> None:
    members = sealed(members_of(saved))

    def link(info: zipfile.ZipInfo) -> None:
        info.external_attr = (stat.S_IFLNK | 0o777) << 16 if info.filename == "card.md" else 0

    def folder(info: zipfile.ZipInfo) -> None:
        info.external_attr = 0x10 if info.filename == "card.md" else 0

    refused(zipped(saved, members, link), "card.md is a link or a folder")
    refused(zipped(saved, members, folder), "card.md is a link or a folder")


def patched_directory(path: Path, name: str, offset: int, value: bytes) -> None:
    """Set bytes of a member's entry in the directory, at an offset of the zip specification's 4.3.12."""
    whole = bytearray(path.read_bytes())
    entry = whole.rindex(name.encode()) - 46
    assert whole[entry : entry + 4] == b"PK\1\2"
    whole[entry + offset : entry + offset + len(value)] = value
    path.write_bytes(bytes(whole))


def test_encrypted(saved: Path) -> None:
    patched_directory(saved, "card.md", 8, b"\1\0")
    refused(saved, "card.md is encrypted in it")


def test_zip_bombs(saved: Path) -> None:
    members = members_of(saved)
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (members | {"card.md": bytes(50 * 2**20)}).items():
            archive.writestr(name, content)
    assert saved.stat().st_size < 2**17
    tracemalloc.start()
    refused(saved, "model.json is compressed in it; Isthmus never compresses")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["model.json", "format.json", "card.md", "weights.safetensors"])
def test_sizes_that_lie(saved: Path, name: str) -> None:
    patched_directory(saved, name, 20, struct.pack("<2I", 2**31, 2**31))
    tracemalloc.start()
    refused(saved, f"{name} is (2048 MiB; at most 16 are read|cut short)|cannot be read")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_texts_that_are_too_long(saved: Path) -> None:
    members = members_of(saved)
    refused(zipped(saved, members | {"card.md": bytes(17 * 2**20)}), "card.md is 17 MiB; at most 16 are read")


def test_a_directory_of_many_entries_is_not_parsed(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a") as archive:
        for index in range(2000):
            archive.writestr(zipfile.ZipInfo(f"{index:06d}"), b"")
    refused(saved, "its directory is larger than that of any model file")


def test_members_that_share_bytes(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        place = archive.getinfo("format.json").header_offset
    patched_directory(saved, "card.md", 42, struct.pack("<I", place))
    refused(saved, "cannot be used")


def test_bytes_that_belong_to_no_member(saved: Path) -> None:
    members = sealed(members_of(saved))
    with zipfile.ZipFile(saved, "w") as archive:
        for name in MEMBERS:
            if name == "card.md":
                archive.fp.write(b"hidden")  # type: ignore[union-attr]
                archive.start_dir += 6
            archive.writestr(zipfile.ZipInfo(name), members[name])
    refused(saved, "bytes before card.md that belong to no member")


def test_bytes_after_the_last_member(saved: Path) -> None:
    whole = saved.read_bytes()
    directory = whole.index(b"PK\1\2")
    end = bytearray(whole[directory:])
    end[-6:-2] = struct.pack("<I", directory + 6)
    saved.write_bytes(whole[:directory] + b"hidden" + bytes(end))
    refused(saved, "bytes after the last member that belong to none")
    saved.write_bytes(whole[:-2] + b"\1\0")  # a comment is announced
    refused(saved, "something was added at its end")


def test_a_long_directory_by_another_door(saved: Path) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[:-22] + b"PK\6\7" + struct.pack("<IQI", 0, 0, 1) + whole[-22:])
    refused(saved, "its directory is larger than that of any model file")


@pytest.mark.parametrize(
    ("offset", "value"),
    [(6, b"\xff\0"), (8, b"\0\x08\0\0" + bytes(34) + b"\xff"), (0, b"XX"), (42, b"\xff" * 4)],
    ids=["a zip of another age", "a name that is no text", "no entry", "a place outside"],
)
def test_directories_that_make_no_sense(saved: Path, offset: int, value: bytes) -> None:
    patched_directory(saved, "card.md", offset, value)
    refused(saved, "cannot be used: (its directory cannot be read|there are bytes before card.md)")


@pytest.mark.parametrize("place", [0xFFFFFFFE, 10**6])
def test_a_place_outside_the_file(saved: Path, place: int) -> None:
    patched_directory(saved, "model.json", 42, struct.pack("<I", place))
    refused(saved, "model.json lies outside the file|its directory cannot be read")


def test_names_that_are_two_things(saved: Path) -> None:
    whole = saved.read_bytes()
    first = whole.index(b"card.md")
    saved.write_bytes(whole[:first] + b"evil.md" + whole[first + 7 :])
    refused(saved, "card.md is not where the directory says")
    members = sealed(members_of(save(saved)))
    zipped(saved, {name.replace("card.md", "card.md+.exe"): content for name, content in members.items()})
    saved.write_bytes(saved.read_bytes().replace(b"card.md+", b"card.md\0"))
    refused(saved, "card.md is not where the directory says")


def with_head(path: Path, **changes: Any) -> Path:
    members = members_of(path)
    head = json.loads(members["model.json"]) | changes
    return zipped(path, members | {"model.json": json.dumps(head).encode()})


def test_a_future_version(saved: Path) -> None:
    refused(
        with_head(saved, version=2, written_by="3.1.4", whatever={"new": 1}),
        r"was written by Isthmus 3\.1\.4 as version 2 of the model file; this is Isthmus .*, which reads versions up "
        r"to 1\. Upgrade it: pip install --upgrade isthmus",
        FutureFileError,
    )


def test_a_future_version_may_hold_other_members(saved: Path) -> None:
    members = members_of(with_head(saved, version=7))
    with zipfile.ZipFile(saved, "w") as archive:
        archive.writestr("weights-0.bin", bytes(1000), compress_type=zipfile.ZIP_DEFLATED)
        archive.writestr("model.json", members["model.json"])
    refused(saved, "as version 7 of the model file", FutureFileError)


@pytest.mark.parametrize(
    "changes",
    [{"magic": "keras"}, {"version": 0}, {"version": "1"}, {"version": True}, {"version": 1.0}, {"written_by": 3}],
)
def test_a_head_that_is_not_ours(saved: Path, changes: dict[str, Any]) -> None:
    refused(with_head(saved, **changes), "does not begin as ours does")


@pytest.mark.parametrize(
    "changes",
    [{"hash": None}, {"hash": {"algorithm": "md5", "digest": "0" * 64}}, {"hash": {"algorithm": "sha256", "digest": 4}}]
    + [{"hash": {"algorithm": "sha256", "digest": text}} for text in ("", "ab", "0" * 64, "magic")],
)
def test_a_hash_that_is_none(saved: Path, changes: dict[str, Any]) -> None:
    refused(with_head(saved, **changes), "hash")


def test_a_hash_that_stands_twice(saved: Path) -> None:
    members = members_of(with_head(saved, model={"x": "0" * 64}, hash={"algorithm": "sha256", "digest": "0" * 64}))
    refused(zipped(saved, sealed(members)), "the hash in model.json is no sha256 digest")


def test_a_model_that_is_no_object(saved: Path) -> None:
    members = members_of(with_head(saved, model=[1]))
    refused(zipped(saved, sealed(members)), '"model" in model.json is missing or is no object')


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"a": NaN}', "it holds NaN"),
        (b'{"a": -Infinity}', "it holds -Infinity"),
        (b'{"a": 1e999}', r"format\.json\.a is inf"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "a key stands twice"),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "nested deeper than 64 levels"),
        (b'{"a": ' + b"[" * 10**6 + b"]" * 10**6 + b"}", "nested deeper than 64 levels"),
        (b'{"a": ' * 10**5, "nested deeper than 64 levels"),
        (b'{"a": ' + b"9" * 10**4 + b"}", "format.json cannot be read"),
        (b'{"a": "\\ud800"}', "half a character"),
        (b"[1]", "it is no object"),
        (b"null", "it is no object"),
        (b'{"a": 1', "format.json cannot be read"),
        (b"", "format.json cannot be read"),
        (b"\xff\xfe{\0}\0", "format.json cannot be read"),
        (b'{"a": 1} {"b": 2}', "format.json cannot be read"),
    ],
)
def test_json_that_is_refused(saved: Path, content: bytes, text: str) -> None:
    refused(zipped(saved, sealed(members_of(saved) | {"format.json": content})), text)


def test_a_card_that_is_no_text(saved: Path) -> None:
    refused(zipped(saved, sealed(members_of(saved) | {"card.md": b"\xff"})), "card.md is not text in UTF-8")


def weights(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "the header of weights.safetensors is longer than the file"),
        (struct.pack("<Q", 2**63), "the header of weights.safetensors is longer than the file"),
        (struct.pack("<Q", 1000) + b"{}", "the header of weights.safetensors is longer than the file"),
        (weights(b"[]"), "it is no object"),
        (weights(b'{"w": 1, "w": 2}'), "a key stands twice"),
        (weights({"w": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, b"\0"), "has the dtype 'F8_E4M3'"),
        (weights({"w": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)), "has the dtype 'C64'"),
        (weights({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)), "cannot be read"),
        (weights({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(3)), "cannot be read"),
        (weights({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(9)), "cannot be read"),
        (weights({"w": {"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 0]}}), "cannot be read"),
        (weights({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)), "cannot be read"),
        (weights({"w": {"dtype": "F32"}}), "cannot be read"),
        (
            weights(
                {
                    "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                    "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
                },
                bytes(4),
            ),
            "cannot be read",
        ),
        (
            weights({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, struct.pack("<f", float("nan"))),
            "tensor 'w' holds NaN or infinity",
        ),
        (weights({"w": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}, b"\x80\x7f"), "holds NaN or infinity"),
    ],
)
def test_weights_that_are_refused(saved: Path, content: bytes, text: str) -> None:
    refused(zipped(saved, sealed(members_of(saved) | {"weights.safetensors": content})), text)
