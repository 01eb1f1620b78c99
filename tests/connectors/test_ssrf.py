import socket

import pytest

from connectors.ssrf import AddressRefused, guard, is_public

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.127.255.255", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.9",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.0.0.1",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::1", "2002:808:808::1", "2001:0:1::1",
    "not an address", "",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


def info(address: str) -> tuple[object, object, int, str, tuple[object, ...]]:
    return socket.getaddrinfo(address, 80, type=socket.SOCK_STREAM)[0]


@pytest.mark.parametrize("spelling", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "::1", "::ffff:127.0.0.1"])
def test_no_spelling_of_loopback_gets_a_socket(spelling: str) -> None:
    with pytest.raises(AddressRefused):
        guard(False)(info(spelling))


def test_a_private_address_gets_a_socket_where_that_is_allowed() -> None:
    with guard(True)(info("127.0.0.1")) as made:
        assert made.family == socket.AF_INET
