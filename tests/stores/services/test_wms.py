"""WMS and WMTS as other servers write them: capabilities by hand, the order of axes, limits."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from pyproj import CRS

from attachtrans.errors import ArgumentError, SourceError
from attachtrans.geo.gridding import Gridding
from attachtrans.stores.services import open_service
from attachtrans.stores.services.ogc import crs_of, northing_first
from tests.stores.services.loopback import CELL, EDGE, Reply, bounds, png, scene_once, tile_of_scene

LAYER_130 = """<Layer><Name>photos</Name><Title>p</Title><CRS>CRS:84</CRS><CRS>EPSG:4326</CRS>
<CRS>EPSG:3857</CRS><EX_GeographicBoundingBox><westBoundLongitude>-180</westBoundLongitude>
<eastBoundLongitude>180</eastBoundLongitude><southBoundLatitude>-90</southBoundLatitude>
<northBoundLatitude>90</northBoundLatitude></EX_GeographicBoundingBox></Layer>"""
LAYER_111 = """<Layer><Name>photos</Name><Title>p</Title><SRS>EPSG:4326 EPSG:900913</SRS>
<LatLonBoundingBox minx="-180" miny="-90" maxx="180" maxy="90"/></Layer>"""


def wms_document(version, url, layer, biggest=""):
    root = (
        '<WMS_Capabilities version="1.3.0" xmlns="http://www.opengis.net/wms" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
        if version == "1.3.0"
        else '<WMT_MS_Capabilities version="1.1.1" xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return f"""<?xml version="1.0"?>{root}
