"""Model files of the user: what is one, what wins, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from batcher.errors import ManifestError
from batcher.job.catalog import find, models
from batcher.job.catalog.lookup import SHIPPED
from batcher.job.catalog.model_file import read

COUNT = len(models())


OWN = """\
slug: my-model
title: Mine
seconds: 3
parameters:
  image: {type: string, media: image, required: true}
  steps: {type: integer, minimum: 1, maximum: 9, default: 4}
  n: {type: integer, role: count}
"""


@pytest.mark.parametrize("name", ["my-model.yaml", "whatever.yml", "models/mine.yaml"])
def test_a_model_file_beside_the_manifest_adds_a_model(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(OWN, encoding="utf-8")
    model = find("my-model", tmp_path)
    assert model is not None
    assert (model.title, model.api, model.seconds, model.media, model.count) == (
        "Mine",
        "v2",
        3,
        ("image",),
        "n",
    )
    assert len(models(tmp_path)) == COUNT + 1
    assert find("my-model") is None


def test_a_model_file_wins_over_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(OWN.replace("my-model", "seg-beyond"), encoding="utf-8")
    model = find("seg-beyond", tmp_path)
    assert model is not None
    assert model.title == "Mine"
    assert [m.title for m in models(tmp_path) if m.slug == "seg-beyond"] == ["Mine"]


def test_manifests_and_foreign_files_in_the_folder_are_no_model_files(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("name: a\nmodel: my-model\nparams: {}\n")
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00slug")
    (tmp_path / "folder.yaml").mkdir()
    assert find("my-model", tmp_path) is None
    assert len(models(tmp_path)) == COUNT


def test_a_wrong_file_of_another_model_is_nobodys_business_until_all_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("slug: other\nparameters: 5\n")
    assert find("seg-beyond", tmp_path) is not None
    with pytest.raises(ManifestError, match=r"other\.yaml:2"):
        models(tmp_path)


def test_the_shipped_files_which_are_not_checked_when_they_are_read_are_sound() -> None:
    checked = [read(path.read_text("utf-8"), path.name) for path in sorted(SHIPPED.glob("*.yaml"))]
    assert checked == models()


def test_plain_values_mean_what_they_look_like_as_in_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(
        "slug: m\nparameters:\n"
        "  ratio: {type: string, allowed: [16:9, 4:3], default: 16:9}\n"
        "  tiling: {type: string, allowed: [no, yes], default: no}\n"
        "  day: {type: string, default: 2024-01-01}\n"
        "example: {tiling: yes}\n"
    )
    model = find("m", tmp_path)
    assert model is not None
    assert [(p.allowed, p.default) for p in model.parameters.values()] == [
        (("16:9", "4:3"), "16:9"),
        (("no", "yes"), "no"),
        ((), "2024-01-01"),
    ]
    assert model.example == {"tiling": "yes"}


def test_two_files_for_one_model_are_an_error(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(OWN)
    with pytest.raises(ManifestError, match=r"b\.yaml.*my-model is described in .*a\.yaml too"):
        find("my-model", tmp_path)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "slug: m\nparameters:\n  a: {type: string, alowed: [x]}\n",
            "m.yaml:3:21: parameters.a.alowed: unknown key; did you mean `allowed`?",
        ),
        (
            "slug: m\nparameters:\n  a: {}\n",
            "m.yaml:3:3: parameters.a.type: is missing: one of string",
        ),
        ("slug: m\nparameters:\n  a: {type: text}\n", "m.yaml:3:13: parameters.a.type: 'text' is not one of"),
        ("slug: m\nparameters: []\n", "m.yaml:2:13: parameters: must be `key: value` lines, not a list"),
        ("slug: m\nparameters: {}\nslug: m\n", "m.yaml:3:1: slug: is given twice"),
        ("slug: m\nparameters: {}\napi: v3\n", "m.yaml:3:6: api: 'v3' is not one of v1, v2"),
        (
            "slug: m\nparameters: {}\nprice: -1\n",
            "m.yaml:3:8: price: -1 is out of range; it must be at",
        ),
        ("slug: m\nparameters: {}\nseconds: true\n", "m.yaml:3:10: seconds: must be a number"),
        ("slug: m\nparameters: {}\nseconds: !!int x\n", "m.yaml:3:10: seconds: 'x' cannot be read as int"),
        (
            "slug: m\nparameters: {}\ntitle: !!python/name:os.system x\n",
            "m.yaml:3:8: title: the tag !!python",
        ),
        ("slug: m\nparameters: {a: {type: string, minimum: 1}}\n", "a string has no minimum"),
        ("slug: m\nparameters: {a: {type: integer, minimum: 3, maximum: 2}}\n", "2 is below the minimum, 3"),
        ("slug: m\nparameters: {a: {type: integer, default: 9, maximum: 2}}\n", "9 is out of range"),
        (
            "slug: m\nparameters: {a: {type: integer, allowed: [1, x]}}\n",
            "'x' is text; it takes a whole number",
        ),
        (
            "slug: m\nparameters: {a: {type: string, allowed: [x, y], allowed_total: 1}}\n",
            "2 values are listed",
        ),
        ("slug: m\nparameters: {a: {type: integer, media: image}}\n", "a media input is a string"),
        ("slug: m\nparameters: {a: {type: integer, list: true, role: seed}}\n", "a list has no role"),
        ("slug: m\nparameters: {a: {type: integer, list: true, default: 3}}\n", "and no default"),
        ("slug: m\nparameters: {a: {type: integer, list: 3}}\n", "list: must be true or false"),
        ("slug: m\nparameters: {a: {type: integer, list: true, allowed: [x]}}\n", "'x' is text"),
        ("slug: m\nparameters: {a: {type: string, role: seed}}\n", "the seed is an integer"),
        (
            "slug: m\nparameters: {a: {type: integer, role: seed}, b: {type: integer, role: seed}}\n",
            "only one can be the seed: a, b",
        ),
        (
            "slug: m\nparameters: {a: {type: string}}\nexample: {b: 1}\n",
            "m.yaml:3:14: example.b: is not a parameter",
        ),
        ("slug: m\nparameters: {\n", "m.yaml:3:1: is not YAML"),
        ("slug: m\nparameters: " + "[" * 100_000, "is not YAML: nested too deeply"),
        ("slug: m\nparameters: {}\n#" + "x" * 4_000_000, "is larger than 4 MB: no model file is"),
        ("slug: ../m\nparameters: {}\n", "'../m' is not a model's slug"),
        ("slug: 5\nparameters: {}\n", "m.yaml:1:7: slug: must be text"),
    ],
)
def test_a_wrong_model_file_says_where_and_what(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(ManifestError) as caught:
        models(tmp_path)
    assert problem in str(caught.value)
    assert len(caught.value.problems) == 1


def test_all_problems_of_all_model_files_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "slug: a\nparameters: {x: {type: text}, y: {type: number, role: count}}\n"
    )
    (tmp_path / "b.yaml").write_text("slug: b\nparameters: {}\ncolour: red\n")
    with pytest.raises(ManifestError) as caught:
        models(tmp_path)
    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["parameters.x.type", "parameters.y.role", "colour"]
