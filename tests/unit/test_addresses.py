"""No callback goes to an address that is not of the public internet."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueapp.domain.addresses import address_of, is_special, read_networks

SPECIAL = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:8.8.8.8",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:10::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["8.8.8.8", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1"]


@pytest.mark.parametrize("text", SPECIAL)
def test_a_special_address_is_one(text: str):
    address = address_of(text)
    assert address is not None
    assert is_special(address)


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_none(text: str):
    address = address_of(text)
    assert address is not None
    assert not is_special(address)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_what_python_takes_for_special_is_so_here_too(address):
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        assert is_special(address)


def test_the_zone_of_an_address_is_not_part_of_it_and_a_name_is_no_address():
    assert address_of("fe80::1%eth0") == ip_address("fe80::1")
    assert address_of("example.com") is None
    assert address_of("127.1") is None


class TestAllowedNetworks:
    def test_are_open_and_nothing_beside_them(self):
        allowed = read_networks("10.0.0.0/8, fd00::/8")
        for text, special in (("10.1.2.3", False), ("fd00::1", False), ("127.0.0.1", True), ("fe80::1", True)):
            address = address_of(text)
            assert address is not None
            assert is_special(address, allowed) is special

    def test_allow_nothing_when_there_are_none(self):
        assert read_networks("") == ()

    @pytest.mark.parametrize("text", ["10.0.0.1/8", "localhost", "10/8"])
    def test_that_are_none_are_refused(self, text: str):
        with pytest.raises(ValueError, match=text):
            read_networks(text)
