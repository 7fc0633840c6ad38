from __future__ import annotations

import io
import pickle
import pickletools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.errors import ModelError, UntrustedModelError
from attachtrans.models.scriptdata import check_pickle, lies_within

RECORDS = {"0": 28, "1": 8}
CLASSES = frozenset({"__torch__.Net"})
START, STOP = b"\x80\x02", b"."


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def whole(*values: int) -> bytes:
    return b"(" + b"".join(b"J" + v.to_bytes(4, "little", signed=True) for v in values) + b"t"


def number(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little", signed=True)


def tensor(
    kind="FloatStorage", key="0", elements=7, offset=0, size=(7,), stride=(1,), extra=b"\x89"
) -> bytes:
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu")
    storage += number(elements) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    parts = storage + number(offset) + whole(*size) + whole(*stride) + extra + hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + parts + b"tR"


def net(**attributes: bytes) -> bytes:
    items = b"".join(text(name) + value for name, value in attributes.items())
    return b"c__torch__\nNet\n)\x81}(" + items + b"ub"


def check(body: bytes) -> None:
    check_pickle(START + body + STOP, RECORDS, CLASSES)


@pytest.mark.parametrize(
    "body",
    [
        tensor(),
        tensor(elements=2, size=(), stride=(), offset=1),
        tensor(size=(0, 5), stride=(5, 1), offset=7),
        tensor(size=(2, 3), stride=(1, 2), offset=1),
        tensor(kind="LongStorage", key="1", elements=1, size=(1,)),
        net(k=tensor(), training=b"\x88", n=b"N", s=text("a"), f=b"G?\xf0\0\0\0\0\0\0"),
        net(part=net(), sizes=b"ctorch.jit._pickle\nbuild_intlist\n(](K\x01K\x02etR"),
        b"ctorch.jit._pickle\nrestore_type_tag\n(}" + text("Dict[str, int]") + b"tR",
        b"(" + tensor() + tensor(key="1", elements=2, size=(2,)) + b"t",
    ],
)
def test_what_torch_writes(body):
    check(body)


@pytest.mark.parametrize(
    "body",
    [
        tensor(elements=8, size=(8,)),
        tensor(kind="DoubleStorage"),
        tensor(size=(8,)),
        tensor(offset=1),
        tensor(size=(3,), stride=(4,)),
        tensor(size=(3,), stride=(-1,)),
        tensor(size=(-1,)),
        tensor(offset=-1),
        tensor(elements=-1),
        tensor(size=(1 << 30, 1 << 30), stride=(0, 0)),
        tensor(size=(7, 1)),
        tensor(key="2"),
        tensor(extra=b"N"),
        tensor() + b"0",
        net(sizes=b"ctorch.jit._pickle\nbuild_intlist\n(](K\x01" + text("x") + b"etR"),
        net(sizes=b"ctorch.jit._pickle\nbuild_tensorlist\n(](K\x01etR"),
        b"ctorch.jit._pickle\nrestore_type_tag\n(}" + text("import os;x()") + b"tR",
        b"ctorch.jit._pickle\nrestore_type_tag\n(K\x01" + text("int") + b"tR",
        b"c__torch__\nNet\n)\x81K\x01b",
        b"K\x00)R",
        b"}(K\x01u",
        b"h\x05",
        b"",
    ],
)
def test_what_reaches_beyond_its_memory_or_is_damaged(body):
    with pytest.raises(ModelError):
        check(body)


@pytest.mark.parametrize(
    "body",
    [
        b"cos\nsystem\n(" + text("true") + b"tR",
        b"cbuiltins\neval\n(" + text("1") + b"tR",
        b"c__torch__\nOther\n)\x81}b",
        b"c__torch__.torch.classes.quantized\nConv2dPackedParamsBase\n)\x81}b",
        b"ctorch._utils\n_rebuild_qtensor\n)R",
        b"ctorch._utils\n_rebuild_sparse_tensor\n)R",
        b"ctorch.distributed.rpc\nrref\n)R",
        b"ctorch\nQInt8Storage\n",
        b"(i__main__\nx\n",
        b"\x8c\x01a",
        b"(dN",
    ],
)
def test_what_names_something_else_is_untrusted(body):
    with pytest.raises(UntrustedModelError):
        check(body)


def test_the_reader_itself_runs_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return (tmp_path / "pwned").mkdir, ()

    for protocol in (0, 1, 2, 4, 5):
        with pytest.raises(ModelError):
            check_pickle(pickle.dumps(Evil(), protocol=protocol), RECORDS, CLASSES)
    assert not (tmp_path / "pwned").exists()


@given(st.binary(max_size=80))
def test_noise_is_a_model_error(content):
    try:
        names = {instruction.name for instruction, _, _ in pickletools.genops(content)}
    except ValueError:
        names = set()
    try:
        check_pickle(content, RECORDS, CLASSES)
    except ModelError:
        return
    assert "STOP" in names


@given(st.data())
def test_changed_bytes_are_found_or_harmless(data):
    content = bytearray(START + net(k=tensor(), part=net(a=tensor(key="1", elements=2, size=(2,)))))
    content += STOP
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        check_pickle(bytes(content), RECORDS, CLASSES)
    except ModelError:
        return
    # What passes is still read to its end, and names nothing but what is known.
    stream = io.BytesIO(bytes(content))
    known = {"torch FloatStorage", "torch._utils _rebuild_tensor_v2", "collections OrderedDict"}
    known |= {"__torch__ Net"} | {f"torch {k}Storage" for k in ("Int", "Bool", "Half")}
    assert {arg for op, arg, _ in pickletools.genops(stream) if op.name == "GLOBAL"} <= known


@given(
    st.integers(0, 30),
    st.integers(0, 5),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), max_size=3),
)
def test_lying_within_is_what_it_says(elements, offset, axes):
    size, stride = tuple(n for n, _ in axes), tuple(step for _, step in axes)
    places = {offset}
    for n, step in axes:
        places = {place + i * step for place in places for i in range(n)}
    count = 1
    for n in size:
        count *= n
    expected = not places or (max(places) < elements and count <= elements)
    assert lies_within(elements, offset, size, stride) == expected
