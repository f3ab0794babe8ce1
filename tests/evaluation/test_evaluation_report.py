"""Reports on disk: whole or absent, self-contained, the same numbers as the metrics; pictures only where matplotlib is."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from orthodrome import files
from orthodrome.evaluation import summary_rows, verification, write_comparison, write_report
from orthodrome.evaluation.sections import NO_PLOTS, section
from orthodrome.evaluation.wording import false_accept_rate, one_in, rounded_up
from orthodrome.figures.style import as_written
from orthodrome.types import InputError, Report

VOID = {"meta", "hr", "br", "path", "use", "rect", "image", "img"}
NUMBERS = ["report.json", "report.html", "scores.npz", "calibration.json"]


class Balance(HTMLParser):
    """Checks that every tag that opens is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def report(shift: float = 1.5, title: str = "<LFW> & friends") -> Report:
    same = np.tile(np.arange(200) < 100, 5)
    scores = np.random.default_rng(0).normal(same * shift, 1).astype(np.float32) / 8
    found = verification(scores, same, np.repeat(np.arange(5), 200)).to_report()
    return Report(found.protocol, title, found.metrics, found.series, found.notes)


def balanced(html: str) -> Balance:
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    return parser


def test_writes_all_files_and_the_page_says_what_the_metrics_say(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    source = report()
    written = write_report(source, tmp_path / "new" / "folder")
    pictures = [f"{stem}.png" for stem in ("roc", "det", "scores", "errors", "reliability")]
    assert [path.name for path in written.files] == [*NUMBERS, *pictures]
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(p.name for p in written.files)
    stored = json.loads(written.files[0].read_text(encoding="utf-8"))
    measured = json.loads(json.dumps(source.metrics))
    assert {name: stored["metrics"][name] for name in measured} == measured
    assert set(stored["metrics"]) - set(measured) == {"roc_band", "calibration"}  # no ids, so no hardest pairs
    html = written.files[1].read_text(encoding="utf-8")
    assert balanced(html).seen >= {"svg", "table", "h1"}
    assert "<h1>&lt;LFW&gt; &amp; friends</h1>" in html
    assert "script" not in balanced(html).seen
    assert not re.search(r'(src|href)="(?!#|data:)', html)  # nothing is fetched from elsewhere
    row = source.metrics["tar_at_far"][1]
    assert f"At FAR 1 % use {rounded_up(row['threshold'])}: accepts 1 in 100 impostors" in html
    assert f"rejects {100 * (1 - row['tar']):.1f} % of genuines" in html
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written.files[len(NUMBERS) :])
    assert written.notice == ""


def test_the_same_report_gives_the_same_page(tmp_path: Path) -> None:
    first, second = (write_report(report(), tmp_path / name).files[1].read_bytes() for name in "ab")
    assert first == second


