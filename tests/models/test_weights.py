from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict

import pytest
import safetensors.torch
import torch
from torch import nn

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.package import FileRef
from attachtrans.models.weights import fill, load_state_dict, part_of, shape_of

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}


class Evil:
    """A pickle of this runs a command when it is loaded."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize("content", [STATE, OrderedDict(STATE), {"model": STATE, "opt": {"lr": 1}}])
@pytest.mark.parametrize("is_zip", [True, False])
def test_state_dicts(tmp_path, content, is_zip):
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=is_zip)
    assert same(load_state_dict(FileRef(path=tmp_path / "w.pth")), STATE)


def test_safetensors(tmp_path):
    safetensors.torch.save_file(STATE, tmp_path / "w.safetensors")
    assert same(load_state_dict(FileRef(path=tmp_path / "w.safetensors")), STATE)
    (tmp_path / "w.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ModelError, match="safetensors"):
        load_state_dict(FileRef(path=tmp_path / "w.safetensors"))


@pytest.mark.parametrize("how", ["torch", "legacy", "pickle", "nested"])
def test_a_pickle_that_would_run_a_command_is_refused_and_runs_nothing(tmp_path, how):
    evil = Evil(f"touch {tmp_path / 'pwned'}")
    path = tmp_path / "w.pth"
    if how == "pickle":
        path.write_bytes(pickle.dumps({"a": evil}))
    else:
        content = {"model": {**STATE, "a": evil}, "opt": None} if how == "nested" else {"a": evil}
        torch.save(content, path, _use_new_zipfile_serialization=how != "legacy")
    with pytest.raises(UntrustedModelError, match="would run code"):
        load_state_dict(FileRef(path=path))
    assert not (tmp_path / "pwned").exists()


def test_a_pickled_module_is_refused(tmp_path):
    torch.save(nn.Conv2d(1, 1, 1), tmp_path / "w.pth")
    with pytest.raises(UntrustedModelError, match="state dict"):
        load_state_dict(FileRef(path=tmp_path / "w.pth"))


@pytest.mark.parametrize("content", [b"", b"noise", b"PK\x03\x04 cut off", b"\x80\x02}q\x00."])
def test_damaged_files(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_state_dict(FileRef(path=tmp_path / "w.pth"))
    assert not isinstance(caught.value, UntrustedModelError)
    assert "w.pth" in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 3}, {"a": STATE}, torch.zeros(3)])
def test_what_is_no_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ModelError, match="state dict"):
        load_state_dict(FileRef(path=tmp_path / "w.pth"))


def test_a_truncated_checkpoint(tmp_path):
    torch.save(STATE, tmp_path / "w.pth")
    content = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"w\.pth"):
        load_state_dict(FileRef(path=tmp_path / "w.pth"))


def test_an_archive_that_would_unpack_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr("attachtrans.models.weights.MAX_FILE_BYTES", 10_000)
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data/0", bytes(20_000))
    with pytest.raises(ModelError, match="would unpack"):
        load_state_dict(FileRef(path=path))


def test_fill_is_strict_and_freezes():
    net = fill(nn.Sequential(OrderedDict(a=nn.Linear(3, 2))), STATE, what="Weights")
    assert torch.equal(net.a.weight, STATE["a.weight"])
    assert not net.training
    assert not any(parameter.requires_grad for parameter in net.parameters())
    for state in ({}, {**STATE, "b": torch.zeros(1)}, {**STATE, "a.bias": torch.zeros(3)}):
        with pytest.raises(ModelError, match="Weights do not fit"):
            fill(nn.Sequential(OrderedDict(a=nn.Linear(3, 2))), state, what="Weights")


def test_fill_keeps_the_memory_format_and_knows_meta_modules():
    wide = nn.Conv2d(4, 4, 3)
    state = {name: value.clone() for name, value in wide.state_dict().items()}
    nn.utils.convert_conv2d_weight_memory_format(wide, torch.channels_last)
    fill(wide, state, what="Weights")
    assert wide.weight.is_contiguous(memory_format=torch.channels_last)
    with torch.device("meta"):
        empty = nn.Conv2d(4, 4, 3)
    half = {name: value.half() for name, value in state.items()}
    assert fill(empty, half, what="Weights").weight.dtype == torch.float32


def test_tensors_that_claim_more_than_they_weigh_are_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}, path)
    assert path.stat().st_size < 10_000
    with pytest.raises(ModelError, match="claims 4398046511104 bytes"):
        load_state_dict(FileRef(path=path))


@pytest.mark.parametrize(
    "tensor",
    [torch.eye(3).to_sparse(), torch.empty(3, device="meta")],
)
def test_tensors_that_are_not_plain_are_refused(tmp_path, tensor):
    torch.save({"a": tensor}, tmp_path / "w.pth")
    with pytest.raises(ModelError):
        load_state_dict(FileRef(path=tmp_path / "w.pth"))


def test_parts_and_shapes():
    state = {"G.a.weight": torch.zeros(2, 3), "GA": torch.zeros(1), "D.a": torch.zeros(1)}
    assert part_of(state, "G.").keys() == {"a.weight"}
    assert shape_of(state, "G.a.weight", dimensions=2) == (2, 3)
    with pytest.raises(ModelError, match="b is missing"):
        shape_of(state, "b", dimensions=2)
    with pytest.raises(ModelError, match=r"has the shape \(2, 3\)"):
        shape_of(state, "G.a.weight", dimensions=4)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.complex64])
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_weights_that_are_no_floats(dtype, device):
    state = {**nn.BatchNorm2d(2).state_dict(), "running_mean": torch.zeros(2, dtype=dtype)}
    with pytest.raises(ModelError, match="running_mean holds"):
        fill(nn.BatchNorm2d(2, device=device), state, what="The weights")
