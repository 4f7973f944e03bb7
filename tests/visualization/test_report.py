"""The HTML page: well-formed, self-contained, escaped, and true to what it was given."""

import base64
import io
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from dense.errors import DataError
from dense.visualization.error_section import ErrorExample, ErrorKind, ErrorSection
from dense.visualization.report import FramePair, Metric, Report, ReportVideo, TrackRow, render_report, write_report

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
HOSTILE = "<script>alert('x')</script>\"&"
MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(100)


class Page(HTMLParser):
    """Parsed page: elements with attributes, text by element, and unclosed or wrongly closed tags."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open, self.faults = [], [], [], []
        self.feed(text)
        self.close()
        self.faults += self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), [t for t, _ in self.open]))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), [t for t, _ in self.open]))

    def handle_endtag(self, tag):
        if self.open and self.open[-1][0] == tag:
            self.open.pop()
        else:
            self.faults.append(("end of", tag, self.getpos()))

    def handle_data(self, data):
        if data.strip() and self.open:
            self.texts.append((self.open[-1][0], self.open[-1][1].get("class", ""), " ".join(data.split())))

    def having(self, tag, css=""):
        return (
            [a for t, a, _ in self.elements if t == tag and css in a.get("class", "").split(" ")]
            if css
            else [a for t, a, _ in self.elements if t == tag]
        )

    def texts_of(self, css):
        return [text for _, c, text in self.texts if css in c.split(" ")]


def image(seed=0, size=(24, 32)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def full_report(name="red triangle", **changes):
    times = [0.0, 0.1, 0.2, 0.3, 0.6, 0.7]
    tracks = [
        TrackRow(5, name, 0.87, [True, True, False, True, True, True], iou=0.9, match=1),
        TrackRow(9, name, 0.35, [False] * 6),
        TrackRow(1, name, None, [False, True, True, True, False, True], ground_truth=True),
    ]
    video = ReportVideo(name, times, tracks, [FramePair(2, image(1), image(2)), FramePair(4, image(3), image(4))], MP4)
    parts = {
        "title": name,
        "summary": [Metric("AP", 49.64, 48.06), Metric("APs", float("nan"), None), Metric(name, -1.0, 3.0)],
        "per_category": [(name, 12.0, 15.0), ("best", 99.96, None), ("nothing", None, 50.0)],
        "videos": [video],
        "facts": {name: name, "commands": ["dense evaluate", name]},
        "notes": [name],
    }
    return Report(**{**parts, **changes})


@pytest.fixture(scope="module")
def page():
    return Page(render_report(full_report()))


@pytest.mark.parametrize(
    "report",
    [
        full_report(),
        full_report(HOSTILE),
        full_report("half \ud800 &amp;"),
        Report("empty"),
        full_report(summary=(), per_category=()),
    ],
)
def test_render_report__any_content__well_formed(report):
    """Catches unclosed and crossed tags, and names that break out of their element."""
    text = render_report(report)
    parsed = Page(text)
    assert text.encode("utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert parsed.faults == []
    assert len(parsed.having("script")) == 1
    ids = [a["id"] for _, a, _ in parsed.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_render_report__hostile_names__shown_as_text_everywhere():
    """Catches a place without escaping: the name must come back as text or attribute, never as markup."""
    text = render_report(full_report(HOSTILE))
    parsed = Page(text)
    assert "<script>alert" not in text
    assert HOSTILE in parsed.texts_of("name")
    assert ("code", "", HOSTILE) in parsed.texts
    assert any(HOSTILE in a.get("alt", "") for a in parsed.having("img"))
    assert not any(key.startswith("on") for _, a, _ in parsed.elements for key in a)


def test_render_report__every_address__inside_the_page(page):
    """Catches anything fetched from elsewhere: the page must work offline."""
    addresses = [
        a[key] for _, a, _ in page.elements for key in ("src", "href", "poster", "srcset", "data", "xlink:href") if key in a
    ]
    assert len(addresses) == 5  # 4 pictures, 1 video
    assert all(address.startswith(("data:image/", "data:video/mp4", "#")) for address in addresses)
    assert not re.search(r"https?://|@import|url\(", render_report(full_report()))
    assert not page.having("link")


def test_render_report__pictures__have_alternative_texts_and_headings_descend(page):
    """Catches pictures and headings that a screen reader cannot use."""
    assert all(a.get("alt") for a in page.having("img"))
    assert all(a.get("aria-label") for a in page.having("svg"))
    levels = [int(t[1]) for t, _, _ in page.elements if re.fullmatch(r"h[1-6]", t)]
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert page.having("html")[0]["lang"] == "en"


def segments_by_row(page):
    """``(kind, track id) -> list of segment attributes`` in the order of the page."""
    rows, current = {}, None
    for tag, attrs, _ in page.elements:
        css = attrs.get("class", "").split(" ")
        if tag == "g" and "row" in css:
            current = rows.setdefault((css[1], int(attrs["data-track"])), [])
        elif tag == "rect" and "segment" in css:
            current.append(attrs)
    return rows


def test_timeline__segments__cover_exactly_the_seen_frames(page):
    """Catches runs split or joined wrongly, and rows drawn for another track."""
    video = full_report().videos[0]
    rows = segments_by_row(page)
    assert len(rows) == 3
    for track in video.tracks:
        kind = "truth" if track.ground_truth else "prediction"
        seen = [False] * 6
        for segment in rows[kind, track.track_id]:
            first, last = int(segment["data-first"]), int(segment["data-last"])
            assert first == 0 or not track.seen[first - 1]  # maximal runs: no two segments touch
            seen[first : last + 1] = [True] * (last + 1 - first)
        assert seen == list(track.seen)


def test_timeline__uneven_frame_times__segments_at_their_seconds(page):
    """Catches positions by frame number instead of time: frame 3 lasts three times as long here."""
    edges = [0.0, 0.1, 0.2, 0.3, 0.6, 0.7, 0.8]  # the last frame lasts the median interval
    for attrs in (a for row in segments_by_row(page).values() for a in row):
        start, end = edges[int(attrs["data-first"])], edges[int(attrs["data-last"]) + 1]
        x, width = float(attrs["x"].rstrip("%")), float(attrs["width"].rstrip("%"))
        assert x == pytest.approx(100 * start / 0.8, abs=1e-3)
        assert width == pytest.approx(100 * (end - start) / 0.8, abs=1e-3)


def test_timeline__matched_prediction__directly_below_its_ground_truth(page):
    """Catches rows out of order: truth, its match, then what matched nothing."""
    assert list(segments_by_row(page)) == [("truth", 1), ("prediction", 5), ("prediction", 9)]


def test_figures__undefined__shown_as_dash(page):
    """Catches nan, None or -1.0 shown as a figure, and an undefined AP drawn as a bar of zero."""
    values = [text for tag, css, text in page.texts if tag == "dd" and css == "value"]
    assert values == ["49.6", "–", "–"]
    shown = [text for tag, css, text in page.texts if tag == "span" and css == "value"]
    assert shown == ["100.0", "12.0", "–"]  # sorted, undefined last
    assert len(page.having("rect", "bar")) == 2
    assert [float(a["width"].rstrip("%")) for a in page.having("rect", "bar")] == [99.96, 12.0]
    assert [float(a["x1"].rstrip("%")) for a in page.having("line", "reference")] == [15.0, 50.0]
    assert "nan" not in " ".join(text for tag, _, text in page.texts if tag not in ("script", "style"))


def test_figures__beside_model_card__difference_of_the_shown_numbers(page):
    """Catches a difference that contradicts the two rounded figures next to it."""
    assert "(+1.5)" in [text for tag, _, text in page.texts if tag == "span"]


def test_render_report__no_ground_truth__no_ap_no_truth_rows():
    """Catches empty AP sections and 'truth' columns on a user's own video."""
    video = ReportVideo("mine", [0.0, 0.5], [TrackRow(1, "cat", 0.5, [True, False])], [FramePair(0, image())])
    parsed = Page(render_report(Report("mine", videos=[video])))
    text = " ".join(text for tag, _, text in parsed.texts if tag not in ("script", "style")).lower()
    assert "ground truth" not in text
    assert "model card" not in text
    assert list(segments_by_row(parsed)) == [("prediction", 1)]
    assert len(parsed.having("img")) == 1


