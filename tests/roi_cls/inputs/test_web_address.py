"""Which addresses are of the internet, and which of this machine or its network."""

import socket

import pytest

from roi_cls.inputs.web import Address, WebError, find_addresses, is_public


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("127.8.8.8", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),  # where clouds keep their credentials
        ("100.64.0.1", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("fc00::1", False),
        ("fd12:3456::1", False),
        ("ff02::1", False),
        ("2001:db8::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::7f00:1", False),  # 127.0.0.1 by way of NAT64
        ("64:ff9b::5db8:d70e", True),
        ("2002:7f00:1::", False),  # 127.0.0.1 by way of 6to4
        ("2002:a9fe:a9fe::1", False),
        ("2001:0:4136:e378:8000:63bf:80ff:fffe", False),  # 127.0.0.1 by way of Teredo
    ],
)
def test_public_addresses_are_told_from_others(text: str, public: bool) -> None:
    assert is_public(text) is public


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0", "localhost"])
def test_this_machine_is_known_by_any_name(host: str) -> None:
    with pytest.raises(WebError) as caught:
        find_addresses(host, 80, 5.0, allow_private=False)
    assert str(caught.value).startswith(f"its host {host!r} has the address ")
    assert str(caught.value).endswith(", which is not public")
    assert find_addresses(host, 80, 5.0, allow_private=True)


def test_of_several_addresses_the_public_ones_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 80)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    public = find_addresses("both.test", 80, 5.0, allow_private=False)
    assert public == (Address(socket.AF_INET, ("93.184.215.14", 80)),)
    assert len(find_addresses("both.test", 80, 5.0, allow_private=True)) == 2
