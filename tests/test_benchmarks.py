"""The page of benchmark results: what it says is what was measured."""

from benchmarks.report import promises, report

ROW = {"case": "sum", "by": "peer", "ms": 2.0, "ours faster": 3.0, "ours smaller": 5.0}


def test_promises__kept_or_not__said_as_measured():
    """Catches a promise that is not kept and stands there as kept."""
    row = {**ROW, "promised faster": 4.0, "promised smaller": 4.0}
    assert promises(row) == [
        "* sum: faster than peer: 3.0 times, promised 4 times: **NOT kept**",
        "* sum: smaller than peer: 5.0 times, promised 4 times: **kept**",
    ]
    assert promises({**row, "ours smaller": None})[1].endswith("promised 4 times: **not measured**")
    assert promises({**ROW, "promised faster": 0.0}) == []


def test_report__page__header_and_figures():
    """Catches a table without machine and date."""
    page = report({"one": {"header": ["processor, 2 threads"], "rows": [ROW]}})
    assert "## one" in page
    assert page.index("processor, 2 threads") < page.index("sum") < page.index("3.00")
