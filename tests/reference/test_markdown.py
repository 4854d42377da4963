"""Docstrings as Markdown: nothing is swallowed as markup, and papers are linked."""

from __future__ import annotations

import pytest

from reference.markdown import (
    Unsaid,
    body,
    cell,
    code,
    escaped,
    first_sentence,
    needed,
    said_of,
    sections,
    table,
)

DOCSTRING = """Moves weights: w <- w - lr * g_t [1].

Two rules:
- `sgd`: plain steps, of
  arXiv:1703.03400, equation 1
- `adam`: the other

    loss = sum_i |y_i - f(x_i)|

After it.

Args:
    lr, momentum: of `sgd`.
        More of it.

Example:
    >>> 1 + 1
    2

Raises:
    ValueError: where lr is 0.
"""


def test_body_keeps_paragraphs_lists_and_formulas_and_leaves_sections_out() -> None:
    assert body(DOCSTRING) == "\n\n".join(
        [
            r"Moves weights: w &lt;- w - lr \* g\_t \[1\].",
            "Two rules:\n\n- `sgd`: plain steps, of\n"
            "    [arXiv:1703.03400](https://arxiv.org/abs/1703.03400), equation 1\n- `adam`: the other",
            "```text\nloss = sum_i |y_i - f(x_i)|\n```",
            "After it.",
        ]
    )


def test_sections_are_read_by_their_names() -> None:
    assert said_of(DOCSTRING, "Args") == {"lr": "of `sgd`. More of it", "momentum": "of `sgd`. More of it"}
    assert said_of(DOCSTRING, "Raises") == {"ValueError": "where lr is 0"}
    assert sections(DOCSTRING)["Example"] == "    >>> 1 + 1\n    2"


def test_a_cell_holds_bars_and_code() -> None:
    assert (
        cell("all | head, see `a|b`\n  and <c>") == "all &#124; head, see <code>a&#124;b</code> and &lt;c&gt;"
    )
    assert code("") == "" and code("x_1*[2]") == "<code>x&#95;1&#42;&#91;2&#93;</code>"
    assert table(("a", "b"), [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_first_sentence_ends_at_a_full_stop_that_a_space_follows() -> None:
    assert (
        first_sentence("Rates of .1 to 1.5 are\ntried. Others not.\n\nMore.")
        == "Rates of .1 to 1.5 are tried."
    )
    assert escaped("a `b_c` d_e") == r"a `b_c` d\_e"


def test_what_has_no_sentence_is_refused_by_its_name() -> None:
    assert needed("says it", "x") == "says it"
    with pytest.raises(Unsaid, match=r"^strategy.lr: has no sentence; "):
        needed(" ", "strategy.lr")
