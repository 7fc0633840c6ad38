from attachtrans.image.resources import without_thumbnails, wrapped_iptc


def _resource(number, body):
    return b"8BIM" + number.to_bytes(2, "big") + b"\0\0" + len(body).to_bytes(4, "big") + body


def test_thumbnails_go_and_iptc_stays():
    iptc = wrapped_iptc(b"\x1c\x02\x50\0\x03Ann")
    block = _resource(0x040C, bytes(28) + b"\xff\xd8" * 8) + iptc + _resource(0x03ED, bytes(16))
    assert without_thumbnails(block) == iptc + _resource(0x03ED, bytes(16))


def test_what_cannot_be_parsed_is_left_out():
    good = wrapped_iptc(b"\x1c\x02\x50\0\x02An")
    assert without_thumbnails(good + b"8BIM\x04\x0c\0\0\0\0\xff\xff" + b"\xff\xd8") == good
    assert without_thumbnails(b"junk") == b""
