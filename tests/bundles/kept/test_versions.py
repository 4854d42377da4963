"""Earlier versions of a bundle: whole, bounded in number, and nothing else among them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coldstart_cli.bundles.kept.folder import write
from coldstart_cli.bundles.kept.versions import versions, whose
from coldstart_cli.cli import main
from coldstart_cli.errors import RequestError
from tests.bundles.kept.test_folder import bundle, contents_of, made  # noqa: F401
from tests.kit.bundles import as_format_1


def test_earlier_versions_are_whole_bundles_and_the_oldest_goes(bundle: Path) -> None:  # noqa: F811
    found = contents_of(bundle)
    assert found.card.version == 2
    for number in range(3, 6):
        card = write(bundle, found.card, found.weights, found.base, rows=b"row %d" % number, keep=2)
        assert card.version == number == contents_of(bundle).card.version
    assert [*versions(bundle)] == [3, 4]
    for number, place in versions(bundle).items():
        kept = contents_of(place)
        assert (kept.card.version, kept.rows, kept.weights) == (number, b"row %d" % number, found.weights)
        assert kept.base is not None and kept.base.parent == place
    assert contents_of(bundle).rows == b"row 5"
    write(bundle, found.card, found.weights, None)  # not kept, and nothing else goes
    assert [*versions(bundle)] == [3, 4] and contents_of(bundle).card.version == 6


def test_an_earlier_version_is_a_copy_where_files_cannot_be_linked(
    bundle: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refused)
    found = contents_of(bundle)
    write(bundle, found.card, found.weights + b" ", None, keep=1)
    assert contents_of(bundle / "versions" / "2").weights == found.weights


def test_a_bundle_of_format_1_becomes_a_version(bundle: Path) -> None:  # noqa: F811
    found = contents_of(bundle)
    as_format_1(bundle)
    write(bundle, found.card, found.weights, None, keep=1)
    assert contents_of(versions(bundle)[2]).card.format == 1


@pytest.mark.parametrize("place", ["x/card.json", "2/run.py", "2/versions/1/card.json"])
def test_what_is_no_version_is_refused_among_them(bundle: Path, place: str) -> None:  # noqa: F811
    found = contents_of(bundle)
    write(bundle, found.card, found.weights, None, keep=1)
    other = bundle / "versions" / place
    other.parent.mkdir(parents=True, exist_ok=True)
    other.write_text("x")
    with pytest.raises(RequestError, match="is not part of a bundle"):
        contents_of(bundle)


def test_nothing_is_written_among_the_versions(
    bundle: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = contents_of(bundle)
    write(bundle, found.card, found.weights, None, keep=1)
    assert whose(bundle / "versions" / "2") == bundle.resolve() and whose(bundle) is None
    with pytest.raises(RequestError, match="is for an earlier version of"):
        write(bundle / "versions" / "2", found.card, found.weights, None)
    with pytest.raises(RequestError, match="is for an earlier version of"):
        write(bundle / "versions" / "9", found.card, found.weights, None)
    capsys.readouterr()
    assert main(["export", f"bundle={bundle / 'versions' / '2'}"]) == 0, capsys.readouterr().err
    assert bundle.with_name("b-version-2.pt2").is_file() and contents_of(bundle).card.version == 3