<Service><Name>WMS</Name><Title>t</Title>{biggest}</Service>
<Capability><Request><GetCapabilities><Format>text/xml</Format></GetCapabilities><GetMap>
<Format>image/jpeg</Format><Format>image/png</Format><DCPType><HTTP><Get>
<OnlineResource xlink:href="{url}"/></Get></HTTP></DCPType></GetMap></Request>
<Layer><Title>all</Title>{layer}</Layer></Capability></{root[1:].split(maxsplit=1)[0]}>""".encode()


def draw(request):
    """A window of the scene in Web Mercator, by the rules of the version that is asked for."""
    query = request.query
    assert query["crs" if query["version"] == "1.3.0" else "srs"] in ("EPSG:3857", "EPSG:900913")
    west, south, east, north = map(float, query["bbox"].split(","))
    pixels, transform = scene_once()
    left, top = round((west - transform.c) / CELL), round((transform.f - north) / CELL)
    width, height = int(query["width"]), int(query["height"])
    assert (east - west) / CELL == pytest.approx(width)
    assert (north - south) / CELL == pytest.approx(height)
    return Reply(png(pixels[:, top : top + height, left : left + width]))


@pytest.fixture
def wms(serve):
    """A server of one version; where it says that maps are asked for."""

    def start(version, said="", biggest=""):
        layer = LAYER_130 if version == "1.3.0" else LAYER_111

        def answer(request):
            if request.query["request"] == "GetCapabilities":
                url = said or f"{server.url}/ows?"
                return Reply(wms_document(version, url, layer, biggest), media="text/xml")
            return draw(request)

        server = serve(answer)
        return server

    return start


@pytest.mark.parametrize("version", ["1.1.1", "1.3.0"])
def test_a_layer_is_found_by_its_capabilities(wms, fast, whole, version):
    server = wms(version, biggest="<MaxWidth>500</MaxWidth><MaxHeight>400</MaxHeight>")
    service = open_service(f"{server.url}/ows?SERVICE=WMS&map=/a.map", whole, fast)
    assert "6 windows of at most 500 x 400" in service.notes[0]
    with closing(service.raster) as raster:
        np.testing.assert_array_equal(raster.read(), scene_once()[0])
    asked = server.requests[-1].query
    assert asked["version"] == version
    assert asked["map"] == "/a.map"
    assert asked["format"] == "image/png"
    assert asked["transparent"] == "TRUE"
    assert asked["layers"] == "photos"


def test_a_server_that_names_itself_as_nobody_reaches_it_is_asked_where_it_was_found(
    wms, fast, whole
):
    server = wms("1.3.0", said="http://inside.invalid:8080/geoserver/ows?")
    with closing(open_service(f"{server.url}/ows?SERVICE=WMS", whole, fast).raster) as raster:
        np.testing.assert_array_equal(raster.read(), scene_once()[0])


@pytest.mark.parametrize(
    ("version", "name", "expected"),
    [
        ("1.1.1", "EPSG:4326", "8.0,50.0,8.2,50.1"),
        ("1.3.0", "EPSG:4326", "50.0,8.0,50.1,8.2"),
        ("1.3.0", "CRS:84", "8.0,50.0,8.2,50.1"),
    ],
)
def test_the_order_of_axes(serve, fast, version, name, expected):
    server = serve(lambda request: Reply(png(np.full((3, 100, 200), 7, np.uint8))))
    asked = Gridding(
        extent=(8.0, 50.0, 8.2, 50.1), cell_size=(0.001, 0.001), crs=CRS.from_epsg(4326)
    )
    key = "SRS" if version == "1.1.1" else "CRS"
    source = f"WMS:{server.url}/?VERSION={version}&LAYERS=a&{key}={name}&FORMAT=image/png"
    with closing(open_service(source, asked, fast).raster) as raster:
        raster.read()
    box = [float(number) for number in server.requests[0].query["bbox"].split(",")]
    assert box == pytest.approx([float(number) for number in expected.split(",")])


@pytest.mark.parametrize(
    ("code", "first"),
    [
        (4326, True),
        (3857, False),
        (25832, False),
        (31466, True),
        (2193, True),
        (3031, False),
        (32661, True),
    ],
)
def test_systems_with_northing_first(code, first):
    assert northing_first(CRS.from_epsg(code)) is first


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("urn:ogc:def:crs:EPSG::3857", 3857),
        ("urn:ogc:def:crs:EPSG:6.18.3:3857", 3857),
        ("http://www.opengis.net/def/crs/EPSG/0/25832", 25832),
        ("EPSG:900913", 3857),
        ("urn:ogc:def:crs:EPSG::900913", 3857),
        ("ESRI:102100", 3857),
    ],
)
def test_names_of_systems(name, code):
    assert crs_of(name).to_epsg() == code


def test_longitude_comes_first_in_crs84():
    assert crs_of("urn:ogc:def:crs:OGC:1.3:CRS84").to_authority() == ("OGC", "CRS84")
    assert not northing_first(crs_of("CRS:84"))
    assert crs_of("EPSG:0") is None


def test_exceptions_in_the_place_of_a_map_are_never_imagery(serve, fast, whole):
    body = b"<Report><ServiceException>no disk</ServiceException></Report>"
    server = serve(lambda request: Reply(body, media="image/png"))
    source = f"WMS:{server.url}/?VERSION=1.3.0&LAYERS=a&CRS=EPSG:3857&FORMAT=image/png"
    with pytest.raises(SourceError, match=r"127\.0\.0\.1.*the server says: no disk"):
        open_service(source, whole, fast)


@pytest.mark.parametrize("body", [b"<html><title>Login</title></html>", b"<a><b/></a>", b"no xml"])
def test_what_is_no_capabilities_document_is_told(serve, fast, whole, body):
    server = serve(lambda request: Reply(body, media="text/xml"))
    for kind in ("WMS", "WMTS"):
        with pytest.raises(SourceError, match=r"127\.0\.0\.1"):
            open_service(f"{server.url}/?SERVICE={kind}", whole, fast.with_(retries=0))


def test_entities_of_capabilities_are_not_followed(serve, fast, whole, tmp_path):
    (tmp_path / "secret").write_text("geheim")
    layer = LAYER_130.replace("photos", "&x;")
    document = wms_document("1.3.0", "http://h/", layer).replace(
        b'<?xml version="1.0"?>',
        f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]>'.encode(),
    )
    server = serve(lambda request: Reply(document, media="text/xml"))
    with pytest.raises((ArgumentError, SourceError)) as caught:
        open_service(f"{server.url}/?SERVICE=WMS&LAYERS=b", whole, fast.with_(retries=0))
    assert "geheim" not in str(caught.value)


def wmts_document(url, crs, corner, template=""):
    matrices = "".join(
        f"<TileMatrix><ows:Identifier>L{zoom}</ows:Identifier>"
        f"<ScaleDenominator>{CELL * 2 ** (14 - zoom) / 0.00028!r}</ScaleDenominator>"
        f"<TopLeftCorner>{corner}</TopLeftCorner><TileWidth>256</TileWidth>"
        f"<TileHeight>256</TileHeight><MatrixWidth>{2**zoom}</MatrixWidth>"
        f"<MatrixHeight>{2**zoom}</MatrixHeight></TileMatrix>"
        for zoom in (12, 13, 14)
    )
    rest = (
        f'<ResourceURL format="image/png" resourceType="tile" template="{template}"/>'
        if template
        else ""
    )
    return f"""<?xml version="1.0"?><Capabilities xmlns="http://www.opengis.net/wmts/1.0"
