import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attachtrans.stores.poses.xmp import read_xmp, real, reals
from tests.stores.poses.photos import packet


def test_attributes_and_elements_say_the_same():
    values = {"drone-dji:GimbalYawDegree": "+92.90", "GPano:ProjectionType": "equirectangular"}
    elements = "".join(f"<{name}> {value}\n</{name}>" for name, value in values.items())
    assert values.items() <= read_xmp(packet(values)).items()
    assert values.items() <= read_xmp(packet(elements=elements)).items()


@pytest.mark.parametrize("kind", ["Seq", "Bag"])
def test_members_of_a_list_are_joined(kind):
    members = "".join(f"\n  <rdf:li>{value}</rdf:li>" for value in ("0.1", " -0.2 ", "0.3"))
    element = f"<Camera:PerspectiveDistortion><rdf:{kind}>{members}</rdf:{kind}>"
    found = read_xmp(packet(elements=f"{element}</Camera:PerspectiveDistortion>"))
    assert found["Camera:PerspectiveDistortion"] == "0.1,-0.2,0.3"


@pytest.mark.parametrize(
    "uri", ["http://pix4d.com/camera/1.0", "http://pix4d.com/camera/1.0/"], ids=["bare", "slash"]
)
def test_a_prefix_counts_by_its_namespace(uri):
    found = read_xmp(f"<d xmlns:p4d='{uri}' p4d:Yaw='12' other:Yaw=\"3\"/>".encode())
    assert found["Camera:Yaw"] == "12"
    assert found["other:Yaw"] == "3"


def test_quotes_of_both_kinds_and_the_entities_of_xml():
    found = read_xmp(b"""<d a:x="it's &quot;so&quot;" a:y='"&lt;1&gt; &amp;amp;'/>""")
    assert found == {"a:x": 'it\'s "so"', "a:y": '"<1> &amp;'}


def test_no_entity_is_expanded():
    packet = b'<!DOCTYPE x [<!ENTITY a "boom"><!ENTITY b "&a;&a;">]><x a:b="&b;"><c:d>&b;</c:d></x>'
    assert read_xmp(packet) == {"a:b": "&b;", "c:d": "&b;"}


def test_the_attribute_counts_before_the_element():
    found = read_xmp(packet({"Camera:Yaw": "1"}, "<Camera:Yaw>2</Camera:Yaw>"))
    assert found["Camera:Yaw"] == "1"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("+198.31", 198.31), ("136169/100", 1361.69), ("-5 / 2", -2.5), ("1e3", 1000.0)),
        *(
            ("", None),
            ("north", None),
            ("nan", None),
            ("inf", None),
            ("1/0", None),
            ("1/2/3", None),
        ),
        ("9" * 400, None),
    ],
)
def test_numbers(text, value):
    assert real({"a:b": text}, "a:b") == value


def test_several_numbers_or_none():
    assert reals({"a:x": "1", "a:y": "2"}, "a:x", "a:y") == (1.0, 2.0)
    assert reals({"a:x": "1"}, "a:x", "a:y") is None


UNITS = (
    *("<a:b><rdf:Seq><rdf:li>1</rdf:li>", 'a:b="', "a:b='x\" ", "<a:b ", "<a:b>x", "a", "a:"),
    *("<rdf:Seq>", "<a:b><rdf:Seq><rdf:li>", "<a:b>1</a:b>", 'xmlns:a="x" a:b="1" ', "&amp;", "a-"),
    *("a:b" + 1000 * " ", "<a:b>" + 2000 * " ", "<a:b><rdf:Seq>" + 900 * "<rdf:li>1</rdf:li>"),
)


@pytest.mark.parametrize("unit", UNITS, ids=range(len(UNITS)))
def test_time_grows_with_length_only(unit):
    def seconds(nbytes):
        start = time.perf_counter()
        read_xmp((unit * (nbytes // len(unit) + 1)).encode()[:nbytes])
        return time.perf_counter() - start

    # Quadratic time would take minutes for this.
    assert seconds(200_000) < 5.0


@given(st.binary(max_size=300) | st.text(alphabet="<>/a:b='\" rdf:liSeq&;", max_size=300))
def test_anything_may_stand_in_a_packet(noise):
    data = noise if isinstance(noise, bytes) else noise.encode()
    assert all(isinstance(value, str) for value in read_xmp(data).values())
    read_xmp(packet({"Camera:Yaw": "1"})[: len(data)] + data)
