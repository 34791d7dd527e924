"""Sizes, spans and shares as people write and read them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.units import (
    Share,
    Span,
    parse_bytes,
    parse_duration,
    parse_mark,
    parse_share,
    parse_span,
    show_bytes,
    show_duration,
    show_text,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0B", 0),
        ("512B", 512),
        ("1KiB", 1024),
        ("1.5 GiB", 3 * 2**29),
        (" 20GiB ", 20 * 2**30),
        ("2TB", 2 * 10**12),
        ("1kB", 1000),
    ],
)
def test_sizes_have_units(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text", ["", "20", "-1GiB", "20G", "20gib", "1e9B", "inf", "GiB", "1.GiB", "٣GiB", "9" * 16]
)
def test_a_size_without_a_clear_unit_is_none(text):
    with pytest.raises(ValueError, match="is not a size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("500ms", 0.5), ("10min", 600), ("6h", 21_600), ("1.5d", 129_600), ("1w", 604_800)],
)
def test_durations_have_units(text, seconds):
    assert parse_duration(text) == seconds


def test_a_month_is_never_shorter_than_a_month():
    assert parse_duration("1month") == parse_duration("31d")
    assert parse_duration("1y") == parse_duration("366d")


@pytest.mark.parametrize(
    ("text", "span", "shown"),
    [
        ("0s", Span(), "0s"),
        ("6h", Span(seconds=21_600), "6h"),
        ("90min", Span(seconds=5_400), "1h30min"),
        ("1.5h", Span(seconds=5_400), "1h30min"),
        ("500ms", Span(seconds=0.5), "0.5s"),
        ("2w", Span(days=14), "14d"),
        ("14month", Span(months=14), "1y2month"),
        ("1y2month3d3h", Span(14, 3, 10_800), "1y2month3d3h"),
        (" 1 month 14 d ", Span(1, 14), "1month14d"),
    ],
)
def test_spans_keep_months_and_days_apart(text, span, shown):
    assert parse_span(text) == span
    assert str(span) == shown
    assert parse_span(shown) == span


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a span"),
        ("6", "is not a span"),
        ("h", "is not a span"),
        ("-1h", "is not a span"),
        ("1fortnight", "is not a span"),
        ("6h,", "is not a span"),
        ("1m", "minutes or months; write min or month"),
        ("1y2m", "minutes or months; write min or month"),
        ("1.5d", "write whole ones"),
        ("1h1h", "gives h twice"),
        ("1003y", "longer than 1000 years"),
        ("999999999999999d", "longer than 1000 years"),
    ],
)
def test_a_span_that_means_nothing_gets_one_sentence(text, said):
    with pytest.raises(ValueError, match=said):
        parse_span(text)


@given(st.integers(0, 9_999), st.integers(0, 9_999), st.integers(0, 10**9))
def test_a_span_reads_back_as_it_is_shown(months, days, milliseconds):
    span = Span(months, days, milliseconds / 1000)

    back = parse_span(str(span))

    assert (back.months, back.days) == (months, days)
    assert math.isclose(back.seconds, span.seconds, abs_tol=1e-6)


@pytest.mark.parametrize("text", ["5m", "5 m", " 5m"])
def test_a_bare_m_is_refused_and_both_words_are_offered(text):
    with pytest.raises(ValueError, match="min or month"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "5", "5M", "-5s", "nan s", "1h30min", "five s"])
def test_what_is_no_duration_says_so(text):
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_marks_are_percentages_or_sizes():
    assert parse_mark("85%") == Share(85)
    assert parse_mark("85 % ") == Share(85)
    assert parse_mark("1TiB") == 2**40


@pytest.mark.parametrize("text", ["101%", "1000%"])
def test_no_share_is_more_than_the_whole(text):
    with pytest.raises(ValueError, match="at most 100%"):
        parse_share(text)


@pytest.mark.parametrize("text", ["-5%", "85", "%", "85%%"])
def test_what_is_no_share_says_so(text):
    with pytest.raises(ValueError, match="is not a percentage"):
        parse_share(text)


def test_a_share_of_a_whole_is_rounded_down():
    assert Share(85).of(1001) == 850
    assert str(Share(12.5)) == "12.5%"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1000, "1.0 KiB"),
        (1024, "1.0 KiB"),
        (4.2 * 2**30, "4.2 GiB"),
        (100 * 2**30, "100 GiB"),
        (999.96 * 2**20, "1000 MiB"),
        (5 * 2**60, "5120 PiB"),
    ],
)
def test_bytes_for_people(count, text):
    assert show_bytes(int(count)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0.4 s"),
        (12, "12 s"),
        (99, "99 s"),
        (360, "6 min"),
        (3600, "1 h"),
        (12_600, "3.5 h"),
        (86_400, "1 d"),
        (90, "90 s"),
        (1_036_800, "12 d"),
        (-5, "-5 s"),
        (math.inf, "for ever"),
    ],
)
def test_durations_for_people(seconds, text):
    assert show_duration(seconds) == text


@given(st.integers(0, 2**62))
def test_bytes_for_people_are_short(count):
    assert len(show_bytes(count)) <= 9


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain-é-日本", "plain-é-日本"),
        ("a\nb\x1b[31m", r"a\nb\x1b[31m"),
        (b"bad\xff".decode("utf-8", "surrogateescape"), r"bad\xff"),
        ("c1 \x9b31m", r"c1 \x9b31m"),
        ("rtl \u202e", r"rtl \u202e"),
        ("half \ud800", r"half \ud800"),
    ],
)
def test_a_name_never_steers_a_terminal(text, shown):
    assert show_text(text) == shown


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_can_be_shown_and_encoded(text):
    shown = show_text(text)

    assert shown.isprintable()
    assert shown.encode("utf-8").decode("utf-8") == shown
