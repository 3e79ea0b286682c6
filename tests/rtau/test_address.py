import pytest

from rtau.address import without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://10.0.0.7/main", "rtsp://10.0.0.7"),
        ("rtsp://anna:secret@10.0.0.7:554/main", "rtsp://10.0.0.7:554"),
        ("rtsp://anna:sec@ret@host", "rtsp://host"),
        ("RTSP://anna:secret@[fe80::1]:554/", "RTSP://[fe80::1]:554"),
        ("rtsp://host:554/user=admin&password=secret&channel=1", "rtsp://host:554"),
        ("http://host/cam?token=secret", "http://host"),
        ("http://host?token=secret#secret", "http://host"),
        ("rtsp://anna:sec/ret@host", "rtsp://…"),  # host and port may be user and password, and the other way round
        ("rtsp://host:554/user=admin_password=sec@ret_channel=1", "rtsp://…"),
        ("udp://@239.0.0.1:1234", "udp://239.0.0.1:1234"),
        ("--source=rtsp://anna:sec ret@host/main", "--source=rtsp://host"),
        ("concat:http://host/a|http://anna:secret@host/b", "concat:http://…"),
        ("clips/anna@home?.mp4", "clips/anna@home?.mp4"),
        ("file:///clips/anna@home.mp4", "file:///clips/anna@home.mp4"),
        ("ipc:///run/feed", "ipc:///run/feed"),
    ],
)
def test_of_an_address_no_more_is_shown_than_where_it_is(text: str, shown: str) -> None:
    assert without_passwords(text) == shown
    assert "sec" not in shown
