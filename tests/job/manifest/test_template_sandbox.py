"""Templates end, whatever they are: their work is counted, in steps and characters."""

from __future__ import annotations

import pytest

from batcher.job.manifest.templates import TemplateError, compile_template

SAFE = {"n": 7, "text": "a fox in the snow", "rows": [{"a": "x"}, {"a": "y"}], "null": None}

ENDLESS = [
    "{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) %}{% endfor %}"
    "{% endfor %}{% endfor %}",
    "{{ range(10**9) }}",
    "{{ range(99999) | list * 100000 }}",
    "{{ 'x' * 10**9 }}",
    "{{ ('x' * 1000) * 1000000 }}",
    "{{ [[[[1] * 1000] * 1000] * 1000] * 1000 }}",
    "{{ ([[[[1] * 1000] * 1000] * 1000] * 1000) | string }}",
    "{{ ([[1] * 1000] * 1000) | tojson }}",
    "{{ ((9**64)**64)**64 }}",
    "{{ ((9**64)**64) * ((9**64)**64) }}",
    "{{ 9**64**64 }}",
    "{{ 'x' | center(10**9) }}",
    "{{ 'x' | indent(10**9, true) }}",
    "{{ [1] | batch(10**9, 'x') | list }}",
    "{{ [1] | slice(10**9) | list }}",
    "{{ 1.5 | round(10**6) }}",
    "{{ 'x'.ljust(10**9) }}",
    "{{ 'x'.zfill(10**9) }}",
    "{{ ('\t' * 1000).expandtabs(10**9) }}",
    "{{ (1).to_bytes(10**9, 'big') | string }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ ('x' * 100000) | replace('x', 'y' * 100000) }}",
    "{{ ('x' * 100000).replace('x', 'y' * 100000) }}",
    "{{ (['x'] * 100000) | join('y' * 100000) }}",
    "{{ ('y' * 100000).join(['x'] * 100000) }}",
    "{{ ('x ' * 100000) | wordwrap(1, true, 'y' * 100000) }}",
    "{{ ('<!--' * 100000 ~ '-->' * 100000) | striptags }}",
    "{{ ([['x'] * 1000] * 1000) | sum(start=[]) }}",
    "{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(64) }}",
    "{% for a in [1, 1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
    "{% for a in [1] recursive %}{{ loop(range(99999)) }}{% endfor %}",
    "{% for a in range(99999) %}" + "x" * 100_000 + "{% endfor %}",
    "{% set t = 'x' * 1000000 %}{% for a in range(99999) %}{{ t }}{% endfor %}",
    "{% set t = 'x' * 1000000 %}{% for a in range(99999) %}{% set u = t | upper %}{% endfor %}",
    "{% set a = 'x' * 100000 %}" + "".join("{% set a = a ~ a %}" for _ in range(40)) + "{{ a }}",
    "{% set a = 'x' * 100000 %}" + "".join("{% set a = a + a %}" for _ in range(40)) + "{{ a }}",
    "{% set a = [1] %}" + "".join("{% set a = [a, a] %}" for _ in range(60)) + "{{ a }}",
    "{% set a = {1: 1} %}" + "".join("{% set a = {1: a, 2: a} %}" for _ in range(60)) + "{{ a }}",
    "{% set a = (1,) %}{% set b = (1,) %}"
    + "".join("{% set a = (a, a) %}{% set b = (b, b) %}" for _ in range(60))
    + "{{ a == b }}",
    "{{ range(99999) | map('string') | map('center', 99999) | list }}",
]

FINE = [
    ("{% for a in range(20000) %}{{ a % 10 }}{% endfor %}", 20_000),
    ("{% for a in range(100) %}{% for b in range(100) %}x{% endfor %}{% endfor %}", 10_000),
    ("{{ text | replace('fox', 'wolf') | upper | center(60) }}", 60),
    ("{% for row in rows %}{{ loop.index }}/{{ loop.length }}{{ '' if loop.last else ', ' }}{% endfor %}", 8),
    ("{{ rows | map(attribute='a') | join(', ') }}", 4),
    ("{{ '%05d' % n }}-{{ '{:>8}'.format(n) }}-{{ '%s %s' | format(text, n) }}", 34),
    ("{{ text | replace('fox', 4294967295) }}", 24),
    ("{% macro m(n) %}{{ n }}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(9) }}", 10),
    ("{{ [text] * 100 | int }}", 100),
    ("{{ 'x' * 1000000 }}", 1_000_000),
    ("{% for a in rows recursive %}{{ a.a }}{% endfor %}", 2),
    ("{{ rows | sum(attribute='a', start='') | length if false else 'x' }}", 1),
    ("{{ dict(a=1, b=2).items() | list | length }}{{ none | default('x', true) }}", 2),
]


@pytest.mark.parametrize("source", ENDLESS, ids=[source[:60] for source in ENDLESS])
def test_what_would_not_end_is_refused_by_counting(source: str) -> None:
    with pytest.raises(TemplateError):
        compile_template(source).render(SAFE)


@pytest.mark.parametrize(("source", "length"), FINE, ids=[source[:60] for source, _ in FINE])
def test_what_ends_has_all_that_jinja_has(source: str, length: int) -> None:
    template = compile_template(source)
    for _ in range(3):
        assert len(template.render(SAFE)) == length


def test_each_rendering_has_its_own_work_to_spend() -> None:
    template = compile_template("{% for a in range(60000) %}x{% endfor %}{{ n }}")
    assert {len(template.render(SAFE)) for _ in range(5)} == {60_001}
