"""Whatever a file holds: settings, or sentences that name the file. Never anything else."""

import tomllib

from documents import any_texts, sound_documents, text_of, uncommented
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ckptd.config import Settings, drop_in, load, policy_with
from ckptd.config.writing import toml_key, toml_value
from ckptd.errors import ConfigError

HERE = "/data/.ckptd.toml"
ALL = uncommented(examples=True)
many = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def mutations(draw):
    """The example, all of it in force, with some of its bytes gone, doubled or replaced."""
    raw = ALL.encode()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        end = min(len(raw), at + draw(st.integers(0, 30)))
        piece = draw(st.just(b"") | st.just(raw[at:end] * 2) | st.binary(max_size=4))
        raw = raw[:at] + piece + raw[end:]
    return raw


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
RAW = st.binary(max_size=60) | mutations() | any_texts().map(str.encode)


@many
@example(b"")
@example(ALL.encode())
@given(RAW)
def test_any_file_is_settings_or_sentences_that_name_it(tmp_path, raw):
    file = tmp_path / "ckptd.toml"
    file.write_bytes(raw)

    check(file, lambda: load(str(file), {}, []))


@many
@given(RAW, RAW)
def test_two_files_are_too(tmp_path, one, other):
    (tmp_path / "conf.d").mkdir(exist_ok=True)
    (tmp_path / "ckptd.toml").write_bytes(one)
    (tmp_path / "conf.d" / "a.toml").write_bytes(other)

    check(tmp_path, lambda: load(str(tmp_path / "ckptd.toml"), {"policy.keep_last": "2"}, []))


def check(where, action):
    found, problems = outcome(action)

    assert isinstance(found, Settings) or problems
    for problem in map(str, problems):
        assert problem.startswith((str(where), "--"))
        assert problem.isprintable()


def outcome(action):
    try:
        return action(), ()
    except ConfigError as error:
        return None, error.problems


@many
@given(RAW)
def test_any_drop_in_is_a_policy_or_sentences_that_name_it(tmp_path, raw):
    (tmp_path / "ckptd.toml").write_text("")
    service = load(str(tmp_path / "ckptd.toml"), {}, [])
    source = drop_in(HERE, raw)

    found, contradictions = outcome(lambda: policy_with(service, [source]))

    assert found is None or found[1] == (*service.source, HERE)
    assert found or contradictions
    for problem in map(str, (*source.problems, *contradictions)):
        assert problem.startswith(HERE)
        assert problem.isprintable()


@many
@given(sound_documents())
def test_a_sound_document_is_loaded(tmp_path, document):
    file = tmp_path / "ckptd.toml"
    file.write_text(text_of(document))

    assert load(str(file), {}, []).mode == document.get("mode", "enforce")


@given(st.recursive(TEXT | st.integers() | st.booleans(), st.lists, max_leaves=5), TEXT)
def test_what_is_written_is_what_toml_reads(value, key):
    written = f"{toml_key((key,))} = {toml_value(value)}"

    assert tomllib.loads(written) == {key: value}
    assert written.isprintable()
