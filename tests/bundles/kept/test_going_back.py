"""An earlier version put back: whole, with its program, as the next version."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldstart_cli.bundles.kept.folder import add_program, read_program, write
from coldstart_cli.bundles.kept.going_back import put_back
from coldstart_cli.bundles.kept.versions import versions
from coldstart_cli.errors import RequestError
from tests.bundles.kept.test_folder import bundle, contents_of, made  # noqa: F401
from tests.kit.bundles import as_format_1


def test_a_version_is_put_back_whole_and_the_one_in_its_place_is_kept(bundle: Path) -> None:  # noqa: F811
    found = contents_of(bundle)
    (bundle.parent / "p.onnx").write_bytes(b"a program")
    add_program(bundle, found.card, bundle.parent / "p.onnx", b"{}")
    write(
        bundle, found.card, found.weights, None, rows=b"new rows", keep=3
    )  # version 3, without program and base
    card = put_back(bundle, 2, keep=3)
    now, program = contents_of(bundle), read_program(bundle, lambda program: program)
    assert card.version == 4 and [*versions(bundle)] == [2, 3]
    assert card == now.card and now.card.said[-1] == "version 2 again, put back in place of version 3"
    assert (now.weights, now.rows) == (found.weights, found.rows)
    assert now.base is not None and (now.base / "vocab.txt").read_text() == "a b c"
    assert program is not None and program.onnx.read_bytes() == b"a program" and program.tokenizer == "{}"
    assert contents_of(versions(bundle)[3]).rows == b"new rows"
    put_back(bundle, 2, keep=2)  # the oldest, which goes once it is copied
    assert [*versions(bundle)] == [3, 4] and contents_of(bundle).card.version == 5
    assert read_program(bundle, lambda program: program.onnx.read_bytes()) == b"a program"


def test_a_version_of_format_1_is_put_back_and_nothing_is_kept_where_that_is_asked(
    bundle: Path,  # noqa: F811
) -> None:
    found = contents_of(bundle)
    as_format_1(bundle)
    write(bundle, found.card, found.weights + b" ", None, keep=1)
    card = put_back(bundle, 2, keep=0)
    assert card.format == 1 and contents_of(bundle).weights == found.weights and [*versions(bundle)] == [2]


def test_a_version_that_is_not_there_is_refused_with_those_that_are(bundle: Path) -> None:  # noqa: F811
    with pytest.raises(RequestError, match=r"^version: .* keeps no version 9 \(kept: none\); name one"):
        put_back(bundle, 9, keep=1)
    with pytest.raises(RequestError, match=r"^bundle: .*none is not a bundle"):
        put_back(bundle.parent / "none", 1, keep=1)
