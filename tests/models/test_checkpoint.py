from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.checkpoint import read_checkpoint
from attachtrans.models.package import FileRef

STATE = {"a.weight": torch.arange(3.0), "b.bias": torch.ones(2)}


def read(tmp_path, content):
    torch.save(content, tmp_path / "net.pth")
    return read_checkpoint(FileRef(path=tmp_path / "net.pth"))


def same(found):
    return found.keys() == STATE.keys() and all(
        torch.equal(found[name], STATE[name]) for name in STATE
    )


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"params_ema": STATE, "params": {"a.weight": torch.zeros(3)}},
        {"params_ema": {}, "params": STATE},
        {"epoch": 7, "state_dict": {f"module.{name}": STATE[name] for name in STATE}},
        {"model": {"generator": {f"netG._orig_mod.{name}": STATE[name] for name in STATE}}},
        {"whatever": STATE},
    ],
)
def test_the_net_is_found(tmp_path, content):
    assert same(read(tmp_path, content))


@given(st.lists(st.sampled_from(["module.", "_orig_mod.", "netG.", "generator."]), max_size=4))
def test_prefixes_go_in_any_order(tmp_path_factory, prefixes):
    name = "".join(prefixes)
    assert same(read(tmp_path_factory.mktemp("net"), {name + key: STATE[key] for key in STATE}))


def test_a_prefix_that_only_some_share_is_part_of_the_names(tmp_path):
    state = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert set(read(tmp_path, state)) == {"module.a", "b"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"G_AB": STATE, "G_BA": STATE}, "2 dictionaries.*G_AB, G_BA"),
        ({**STATE, "note": "mine"}, "'note' is not a tensor"),
        ({"state_dict": {"steps": 3}}, "'steps' is not a tensor"),
        ({"state_dict": {3: torch.ones(1)}}, "3 is not a tensor"),
        ([torch.ones(1)], "no state dict"),
        ({"params": {}}, "1 dictionaries|no state dict"),
    ],
)
def test_what_is_no_net_is_named(tmp_path, content, message):
    with pytest.raises(ModelError, match=message):
        read(tmp_path, content)


class Payload:
    def __reduce__(self):
        return print, ("executed",)


def test_code_beside_the_weights_is_refused(tmp_path, capsys):
    with pytest.raises(UntrustedModelError):
        read(tmp_path, {"params": STATE, "extra": Payload()})
    assert "executed" not in capsys.readouterr().out


def test_tensors_that_claim_more_than_they_weigh(tmp_path):
    with pytest.raises(ModelError, match="claims"):
        read(tmp_path, {"params": {"a": torch.ones(1).expand(1 << 42)}})


def test_a_loop_of_containers_ends(tmp_path):
    loop: dict[str, object] = {}
    loop["model"] = loop
    with pytest.raises(ModelError, match="1 dictionaries"):
        read(tmp_path, loop)
