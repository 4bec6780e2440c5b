"""YAML -> plain data with places: what is foreign is bounded, and each mistake is told where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from batcher.errors import ManifestError
from batcher.job import yaml_document
from batcher.job.yaml_document import Position, read_text, read_value, read_yaml


def test_every_key_and_every_item_has_its_place() -> None:
    document = read_yaml("a: 1\nb:\n  - x\n  - c: 2\n", "f")
    assert document.data == {"a": 1, "b": ["x", {"c": 2}]}
    assert document.positions == {
        ("a",): Position((1, 1), (1, 4)),
        ("b",): Position((2, 1), (3, 3)),
        ("b", 0): Position((3, 5), (3, 5)),
        ("b", 1): Position((4, 5), (4, 5)),
        ("b", 1, "c"): Position((4, 5), (4, 8)),
    }


def test_a_list_at_the_top_has_places_too() -> None:
    problem = read_yaml("- fault: cut\n- fault: cutt\n", "f.yaml").problem((1, "fault"), "there is none")
    assert str(problem) == "f.yaml:2:10: 1.fault: there is none\n    - fault: cutt\n             ^"


def test_what_is_not_there_is_told_at_what_holds_it() -> None:
    document = read_yaml("a:\n  b: {}\n", "f")
    assert str(document.problem(("a", "b", "c", "d"), "is missing")).startswith("f:2:3: a.b.c.d: is missing")
    assert str(document.problem(("z",), "is missing")) == "f: z: is missing"


def test_what_is_wrong_with_single_values_is_told_and_the_rest_can_be_used() -> None:
    document = read_yaml("a: 1\na: 2\nb: !!int x\n5: c\nd: !mine e\nf: 7\ng: !!set {h}\n", "f")
    assert document.data == {"a": 1, "b": None, "d": None, "f": 7, "g": None}
    assert [(problem.key, problem.line) for problem in document.problems] == [
        ("a", 2),
        ("b", 3),
        ("", 4),
        ("d", 5),
        ("g", 7),
    ]
    assert "is given twice, first in line 1; keep one" in document.problems[0].message
    with pytest.raises(ManifestError):
        read_value("{a: 1, a: 2}")


def test_deep_values_beyond_a_number_are_told_at_what_holds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_document, "MAX_DEEP_POSITIONS", 2)
    document = read_yaml("a: {b: {c: [{d: 1}, {d: 2}, {d: 3}]}}\ne: 1\n", "f")
    deep = ("a", "b", "c", 1, "d")
    assert document.problem(deep, "is odd").column == document.positions[deep].value[1]
    last = ("a", "b", "c", 2)
    assert document.problem((*last, "d"), "is odd").column == document.positions[last].value[1]
    assert document.problem(("e",), "is odd").line == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: " + "[" * 51 + "]" * 51, "is not YAML: nested too deeply"),
        ("x" * 4_000_001, "is larger than 4 MB, sorry"),
        ("a: &a [1]\nb: &b [" + "*a, " * 100 + "]\nc: [" + "*b, " * 1_000 + "]", "unfold to more than"),
        ("a: &a {b: *a}", "contains itself|undefined alias"),
    ],
)
def test_what_is_too_large_too_deep_or_endless_is_refused(text: str, says: str) -> None:
    try:
        problems = read_yaml(text, "f", when_too_large=", sorry").problems
    except ManifestError as error:
        problems = error.problems
    assert any(one in str(problem) for problem in problems for one in says.split("|"))


def test_a_file_that_cannot_be_read_is_told_by_what_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="there is no such fault script"):
        read_text(tmp_path / "none", "fault script")
    with pytest.raises(ManifestError, match="is a folder, not a fault script"):
        read_text(tmp_path, "fault script")