def test_without_matplotlib_the_numbers_are_written(tmp_path: Path, monkeypatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib" or name == "orthodrome.figures.evaluation"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    written = write_report(report(), tmp_path)
    assert [path.name for path in written.files] == NUMBERS
    assert 'pip install "orthodrome[plots]"' in written.notice == NO_PLOTS
    assert "matplotlib is missing" in written.files[1].read_text(encoding="utf-8")


def test_comparison_has_one_row_a_system(tmp_path: Path) -> None:
    reports = {"raw pixels": report(0.5), "margin <m>": report(3)}
    written = write_comparison(reports, tmp_path, "Four systems")
    html = written.files[1].read_text(encoding="utf-8")
    balanced(html)
    assert "margin &lt;m&gt;" in html
    stored = json.loads(written.files[0].read_text(encoding="utf-8"))
    assert list(stored["systems"]) == ["raw pixels", "margin <m>"]
    header, rows = summary_rows(reports)
    assert header == ("system", "EER", "TAR@FAR = 1 %", "accuracy")
    assert [row[0] for row in rows] == list(reports)
    eer = reports["raw pixels"].metrics["eer"]
    assert rows[0][1].startswith(f"{100 * eer['rate']:.2f} % ({100 * eer['interval']['low']:.2f}–")
    assert all(cell in html for row in rows for cell in row[1:])
    with pytest.raises(InputError, match="at least one report"):
        write_comparison({}, tmp_path, "none")


def test_a_report_of_another_kind_is_written_too(tmp_path: Path) -> None:
    other = Report("other", "Another protocol", {"rank_1": np.float32(0.5)}, {}, ("a note",))
    written = write_report(other, tmp_path)
    assert json.loads(written.files[0].read_text())["metrics"] == {"rank_1": 0.5}
    assert summary_rows({"a": other})[1] == [("a", "–", "–", "–")]


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take seconds, and not every test looks at them."""
    monkeypatch.setattr(section, "_figures", lambda: (None, ""))


@pytest.mark.parametrize("number", range(len(NUMBERS)), ids=NUMBERS)
def test_a_disk_that_is_full_at_any_file_leaves_the_old_report_whole(
    number: int, tmp_path: Path, monkeypatch, no_pictures
) -> None:
    write_report(report(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write, calls = files._write_to_disk, []

    def fill_up(path: Path, content: bytes, sync: bool) -> None:
        calls.append(path)
        write(path, content[: len(content) // 2], sync)
        if len(calls) == number + 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write_to_disk", fill_up)
    message = rf"cannot write .*{NUMBERS[number]}: No space left on device; nothing was left half-written"
    with pytest.raises(InputError, match=message):
        write_report(report(0.5), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_made(tmp_path: Path, no_pictures) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        write_report(report(), tmp_path / "file" / "folder")


def test_nan_metrics_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_report(Report("x", "x", {"rate": float("nan")}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wording() -> None:
    assert [false_accept_rate(f) for f in (0.1, 0.01, 0.001, 1e-4, 1e-9)] == ["10 %", "1 %", "0.1 %", "1e−4", "1e−9"]
    assert rounded_up(0.41201) == "0.4121"
    assert rounded_up(0.5) == "0.5000"
    assert rounded_up(-0.12349) == "-0.1234"
    assert rounded_up(0.3) == "0.3000"
    assert rounded_up(float(np.nextafter(0.3, 1))) == "0.3001"  # 0.3000 would accept impostors that score 0.3
    assert (one_in(0.001), one_in(0)) == ("1 in 1,000", "none")


def test_figures_show_the_data() -> None:
    pytest.importorskip("matplotlib")
    from orthodrome.figures.evaluation import roc_figure, score_distribution_figure

    far, tar = np.array([0, 0.01, 0.1, 1.0]), np.array([0.2, 0.5, 0.9, 1.0])
    axes = roc_figure({"one": (far, tar), "two": (far, tar / 2)}).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[0.01, 0.5], [0.1, 0.9], [1, 1]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two"]
    long = np.linspace(0, 1, 300_000)
    drawn = roc_figure({"long": (long, np.sqrt(long))}).axes[0].lines[0].get_xydata()
    assert len(drawn) <= 2000
    assert drawn[-1].tolist() == [1, 1]
    np.testing.assert_allclose(drawn[:, 1], np.sqrt(drawn[:, 0]))
    scores = np.random.default_rng(0).normal(size=(2, 500))
    figure = score_distribution_figure({"a": (scores[0], scores[1]), "b": (np.ones(3), np.ones(4))}, {"a": {"FAR 1 %": 0.3}})
    assert len(figure.axes) == 2
    assert figure.axes[0].lines[0].get_xdata()[0] == 0.3
    values, edges, _ = figure.axes[0].patches[0].get_data()
    assert np.sum(values * np.diff(edges)) == pytest.approx(1)


def test_files_that_no_report_wrote_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "scores.npz").write_bytes(b"embeddings of somebody")
    with pytest.raises(InputError, match=r"holds scores.npz but no report.json"):
        write_report(report(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.npz"]
    assert (tmp_path / "scores.npz").read_bytes() == b"embeddings of somebody"


def test_names_of_systems_are_shown_as_they_are(tmp_path: Path) -> None:
    names = ("cost_$5_and_$6", "_a", "张三", "李四", "run.a", "run-a")
    written = write_comparison({name: report() for name in names}, tmp_path, "Odd names")
    html = written.files[1].read_text()
    anchors = re.findall(r'<section id="([^"]+)"', html)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r'<a href="#([^"]+)"', html)) <= set(anchors)
    assert as_written("_a") == " _a"
    assert as_written("$5") == r"\$5"
