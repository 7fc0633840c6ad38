import pytest

from attachtrans.image.xmp import scale_xmp, skip_reason, without_padding, without_pictures
from attachtrans.types import Size

PACKET = (
    b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description rdf:about=""
  tiff:ImageWidth="4000" tiff:Orientation="6" exif:PixelYDimension='3000'
  GPano:FullPanoWidthPixels="8000" GPano:PoseHeadingDegrees="12.5"
  drone-dji:CalibratedFocalLength="3666.666504" drone-dji:GimbalYawDegree="+83.10"
  drone-dji:DewarpData="2018-09-07;3657.02,3651.5,-4.5,-2.25,-0.26,0.11,0.0001,0,-0.03"
  Camera:FisheyeAffineMatrix="1000.5,0,0,1000.5" exif:FocalPlaneXResolution="53/10">
  <tiff:ImageLength>3000</tiff:ImageLength>
  <GPano:CroppedAreaTopPixels> 100 </GPano:CroppedAreaTopPixels>
  <dc:title>tiff:ImageWidth 4000</dc:title>
</rdf:Description></rdf:RDF></x:xmpmeta>
"""
    + b" " * 2000
    + b"""<?xpacket end="w"?>"""
)


def test_the_same_size_is_the_same_packet():
    assert scale_xmp(PACKET, Size(4000, 3000), Size(4000, 3000)) is PACKET


def test_only_what_is_measured_in_pixels_changes():
    new = scale_xmp(PACKET, Size(4000, 3000), Size(8000, 9000))
    expected = PACKET
    for old, changed in (
        (b'ImageWidth="4000"', b'ImageWidth="8000"'),
        (b"PixelYDimension='3000'", b"PixelYDimension='9000'"),
        (b'FullPanoWidthPixels="8000"', b'FullPanoWidthPixels="16000"'),
        (b"3666.666504", b"7333.333008"),
        (b"3657.02,3651.5,-4.5,-2.25,", b"7314.04,10954.5,-9.0,-6.75,"),
        (b"1000.5,0,0,1000.5", b"2001.0,0,0,3001.5"),
        (b'"53/10"', b'"106000/10000"'),
        (b"<tiff:ImageLength>3000", b"<tiff:ImageLength>9000"),
        (b"> 100 <", b">300<"),
    ):
        assert expected.count(old) == 1
        expected = expected.replace(old, changed)
    assert new == expected


@pytest.mark.parametrize("after", [Size(8000, 6000), Size(16000, 12000), Size(6001, 4000)])
@pytest.mark.parametrize("written", ["3657.02,3651,-4.5,-2.25", "3657,3651,0,-2"])
@pytest.mark.parametrize("name", ["DewarpData", "DewarpDataK6"])
def test_g10_dewarping_finds_the_same_ray(written, name, after):
    """DJI: fx, fy, and cx, cy from the middle of the image; the rest has no unit."""
    packet = f'<a drone-dji:{name}="2022-06-08;{written},-0.26,0.11,0.0001,0,-0.03"/>'.encode()
    new = scale_xmp(packet, Size(4000, 3000), after).decode()
    assert new.endswith(',-0.26,0.11,0.0001,0,-0.03"/>')
    places = []
    for text, size in ((packet.decode(), (4000, 3000)), (new, after)):
        fx, fy, cx, cy = map(float, text.split(";")[1].split(",")[:4])
        places.append((0.4 * fx + cx + size[0] / 2, -0.3 * fy + cy + size[1] / 2))
    assert places[1][0] == pytest.approx(places[0][0] * after[0] / 4000, abs=1e-3)
    assert places[1][1] == pytest.approx(places[0][1] * after[1] / 3000, abs=1e-3)


@pytest.mark.parametrize("after", [Size(8000, 6000), Size(16000, 12000), Size(6000, 4500)])
def test_g10_calibrated_values_keep_their_digits(after):
    packet = (
        b'<a drone-dji:CalibratedFocalLength="3665" drone-dji:CalibratedOpticalCenterX="2000.5"'
        b' drone-dji:CalibratedOpticalCenterY="1499.123"/>'
    )
    new = scale_xmp(packet, Size(4000, 3000), after).decode()
    values = [float(part.split('"')[1]) for part in new.split("drone-dji:")[1:]]
    factor = after[0] / 4000
    assert values == pytest.approx([3665 * factor, 2000.5 * factor, 1499.123 * factor], abs=1e-3)


@pytest.mark.parametrize("after", [Size(8000, 4000), Size(16000, 8000), Size(2000, 1000)])
def test_g10_cropped_panoramas_look_the_same_way(after):
    """GPano: whole pixels; a column's longitude is (left + col) / full width of a turn."""
    packet = (
        b'<a GPano:FullPanoWidthPixels="12000" GPano:CroppedAreaImageWidthPixels="4000"'
        b' GPano:CroppedAreaLeftPixels="4000" GPano:PoseHeadingDegrees="12.5"/>'
    )
    new = scale_xmp(packet, Size(4000, 2000), after)
    full, width, left = (int(part.split(b'"')[1]) for part in new.split(b"GPano:")[1:4])
    assert b'PoseHeadingDegrees="12.5"' in new
    assert width == after[0]
    for share in (0.0, 0.3, 1.0):
        assert (left + share * width) / full == pytest.approx((4000 + share * 4000) / 12000)


def test_nonsense_stays_as_it_is():
    packet = b'<a GPano:FullPanoWidthPixels="many" exif:FocalPlaneXResolution="1/0/2"/>'
    assert scale_xmp(packet, Size(1, 1), Size(2, 2)) == packet


@pytest.mark.parametrize(
    ("packet", "word"),
    [
        (b'<rdf:Description hdrgm:Version="1.0"/>', "gain map"),
        (b'<Container:Item Item:Semantic="GainMap"/>', "gain map"),
        (b'<rdf:Description GCamera:MotionPhoto="1"/>', "motion"),
        (b"<GCamera:MicroVideo>1</GCamera:MicroVideo>", "motion"),
        (b'<Container:Item Item:Semantic="MotionPhoto"/>', "motion"),
    ],
)
def test_special_photos_are_seen(packet, word):
    assert word in skip_reason(packet)


@pytest.mark.parametrize("packet", [None, PACKET, b'<a GCamera:MotionPhoto="0"/>'])
def test_ordinary_photos_are_not(packet):
    assert skip_reason(packet) is None


def test_pictures_are_taken_out():
    packet = b"""<rdf:Description xmpNote:HasExtendedXMP="ABC" dc:format="image/jpeg"
      GDepth:Data='AAAA'><xmp:Thumbnails><rdf:Alt><rdf:li xmpGImg:image="/9j/4AAQ"/></rdf:Alt>
      </xmp:Thumbnails><xmp:Rating>5</xmp:Rating></rdf:Description>"""
    new = without_pictures(packet)
    kept = b"<xmp:Rating>5</xmp:Rating>"
    assert new == b'<rdf:Description dc:format="image/jpeg">' + kept + b"</rdf:Description>"


def test_padding_can_go():
    new = without_padding(PACKET)
    assert len(new) < len(PACKET) - 1900
    assert new.endswith(b'<?xpacket end="w"?>')
