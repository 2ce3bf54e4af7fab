"""One YAML, overrides in their order of precedence, and one sentence for everything that is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.benchmark_table import BENCHMARKS, comparable_benchmarks
from evolcoder.errors import SettingsError
from evolcoder.settings.evolve import OperatorSettings
from evolcoder.settings.files import load_preset, load_settings, override_settings, parse_settings, preset_names, preset_text
from evolcoder.settings.run import RunSettings


def refused(text: str | bytes, tmp_path: Path, *overrides: str) -> str:
    file = tmp_path / "run.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError) as caught:
        load_settings(file, overrides)
    message = caught.value.message
    assert "\n" not in message
    assert message.endswith((".", ")"))
    return message


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_valid_and_is_read_from_its_own_text(preset: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(preset_text(preset, "mine"), "utf-8")
    assert load_settings(tmp_path / "mine.yaml") == load_preset(preset, "mine")
    assert load_preset(preset, "mine").name == "mine"


def test_the_paper_preset_has_the_papers_numbers() -> None:
    paper = load_preset("wizardcoder-15b", "p")
    train = paper.train
    assert (train.max_steps, train.global_batch_size, train.sequence_length) == (200, 512, 2048)
    assert (train.learning_rate, train.warmup_steps, train.schedule) == (2e-5, 30, "cosine")
    assert (train.precision, train.zero_stage, paper.evolve.rounds) == ("fp16", 3, 3)
    epochs = load_preset("wizardcoder-3-epochs", "p").train
    assert (epochs.epochs, epochs.max_steps) == (3, None)


def test_the_command_line_wins_over_the_environment_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("name: x\nevolve: {rounds: 2, seed: 2, workers: 2}\n")
    monkeypatch.setenv("EVOLCODER__EVOLVE__SEED", "3")
    monkeypatch.setenv("EVOLCODER__EVOLVE__WORKERS", "3")
    evolve = load_settings(file, ["evolve.workers=4"]).evolve
    assert (evolve.rounds, evolve.seed, evolve.workers) == (2, 3, 4)
    assert load_settings(file, ["evolve.workers=null"]).evolve.workers is None
    assert load_settings(file, ["evolve.operators=[complexity]"]).evolve.operators == ("complexity",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the key 'name' is missing"),
        ("name: [", "is not readable as YAML"),
        ("name: x\n\tevolve: {}", "is not readable as YAML"),
        (b"name: \xff\xfe", "is not readable as YAML"),
        ("- name", "must hold `key: value` pairs"),
        ("5", "is not readable as YAML"),
        ("name: x\nname: y", "is not readable as YAML"),
        ("name: ${nowhere}", "does not resolve"),
        ("name: ../up", "name="),
        ("name: x\nevolv: {}", "unknown key 'evolv' (did you mean evolve?)"),
        ("name: x\nevolve: {ruonds: 3}", "unknown key 'evolve.ruonds' (did you mean evolve.rounds?)"),
        ("name: x\ntrain: {lora: {rnak: 3}}", "unknown key 'train.lora.rnak' (did you mean train.lora.rank?)"),
        ("name: x\nevolve: 3", "evolve=3"),
        ("name: x\nevolve: {rounds: many}", 'evolve.rounds="many"'),
        ("name: x\nevolve: {rounds: 0}", "evolve.rounds=0"),
        ("name: x\nevolve: {operators: [constraint]}", "(did you mean constraints?)"),
        ("name: x\nevolve: {operators: []}", "name at least one operator"),
        ("name: x\nteacher: {temperature: .nan}", "teacher.temperature=NaN"),
        ("name: x\nteacher: {budget_usd: 5}", "teacher.budget_usd needs"),
        ("name: x\nteacher: {model: gpt-4}", "set teacher.base_url"),
        ("name: x\ntrain: {epochs: 1}", "exactly one of train.max_steps and train.epochs"),
        (
            "name: x\ntrain: {global_batch_size: 6, workers: 4}",
            "train.global_batch_size=6 must be a multiple of train.workers=4",
        ),
        ("name: x\ntrain: {offload: all}", "needs train.zero_stage=3"),
        ("name: x\ntrain: {data_rounds: 9}", "train.data_rounds=9 asks for more rounds than evolve.rounds=3"),
        ("name: x\nstudy: {base_rounds: [0, 4]}", "study.base_rounds holds 4, which is more than evolve.rounds=3"),
        ("name: x\nstudy: {base_rounds: [-1]}", "study.base_rounds.0"),
        ("name: x\nstudy: {benchmarks: []}", "study.benchmarks=[]: name at least one benchmark, or null"),
        ("name: x\nstudy: {benchmarks: [humanevel]}", "there is no benchmark 'humanevel'; benchmarks: humaneval, "),
        ("name: x\nstudy: {development: mbpp_dev}", "there is no benchmark 'mbpp_dev'; benchmarks: humaneval, "),
        ("name: x\nstudy: {matched: rows}", "set study.alone to true"),
        ("name: x\nstudy: {leave_out: [constraint]}", "did you mean constraints?"),
        ("name: x\nstudy: {seeds: [1]}\nevaluate: {models: [base]}", "add tuned to evaluate.models"),
        ("name: x\nevaluate: {samples: 5}", "evaluate.temperature=0"),
        ("name: x\nserve: {port: 0}", "serve.port=0"),
        ("name: x\nseeds: {path: ''}", "seeds.path"),
        ("name: x\nstorage: ''", "storage"),
        ("name: x\n1: 2", "1"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, text: str | bytes, said: str) -> None:
    assert said in refused(text, tmp_path)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("evolve.rounds", "is not an override"),
        ("teacher.thinking_marks=x", 'teacher.thinking_marks="x": input should be a list'),
        ("=3", "is not an override"),
        ("evolve.ruonds=3", "did you mean evolve.rounds?"),
        ("evolve.rounds=[", "is not YAML"),
        ("evolve.rounds.deeper=3", "evolve.rounds"),
        ("evolve.rounds=${nowhere}", "does not resolve"),
        ("storage=", "storage"),
        ("seeds.path=", "seeds.path"),
    ],
)
def test_a_wrong_override_is_one_sentence(tmp_path: Path, override: str, said: str) -> None:
    assert said in refused("name: x", tmp_path, override)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    message = refused("evolve: {ruonds: 1}\ntrain: {max_steps: -1}", tmp_path)
    assert all(part in message for part in ("'name' is missing", "evolve.ruonds", "train.max_steps=-1"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="evolcoder init"):
        load_settings(tmp_path / "no.yaml")
    with pytest.raises(SettingsError, match="is a folder"):
        load_settings(tmp_path)
    with pytest.raises(SettingsError, match=r"no preset 'labtop' \(did you mean laptop\?\)"):
        preset_text("labtop", "x")
    with pytest.raises(SettingsError, match="the name 'a/b'"):
        preset_text("laptop", "a/b")


def test_where_and_how_fast_are_no_part_of_what_is_made() -> None:
    base = RunSettings(name="x")
    moved = override_settings(
        {"name": "x"},
        ["teacher.max_concurrency=1", "teacher.timeout_seconds=1", "evolve.workers=9", "train.workers=2", "train.zero_stage=3"],
        source="test",
    )
    other = override_settings({"name": "x"}, ["teacher.temperature=0.5", "evolve.seed=1", "train.seed=1"], source="test")
    for section in ("teacher", "evolve", "train"):
        assert getattr(base, section).identity() == getattr(moved, section).identity()
        assert getattr(base, section).identity() != getattr(other, section).identity()


@given(
    st.fixed_dictionaries(
        {"name": st.just("x")},
        optional={
            "seeds": st.fixed_dictionaries({}, optional={"limit": st.none() | st.integers(1, 10**9), "seed": st.integers()}),
            "evolve": st.fixed_dictionaries({}, optional={"rounds": st.integers(1, 99), "seed": st.integers()}),
            "evaluate": st.fixed_dictionaries({}, optional={"temperature": st.floats(0, 2), "top_p": st.floats(0.01, 1)}),
        },
    )
)
def test_settings_written_down_are_the_settings_read(plain: dict[str, object]) -> None:
    made = override_settings(plain, [], source="test")
    assert override_settings(yaml.safe_load(yaml.safe_dump(made.model_dump(mode="json"))), [], source="test") == made


def operators_in(*operators: object, rounds: int = 2) -> RunSettings:
    return parse_settings({"name": "r", "evolve": {"operators": list(operators), "rounds": rounds}}, "x.yaml")


def test_operators_of_ones_own_are_read_beside_the_default_ones() -> None:
    own = {"name": "port", "template": "Port: {task}", "weight": 2, "rounds": [1, 2], "code": True}
    first, second = operators_in("complexity", own).evolve.operators
    assert first == "complexity"
    assert isinstance(second, OperatorSettings)
    assert (second.weight, second.rounds, second.code) == (2.0, (1, 2), True)
    again = parse_settings(operators_in("complexity", own).model_dump(mode="json"), "run.yaml")
    assert again == operators_in("complexity", own)


@pytest.mark.parametrize(
    ("operators", "sentence"),
    [
        ([], "name at least one operator"),
        (["constraint"], r"there is no operator 'constraint' \(did you mean constraints\?\)"),
        ([{"name": "mine"}], r"operator 'mine': it is none of the default operators .* needs a template with {task} in it"),
        ([{"name": "mine", "template": "Do it."}], "operator 'mine': its template must hold {task} once"),
        ([{"name": "mine", "template": "{task} {task}"}], "must hold {task} once"),
        ([{"name": "mine", "template": "{task}", "weigth": 2}], r"unknown key 'weigth' \(did you mean weight\?\)"),
        ([{"name": "mine", "template": "{task}", "weight": 0}], "operator 'mine': weight: Input should be greater than 0"),
        ([{"template": "{task}"}], "operator 'without a name': name: Field required"),
        ([{"name": "seed", "template": "{task}"}], "the name 'seed' is taken"),
        (["complexity", {"name": "complexity"}], "'complexity' is there twice"),
        ([7], "an operator is a name or a mapping"),
        ([{"name": "complexity", "rounds": [1]}], "none that applies in round 2 to tasks with code"),
        ([{"name": "complexity", "code": True}], "none that applies in round 1 to tasks without code"),
    ],
)
def test_a_bad_operator_is_one_sentence(operators: list[object], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence) as caught:
        operators_in(*operators)
    assert "\n" not in caught.value.message


def teacher_in(**teacher: object) -> RunSettings:
    return parse_settings({"name": "r", "teacher": teacher}, "x.yaml")


def test_several_endpoints_are_one_teacher_and_change_nothing_of_what_it_says() -> None:
    entries = [{"base_url": "http://a/v1"}, {"base_url": "http://b/v1", "api_key_env": "B_KEY", "requests_per_minute": 5}]
    settings = teacher_in(model="m", endpoints=entries)
    assert [one.base_url for one in settings.teacher.endpoints] == ["http://a/v1", "http://b/v1"]
    assert settings.teacher.identity() == teacher_in(model="m", base_url="http://c/v1", batch=True).teacher.identity()
    again = parse_settings(settings.model_dump(mode="json"), "run.yaml")
    assert again == settings


@pytest.mark.parametrize(
    ("teacher", "sentence"),
    [
        ({"model": "m", "endpoints": [{"base_url": "http://a/v1"}, {}]}, r"teacher.endpoints\[1\] names no endpoint"),
        ({"endpoints": [{"base_ulr": "http://a/v1"}]}, r"base_ulr.*did you mean .*base_url"),
        ({"batch": True}, "teacher.batch needs one endpoint"),
        ({"model": "m", "batch": True, "endpoints": [{"base_url": "http://a/v1"}, {"base_url": "http://b/v1"}]}, "needs one"),
    ],
)
def test_a_bad_teacher_is_one_sentence(teacher: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence) as caught:
        teacher_in(**teacher)
    assert "\n" not in caught.value.message


def test_every_benchmark_that_rows_can_be_compared_with_can_be_named() -> None:
    names = comparable_benchmarks()
    settings = parse_settings({"name": "r", "evolve": {"decontaminate": names}}, "x.yaml")
    assert list(settings.evolve.decontaminate) == names
    assert parse_settings({"name": "r"}, "x.yaml").evolve.decontaminate == ("humaneval",)
    with pytest.raises(
        SettingsError, match=r'evolve.decontaminate.0="mbbp": there is no benchmark .mbbp.; .*mbpp, mbpp\+, ds1000'
    ):
        parse_settings({"name": "r", "evolve": {"decontaminate": ["mbbp"]}}, "x.yaml")
    with pytest.raises(SettingsError, match="no benchmark 'mbpp-dev'; benchmarks: humaneval, humaneval"):
        parse_settings({"name": "r", "evolve": {"decontaminate": ["mbpp-dev"]}}, "x.yaml")


def test_every_benchmark_can_be_evaluated_and_an_unknown_one_is_said_beside_them() -> None:
    settings = parse_settings({"name": "r", "evaluate": {"benchmarks": list(BENCHMARKS)}}, "x.yaml")
    assert settings.evaluate.benchmarks == tuple(BENCHMARKS)
    with pytest.raises(SettingsError, match=rf"no benchmark 'apps'; benchmarks: {', '.join(map(re.escape, BENCHMARKS))}"):
        parse_settings({"name": "r", "evaluate": {"benchmarks": ["apps"]}}, "x.yaml")


def test_what_came_later_is_no_part_of_the_identity_unless_it_is_set() -> None:
    plain = teacher_in().teacher.identity()
    assert not {"extra_body", "thinking_marks", "stream", "max_tokens_field"} & set(plain)
    assert teacher_in(stream=True, max_tokens_field="max_completion_tokens").teacher.identity() == plain
    assert teacher_in(extra_body={"top_k": 4}).teacher.identity()["extra_body"] == {"top_k": 4}
    assert teacher_in(thinking_marks=None).teacher.identity()["thinking_marks"] is None
    assert teacher_in(thinking_marks=[["<a>", "</a>"]]).teacher.identity()["thinking_marks"] == [["<a>", "</a>"]]
    assert teacher_in(temperature=None, top_p=None).teacher.identity() != plain


@pytest.mark.parametrize("name", ["model", "messages", "max_tokens", "max_completion_tokens", "temperature", "stream", "n"])
def test_a_field_that_has_a_setting_is_refused_in_the_extra_body(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"teacher.extra_body.*'{name}'"):
        teacher_in(extra_body={name: 1})


def test_a_text_that_no_file_can_hold_is_one_sentence() -> None:
    with pytest.raises(SettingsError, match="not UTF-8"):
        override_settings({"name": "x"}, ["teacher.model=a\udcff"], source="test")


def test_a_batch_has_no_streams() -> None:
    with pytest.raises(SettingsError, match="no streams"):
        teacher_in(base_url="http://a/v1", model="m", batch=True, stream=True)
