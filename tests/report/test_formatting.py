"""Numbers and texts as a page shows them."""

from jaxrec.report.formatting import decimals, duration, number, percent, printable, signed


def test_numbers_are_readable() -> None:
    assert [number(v) for v in (1234567, 0.12341, 1.5, 1e-7, float("nan"), None, -3)] == [
        "1,234,567",
        "0.1234",
        "1.5",
        "1.0e-07",
        "–",
        "–",
        "-3",
    ]


def test_decimals_signs_shares_and_times() -> None:
    assert [decimals(v, 2) for v in (0.126, -1.0, None, float("nan"))] == ["0.13", "−1.00", "–", "–"]
    assert [signed(v, 1) for v in (0.25, -0.25, 0.0)] == ["+0.2", "−0.2", "+0.0"]
    assert [percent(v) for v in (0.1234, None, float("nan"))] == ["12.3%", "–", "–"]
    assert [duration(v) for v in (59.4, 59.6, 200)] == ["59 s", "1 min 0 s", "3 min 20 s"]


def test_control_characters_are_left_out() -> None:
    assert printable("a\x00\x07\tb\n<") == "a\tb\n<"
