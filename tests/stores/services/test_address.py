"""Which sources are services, and how addresses are shown."""

from __future__ import annotations

import pytest

from attachtrans.errors import ArgumentError
from attachtrans.stores.services import Access, Address, ServiceKind, default_cache
from attachtrans.stores.services.address import recognise, redact, with_parameters
from attachtrans.stores.services.xyz import hosts_of, tile_url

XYZ, WMTS, WMS = ServiceKind.XYZ, ServiceKind.WMTS, ServiceKind.WMS
IMAGE, MAP = ServiceKind.ARCGIS_IMAGE, ServiceKind.ARCGIS_MAP

GET_MAP = (
    "WMS:https://h/w?map=/X.map&SERVICE=WMS&REQUEST=GetMap&VERSION=1.1.1&LAYERS=a,b"
    "&SRS=EPSG:25832&BBOX=1,2,3,4&WIDTH=9&HEIGHT=9&FORMAT=image/png&apiKey=Q"
)


@pytest.mark.parametrize(
    ("source", "kind", "url", "layer", "options"),
    [
        ("https://h/{z}/{x}/{y}.png", XYZ, "https://h/{z}/{x}/{y}.png", None, {}),
        (
            "https://{s}.h/{z}/{x}/{-y}.png?k=1#zmin=2&zmax=19",
            XYZ,
            "https://{s}.h/{z}/{x}/{-y}.png?k=1",
            None,
            {"zmin": "2", "zmax": "19"},
        ),
        ("https://h/tiles/{q}.jpg", XYZ, "https://h/tiles/{q}.jpg", None, {}),
        ("https://h/a/ImageServer", IMAGE, "https://h/a/ImageServer", None, {}),
        ("https://h/a/imageserver/?f=pjson", IMAGE, "https://h/a/imageserver", None, {}),
        ("https://h/a/MapServer", MAP, "https://h/a/MapServer", None, {}),
        ("https://h/a/MapServer/3", MAP, "https://h/a/MapServer", "3", {}),
        (
            "WMTS:https://h/c.xml,layer=a,b,tilematrixset=EPSG:3857,style=x",
            WMTS,
            "https://h/c.xml",
            "a,b",
            {"tilematrixset": "EPSG:3857", "style": "x"},
        ),
        (
            "https://h/1.0.0/WMTSCapabilities.xml",
            WMTS,
            "https://h/1.0.0/WMTSCapabilities.xml",
            None,
            {},
        ),
        (
            "https://h/s?SERVICE=WMTS&Layer=a",
            WMTS,
            "https://h/s?SERVICE=WMTS&Layer=a",
            "a",
            {},
        ),
        (
            GET_MAP,
            WMS,
            "https://h/w?map=/X.map&apiKey=Q",
            "a,b",
            {"version": "1.1.1", "crs": "EPSG:25832", "format": "image/png"},
        ),
        ("https://h/w?service=wms", WMS, "https://h/w", None, {}),
        ("file:///etc/{z}/{x}/{y}", XYZ, "file:///etc/{z}/{x}/{y}", None, {}),
    ],
)
def test_services_are_recognised(source, kind, url, layer, options):
    assert recognise(source) == Address(kind=kind, url=url, layer=layer, options=options)


@pytest.mark.parametrize(
    "source",
    [
        "photo.tif",
        "C:/data/x.tif",
        "/vsicurl/https://h/x.tif",
        "https://h/cog.tif",
        "https://h/a/FeatureServer/0",
        "https://h/{x}/{y}.png",
        "folder/{z}/{x}/{y}.png",
        "project.qgz:WMS",
        "",
    ],
)
def test_everything_else_is_not(source):
    assert recognise(source) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://h/x?token=abc&f=json", "https://h/x?token=***&f=json"),
        ("https://h/x?f=1&API_KEY=a%20b#z", "https://h/x?f=1&API_KEY=***#z"),
        ("https://me:pass@h/x?a=1", "https://***@h/x?a=1"),
        (
            "https://h/x?X-Amz-Signature=a&X-Amz-Credential=b",
            "https://h/x?X-Amz-Signature=***&X-Amz-Credential=***",
        ),
        (
            "https://h/{z}?subscription-key=1&sig=2&layers=a",
            "https://h/{z}?subscription-key=***&sig=***&layers=a",
        ),
        ("no answer of /x?access_token=abc in time", "no answer of /x?access_token=*** in time"),
        ("https://h/monkeys/x?layers=key", "https://h/monkeys/x?layers=key"),
        ("https://h/S3cr%2Fet/1.png and S3cr/et", "https://h/***/1.png and ***"),
    ],
)
def test_secrets_are_not_shown(text, shown):
    assert redact(text, ["S3cr/et", ""]) == shown
    assert redact(shown, ["S3cr/et"]) == shown


def test_parameters_take_the_place_of_those_of_the_same_name():
    url = with_parameters("http://h/w?map=a&Version=1#x", [("VERSION", "2"), ("BBOX", "1,2")])
    assert url == "http://h/w?map=a&VERSION=2&BBOX=1,2"


def test_quadkeys_and_hosts():
    # Bing Maps Tile System: tile (3, 5) at level 3 has the quadkey 213.
    assert tile_url("h/{q}", 3, 3, 5) == "h/213"
    address = Address(kind=XYZ, url="https://{switch:t1,t2}.h/{z}/{x}/{y}{r}.png")
    assert hosts_of(address, Access()) == (
        "https://t1.h/{z}/{x}/{y}{r}.png",
        "https://t2.h/{z}/{x}/{y}{r}.png",
    )
    assert tile_url(address.url, 3, 1, 2) == "https://t2.h/3/1/2.png"
    assert tile_url("https://{s}.h/{z}/{x}/{-y}", 3, 1, 2) == "https://a.h/3/1/5"


def test_a_token_in_a_template_comes_from_the_environment_and_is_not_shown():
    address = Address(kind=XYZ, url="https://h/{token}/{z}/{x}/{y}.png")
    with pytest.raises(ArgumentError, match="ATTACHTRANS_TOKEN"):
        hosts_of(address, Access())
    assert hosts_of(address, Access(token="abc"))[0].startswith("https://h/abc/")


def test_credentials_come_from_the_environment():
    access = Access.from_environment(
        {"ATTACHTRANS_HEADER": "Authorization: Bearer a:b\n X-Key: c\n", "ATTACHTRANS_TOKEN": " t "}
    )
    assert access.headers == {"Authorization": "Bearer a:b", "X-Key": "c"}
    assert access.token == "t"
    assert "Bearer" not in repr(access)
    assert Access.from_environment({}).token is None
    with pytest.raises(ArgumentError, match="Authorization: Bearer") as caught:
        Access.from_environment({"ATTACHTRANS_HEADER": "geheim"})
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong", [{"parallel": 0}, {"rate": 0.0}, {"retries": -1}, {"timeout_s": 0.0}]
)
def test_numbers_below_their_least_are_refused(wrong):
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        Access(**wrong)


def test_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "attachtrans" / "services"