xmlns:ows="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink"
version="1.0.0"><ows:OperationsMetadata><ows:Operation name="GetTile"><ows:DCP><ows:HTTP>
<ows:Get xlink:href="{url}"><ows:Constraint name="GetEncoding"><ows:AllowedValues>
<ows:Value>KVP</ows:Value></ows:AllowedValues></ows:Constraint></ows:Get></ows:HTTP></ows:DCP>
</ows:Operation></ows:OperationsMetadata><Contents><Layer><ows:Title>p</ows:Title>
<ows:Identifier>photos</ows:Identifier><Style><ows:Identifier>plain</ows:Identifier></Style>
<Style isDefault="true"><ows:Identifier>bright</ows:Identifier></Style>
<Format>image/png</Format><Dimension><ows:Identifier>Time</ows:Identifier>
<Default>2020</Default><Value>2020</Value></Dimension>
<TileMatrixSetLink><TileMatrixSet>grid</TileMatrixSet></TileMatrixSetLink>{rest}</Layer>
<TileMatrixSet><ows:Identifier>grid</ows:Identifier><ows:SupportedCRS>{crs}</ows:SupportedCRS>
{matrices}</TileMatrixSet></Contents></Capabilities>""".encode()


@pytest.mark.parametrize("rest", [False, True])
def test_wmts_by_parameters_and_by_template(serve, fast, whole, rest):
    template = "/{Style}/{Time}/{TileMatrixSet}/{TileMatrix}/{TileRow}/{TileCol}.png"

    def answer(request):
        if request.query.get("request") == "GetCapabilities":
            url = f"{server.url}/kvp?"
            return Reply(
                wmts_document(
                    url,
                    "urn:ogc:def:crs:EPSG::3857",
                    f"{-EDGE!r} {EDGE!r}",
                    f"{server.url}{template}" if rest else "",
                )
            )
        if rest:
            style, time, grid, level, row, col = request.path.removesuffix(".png").split("/")[1:]
        else:
            asked = request.query
            names = ("style", "time", "tilematrixset", "tilematrix", "tilerow", "tilecol")
            style, time, grid, level, row, col = (asked[name] for name in names)
            assert (asked["layer"], asked["format"]) == ("photos", "image/png")
        assert (style, time, grid) == ("bright", "2020", "grid")
        body = tile_of_scene(int(level[1:]), int(col), int(row))
        return Reply(status=404) if body is None else Reply(body)

    server = serve(answer)
    service = open_service(f"{server.url}/?SERVICE=WMTS", whole, fast)
    assert "level L14 is read" in service.notes[0]
    with closing(service.raster) as raster:
        np.testing.assert_array_equal(raster.read(), scene_once()[0])
    with pytest.raises(ArgumentError, match="no style 'dark'; it has: plain, bright"):
        open_service(f"{server.url}/?SERVICE=WMTS&style=dark", whole, fast)
    with pytest.raises(ArgumentError, match="no tile matrix set 'x'; it has: grid"):
        open_service(f"{server.url}/?SERVICE=WMTS&tilematrixset=x", whole, fast)


@pytest.mark.parametrize(
    ("crs", "corner"),
    [
        ("urn:ogc:def:crs:EPSG::4326", "90.0 -180.0"),
        ("urn:ogc:def:crs:EPSG::4326", "-180.0 90.0"),  # wrong, and seen in the wild
        ("EPSG:4326", "-180.0 90.0"),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", "-180.0 90.0"),
    ],
)
def test_corners_in_either_order(serve, fast, crs, corner):
    """Level L14 has a cell of CELL / 111319.49 degrees: the tile under 8 degrees east, 50 north."""

    def answer(request):
        if request.query.get("request") == "GetCapabilities":
            return Reply(wmts_document(f"{server.url}/kvp?", crs, corner))
        return Reply(png(np.full((3, 256, 256), sum(map(ord, str(request.query))) % 251, np.uint8)))

    server = serve(answer)
    asked = Gridding(
        extent=(8.0, 50.0, 8.001, 50.001),
        extent_crs=CRS.from_epsg(4326),
        cell_size=(0.0001, 0.0001),
    )
    service = open_service(f"{server.url}/?SERVICE=WMTS", asked, fast.with_(keep_blank=True))
    service.raster.close()
    side = 256 * CELL * 180.0 / EDGE
    places = {(int(one.query["tilecol"]), int(one.query["tilerow"])) for one in server.requests[1:]}
    assert (int(188.0 / side), int((90.0 - 50.0005) / side)) in places


def test_bounds_are_of_the_scene():
    pixels, transform = scene_once()
    assert bounds(transform, *pixels.shape[:0:-1])[0] == transform.c
