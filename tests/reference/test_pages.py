"""Pages of the reference: everything that can be typed or called is there, and nothing without a sentence."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import coldstart_cli
from coldstart_cli.cli import command_line
from coldstart_cli.cli.parsing import Parser
from coldstart_cli.cli.surroundings import EXIT_CODES
from coldstart_cli.config.catalog import SEARCH
from coldstart_cli.config.key import Key
from coldstart_cli.config.keys import explained, of_entry
from reference import __main__ as as_program
from reference import commands, configs, dataclass_fields, formats, measured, python_api, strategies
from reference.markdown import Unsaid, code
from reference.pages import groups, write
from tests.kit.places import STRATEGIES, skip_without_package

GROUPS = groups()


@pytest.fixture(scope="module")
def of_strategies() -> dict[str, str]:
    """Without asking each what it serves, for which it is built."""
    return strategies.pages(GROUPS, ask=lambda name: [("name", name)])


@pytest.fixture(scope="module")
def of_groups() -> dict[str, str]:
    return configs.group_pages(GROUPS)


def typed(key: str) -> str:
    return code(key).replace(".", ".<wbr>").removesuffix("</code>")


def test_every_strategy_has_a_page_with_its_options_and_its_method(of_strategies: dict[str, str]) -> None:
    assert {*of_strategies} == {"strategies/index.md", *(f"strategies/{name}.md" for name in STRATEGIES)}
    for entry in GROUPS["strategy"]:
        page = of_strategies[f"strategies/{entry.name}.md"]
        assert [k.name for k in explained(of_entry(entry, GROUPS)) if typed(k.name) not in page] == []
        assert f"]({entry.name}.md)" in of_strategies["strategies/index.md"]
    assert "Learns the initial weights of a network" in of_strategies["strategies/maml.md"]
    assert "https://arxiv.org/abs/1703.03400" in of_strategies["strategies/maml.md"]
    assert "strategy.inner_lr: tag(log, interval(0.01, 10))" in of_strategies["strategies/maml.md"]
    assert "../configs/experiment.md#paper-omniglot_maml" in of_strategies["strategies/maml.md"]


def test_every_key_of_every_group_is_on_its_page(of_groups: dict[str, str]) -> None:
    for group, entries in GROUPS.items():
        if group not in ("strategy", *configs.READ_BY_ONE):
            for entry in entries:
                page = of_groups[configs.file_of(group) if group else configs.keys_of(entry.name)]
                assert [k.name for k in explained(of_entry(entry, GROUPS)) if typed(k.name) not in page] == []
    assert "frozen_below: 0.9" in of_groups["configs/candidates.md"]
    assert {*GROUPS} - {"", SEARCH} == {*configs.GROUPS}


def test_every_command_flag_and_exit_code_is_on_the_page_of_commands() -> None:
    page = commands.page(GROUPS)

    def told(parser: Parser) -> None:
        for one in parser.commands.values():
            told(one)
            if not one.commands:
                own = page[page.index(f"## {one.name} {{") :].split("\n## ")[0]
                assert [flag for flag in one.flags if code(flag)[6:-7] not in own] == []
                assert not one.examples or one.examples[0] in own

    told(command_line.commands())
    assert [number for number in EXIT_CODES if f"| <code>{number}</code> |" not in page] == []
    assert "COLDSTART&#95;CACHE" in page


def test_every_public_name_is_on_the_page_of_python() -> None:
    page = python_api.page()
    assert [n for n in coldstart_cli.__all__ if f"### {n} {{ #{n.lower()} }}" not in page] == []
    assert "#### Bundle.predict {" in page and "#### RunResult.summary" in page
    compare = page[page.index("### compare {") :].split("###")[1]
    assert "    *paths: RunResult | Place,\n    confidence: float = 0.95,\n" in compare


def test_a_long_signature_keeps_what_is_keyword_only() -> None:
    page = python_api.page()
    assert "Bundle.evaluate(\n    path: str | os.PathLike[str],\n    *,\n    label_column:" in page


def test_files_are_told_with_all_that_they_hold() -> None:
    page = formats.page()
    assert "None" not in page and "null where each has its own" in page
    for told in (
        "records.jsonl",
        "task&#95;hash",
        "#### Interval {",
        "#### CrossValidation {",
        "#### BankRow {",
    ):
        assert told in page
    assert dataclass_fields.with_parts(formats.card.Card)[:2] == [formats.card.Card, formats.card.DataFacts]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("maml", {"tasks": "classes and regression", "classes of a new task": "as many as in training",
                  "without labels (k = 0)": "no", "source": "learned from"}),
        ("protonet", {"tasks": "classes alone", "classes of a new task": "any number"}),
        ("scratch", {"source": "not learned from"}),
        ("coral", {"unlabelled examples": "needed",
                   "without labels (k = 0)": "yes, where the new classes are classes of the source"}),
        ("leep", {"source": "learned from, group by group (script, alphabet, domain)"}),
        ("tip_adapter", {"names of classes": "read",
                         "without labels (k = 0)": "yes, where the model reads the names of the classes"}),
    ],
)  # fmt: skip
def test_what_a_strategy_serves_is_what_the_readme_says(name: str, expected: dict[str, str]) -> None:
    skip_without_package(name)
    found = dict(strategies.serves(name))
    assert {question: found[question] for question in expected} == expected


def test_places_are_those_that_the_report_holds() -> None:
    """Read off docs/reports/sensors.html as a person sees it."""
    (report,) = [one for one in measured.reports() if one.file == "sensors.html"]
    assert report.places["task_encoder"][0] == measured.Place(1, 0.522111, "52.2 ± 1.2", 1, 2)
    assert report.places["protonet"][0] == measured.Place(1, 0.418119, "41.8 ± 0.7", 2, 2)
    assert report.best[1] == ["task_encoder"]
    assert "52.2 ± 1.2<br>1 of 2" in measured.of_strategy("task_encoder")
    assert measured.of_strategy("coop") == ""
    assert "[sensors, 5-way](../reports/sensors.html)" in measured.page()


def test_a_key_or_a_group_without_a_sentence_is_refused() -> None:
    with pytest.raises(Unsaid, match=r"^strategy.lr: has no sentence"):
        configs.key_table([Key("strategy.lr", "number")])
    with pytest.raises(Unsaid, match=r"^strategy.lr \(its type\): has no sentence"):
        configs.key_table([Key("strategy.lr", "", line="a rate")])
    with pytest.raises(Unsaid, match=r"^weather: this group has no sentence"):
        configs.group_pages({**GROUPS, "weather": []})


def test_a_command_a_flag_or_an_exit_code_without_a_sentence_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def with_command(summary: str, help: str) -> Any:
        program = Parser(prog="coldstart")
        command = program.command("new", lambda arguments: 0, summary)
        command.flag("--loud", action="store_true", help=help)
        return lambda: program

    monkeypatch.setattr(commands, "commands", with_command("does it", ""))
    with pytest.raises(Unsaid, match=r"^new --loud: has no sentence"):
        commands.page(GROUPS)
    monkeypatch.setattr(commands, "commands", with_command("does it", "louder"))
    assert "louder" in commands.page(GROUPS)
    monkeypatch.setattr(commands, "EXIT_CODES", {**EXIT_CODES, 4: ""})
    with pytest.raises(Unsaid, match=r"^exit code 4: has no sentence"):
        commands.page(GROUPS)


def test_a_strategy_or_a_function_without_a_sentence_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    of_maml = next(entry for entry in GROUPS["strategy"] if entry.name == "maml")
    alone = {**GROUPS, "strategy": [of_maml]}
    monkeypatch.setattr(inspect, "getdoc", lambda thing: None)
    with pytest.raises(Unsaid, match=r"^the class of maml: has no sentence"):
        strategies.pages(alone, ask=lambda name: [])
    monkeypatch.undo()

    def train(*overrides: str, loud: bool) -> None:
        """Trains.

        Args:
            overrides: words.
        """

    monkeypatch.setattr(coldstart_cli, "train", train, raising=False)
    with pytest.raises(Unsaid, match=r"^coldstart_cli.train: its argument loud has no line under Args"):
        python_api.page()
    train.__doc__ = None
    with pytest.raises(Unsaid, match=r"train: has no sentence"):
        python_api.page()


def test_what_cannot_be_told_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusing() -> dict[str, str]:
        raise Unsaid("strategy.lr: has no sentence; write it where it is defined")

    monkeypatch.setattr(as_program, "pages", refusing)
    assert as_program.main([str(tmp_path)]) == 1
    assert (
        capsys.readouterr().err == "reference: strategy.lr: has no sentence; write it where it is defined\n"
    )
    monkeypatch.setattr(as_program, "pages", lambda: {"a.md": "A\n"})
    assert as_program.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path.name}: 1 pages, 1 of them written anew\n"


def test_pages_are_written_where_they_differ_and_removed_where_none_makes_them(tmp_path: Path) -> None:
    assert write({"a.md": "A\n", "b/c.md": "C\n"}, tmp_path) == 2
    assert write({"a.md": "A\n", "b/c.md": "D\n"}, tmp_path) == 1
    assert write({"a.md": "A\n"}, tmp_path) == 0
    assert [path.name for path in tmp_path.rglob("*.md")] == ["a.md"]