def test_render_report__videos_beyond_budget__left_out_and_said_so():
    """Catches pages of hundreds of megabytes: only what fits the budget is embedded, in order."""
    videos = [ReportVideo(f"v{i}", [0.0], mp4=MP4 + bytes(size)) for i, size in enumerate((500, 2000, 300))]
    parsed = Page(render_report(Report("t", videos=videos), video_budget=1200))
    assert [a["aria-label"].split()[0] for a in parsed.having("video")] == ["v0", "v2"]
    assert sum("not embedded" in text for _, _, text in parsed.texts) == 1
    assert [a["href"] for a in parsed.having("a")] == ["#video-1", "#video-2", "#video-3"]


def test_write_report__pictures_as_bytes_and_files__page_on_disk(tmp_path):
    """Catches picture kinds told wrongly, and a half-written page."""
    stream = io.BytesIO()
    Image.fromarray(image()).save(stream, "PNG")
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff rest")
    video = ReportVideo("v", [0.0], frames=[FramePair(0, stream.getvalue(), tmp_path / "a.jpg")])
    target = write_report(Report("t", videos=[video]), tmp_path / "deep" / "page.html")
    kinds = [a["src"].split(";")[0] for a in Page(target.read_text(encoding="utf-8")).having("img")]
    assert kinds == ["data:image/jpeg", "data:image/png"]
    assert [p.name for p in target.parent.iterdir()] == ["page.html"]


