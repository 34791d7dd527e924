"""The JSON schema: what is loaded fits it, and a slip of the hand does not."""

import tomllib
from pathlib import Path

import pytest
from documents import sound_documents, uncommented
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from ckptd.config.keys import TABLES
from ckptd.config.schema import schema

VALIDATOR = Draft202012Validator(schema())


def fits(text):
    return VALIDATOR.is_valid(tomllib.loads(text))


def test_it_is_a_schema_of_its_draft():
    assert schema()["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    Draft202012Validator.check_schema(schema())


@settings(max_examples=200, deadline=None)
@given(sound_documents())
def test_a_sound_document_fits(document):
    assert not list(VALIDATOR.iter_errors(document))


def test_the_example_fits_as_it_stands_and_with_all_of_it_in_force():
    assert fits((Path(__file__).parents[2] / "config.example.toml").read_text())
    assert fits(uncommented(examples=True))


def test_every_key_is_explained_and_its_default_fits():
    def at(place):
        found = schema()
        for step in place:
            found = found["properties"][step]
            found = found.get("items", found) if "properties" not in found else found
        return found

    for table in TABLES:
        properties = at(table.place)["properties"]
        for key in table.keys:
            assert properties[key.name]["description"]
            if key.default is not None:
                one = Draft202012Validator(properties[key.name])
                assert one.is_valid(key.default)
                assert properties[key.name]["default"] == key.default


@pytest.mark.parametrize(
    "text",
    [
        "mode = 'enfroce'",
        "keep_last = 3",
        "policy.keep_lats = 3",
        "policy.keep_last = -1",
        "policy.keep_last = '3'",
        "policy.keep_last = true",
        "policy.keep_best = { mode = 'min' }",
        "policy.keep_best = { metrc = 'x' }",
        "policy.trash_for = 3600",
        "policy.trash_for = '5m'",
        "policy.pin = 'x'",
        "policy.pin = ['a/b']",
        "policy.max_size = 'auto'",
        "policy.keep_within = '6'",
        "policy.keep_within = '1y5m'",
        "policy.keep_within = '1.5d'",
        "policy.keep_within = 6",
        "policy.keep_daily = -1",
        "policy.finished.keep_lst = 1",
        "policy = 3",
        "[watch]\npath = '/x'",
        "[[watch]]\nadopt = 'new'",
        "[[watch]]\npath = 'x'",
        "[[watch]]\npath = '/x'\ndrop_ins = 'yes'",
        "disk.high = 85",
        "disk.'/d'.hihg = '8%'",
        "disk.'d'.high = '8%'",
        "disk.reserve = 'unlimited'",
        "[archive]",
    ],
)
def test_a_slip_of_the_hand_does_not_fit(text):
    assert not fits(text)


@pytest.mark.parametrize("span", ["6h", "1.5h", "90min", "1y2month3d3h", " 1 month 14 d ", "0s"])
def test_a_span_that_is_read_fits(span):
    assert fits(f"policy.keep_within = '{span}'")
