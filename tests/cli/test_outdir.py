import json

import pytest

from ckptd.cli.outdir import output_directory


@pytest.mark.parametrize(
    ("command", "directory"),
    [
        pytest.param("python train.py --output_dir out", "out", id="hugging-face"),
        pytest.param("python train.py --output-dir=out/a", "out/a", id="dashes-and-equals"),
        pytest.param("accelerate launch t.py --save_dir /x", "/x", id="save-dir"),
        pytest.param("python t.py training.output_dir=o hydra.run=x", "o", id="hydra"),
        pytest.param("python t.py --logging_dir l --output_dir o", "o", id="not-the-logs"),
        pytest.param("python t.py --output_dir a --output_dir b", "b", id="the-last-wins"),
        pytest.param("python t.py --save_dir s --output_dir o", "o", id="most-telling-key"),
        pytest.param("python t.py --output_dir --fp16", None, id="no-value"),
        pytest.param("python t.py", None, id="says-nothing"),
        pytest.param("python t.py --lr 1e-4 out", None, id="a-bare-word-is-no-answer"),
    ],
)
def test_a_command_names_its_output_directory(command, directory):
    assert output_directory(command.split()) == directory


def test_the_words_of_a_shell_are_searched():
    assert output_directory(["bash", "-c", "cd x && python t.py --output_dir 'my out'"]) == "my out"


def test_an_open_quotation_mark_is_the_shells_business():
    assert output_directory(["bash", "-c", "echo 'unfinished"]) is None


def test_a_yaml_file_names_it(tmp_path):
    (tmp_path / "lora.yaml").write_text("stage: sft\noutput_dir: saves/qwen\n")
    command = ["llamafactory-cli", "train", f"{tmp_path}/lora.yaml"]
    assert output_directory(command) == "saves/qwen"


def test_a_nested_json_file_names_it(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"train": {"output_dir": "deep"}}))
    assert output_directory(["python", "t.py", f"--config={tmp_path}/c.json"]) == "deep"


def test_the_command_line_wins_over_the_file(tmp_path):
    (tmp_path / "c.yaml").write_text("output_dir: file\n")
    command = ["axolotl", "train", f"{tmp_path}/c.yaml", "--output-dir", "words"]
    assert output_directory(command) == "words"


@pytest.mark.parametrize(
    "text", ["{", "[" * 300_000, "a: &a [*a]", "\x00", "- just\n- a list", "output_dir: 3", ""]
)
def test_a_file_that_says_nothing_useful_names_nothing(tmp_path, text):
    for name in ("c.yaml", "c.json"):
        (tmp_path / name).write_text(text)
        assert output_directory(["python", "t.py", str(tmp_path / name)]) is None
