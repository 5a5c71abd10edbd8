"""Ids are read from every form that `uuid.UUID` reads, and written as it writes them."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueapp.domain.ids import as_id, id_text

ID = UUID("0190fd5c-7c1e-7cc3-98c4-dc0c0c07398f")


@given(st.uuids())
def test_an_id_is_written_as_uuid_writes_it_and_read_again(id):
    assert id_text(id) == str(id)
    assert as_id(id_text(id)) == id


@pytest.mark.parametrize("form", ["{}", "{{{}}}", "urn:uuid:{}"])
def test_other_forms_are_read_too(form):
    assert as_id(form.format(ID)) == ID
    assert as_id(form.format(ID.hex.upper())) == ID


@given(st.text() | st.text("0123456789abcdef-{}", max_size=40) | st.text("\ud800", min_size=36, max_size=36))
def test_of_any_other_text_it_is_said_that_it_is_none(text):
    try:
        expected = UUID(text)
    except ValueError:
        expected = None
    assert as_id(text) == expected