def test_render_report__wide_frames__shrunk():
    """Catches full-size frames embedded: 12 videos would not fit 10 MB."""
    video = ReportVideo("v", [0.0], frames=[FramePair(0, np.zeros((722, 1281, 3), np.uint8))])
    (attrs,) = Page(render_report(Report("t", videos=[video]))).having("img")
    data = base64.b64decode(attrs["src"].split(",")[1])
    assert Image.open(io.BytesIO(data)).size == (640, 361)


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (ReportVideo("v", [0.0], [TrackRow(3, "cat", 0.5, [True, True])]), "v: track 3 has 2 entries"),
        (ReportVideo("v", [0.0, 0.0]), "v: times_s must increase"),
        (ReportVideo("v", [0.0], frames=[FramePair(1, image())]), "v: example frame 1"),
        (ReportVideo("v", [0.0], frames=[FramePair(0, b"GIF89a")]), "neither PNG nor JPEG"),
        (ReportVideo("v", [0.0], frames=[FramePair(0, image()[..., 0])]), "frame: is uint8"),
        (ReportVideo("v", [0.0], mp4=b"RIFF....AVI "), "not an MP4"),
    ],
)
def test_render_report__wrong_input__says_what_and_where(video, message):
    """Catches foreign tracebacks and pages that show something else than was asked."""
    with pytest.raises(DataError, match=message):
        render_report(Report("t", videos=[video]))


def followed(**changes):
    row = {"track_id": 5, "label": "disc", "score": 0.9, "seen": [True] * 4, "match": 1} | changes
    truth = [TrackRow(i, "disc", None, [True] * 4, color=(i, i, i), ground_truth=True) for i in (1, 2)]
    return Report("t", videos=[ReportVideo("v", [0.0, 1.0, 2.0, 3.0], [*truth, TrackRow(**row)], in_frames=True)])


def test_render_report__track_on_two_objects__their_colours_and_a_mark():
    """Catches a switch of identity that the timeline does not show, or shows at another time."""
    page = Page(render_report(followed(follows=[1, 2, None, 2], switches=[1], note="identity switch")))
    assert page.faults == []
    segments = [a for a in page.having("rect", "segment") if a["fill"] == a["stroke"]]
    assert [a["fill"] for a in segments][1:5] == ["#010101", "#020202", "#9aa1ab", "#020202"]
    assert [a["cx"] for a in page.having("circle", "switch")] == ["25.0%"]
    assert "identity switch" in page.texts_of("note")
    assert not any(" s" in text for _, _, text in page.texts if text[:1].isdigit())  # frames, no seconds


def test_render_report__follows_or_switches_that_do_not_fit__own_error():
    """Catches an index error from lists of another length."""
    with pytest.raises(DataError, match="follows"):
        render_report(followed(follows=[1, 2]))
    with pytest.raises(DataError, match="switches"):
        render_report(followed(follows=[1] * 4, switches=[4]))


def test_render_report__errors__bars_scaled_and_examples_escaped():
    """Catches bars that are not in proportion, examples that are lost, markup taken from names."""
    examples = [ErrorExample(HOSTILE, HOSTILE, [(HOSTILE, image(1)), ("b", image(2))], video=0)]
    kinds = [
        ErrorKind("mask", HOSTILE, 8.0, 3, examples),
        ErrorKind("missed", "m", 2.0, 1),
        ErrorKind("duplicate", "d", float("nan"), 0),
    ]
    page = Page(render_report(full_report(errors=ErrorSection("AP50", kinds, HOSTILE))))
    assert page.faults == []
    assert [a["width"] for a in page.having("rect", "bar")][-2:] == ["100.0%", "25.0%"]
    assert sum("error" not in a["alt"] and HOSTILE in a["alt"] for a in page.having("img")) >= 2
    assert any(a.get("href") == "#video-1" for a in page.having("a"))
    assert len(page.having("script")) == 1
    assert [t for t in page.texts_of("value") if t in ("8.00", "2.00", "–")][-3:] == ["8.00", "2.00", "–"]
