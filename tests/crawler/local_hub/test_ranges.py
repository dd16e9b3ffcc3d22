import pytest

from crawler.local_hub.ranges import Unsatisfiable, byte_range


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-3", (0, 4)),
        ("bytes=4-", (4, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=9-9", (9, 10)),
        ("bytes=5-100000", (5, 10)),
        ("bytes= 0-3", (0, 4)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=0-1,4-5", None),
        ("bytes=5-3", None),
        ("items=0-3", None),
        ("bytes=a-b", None),
        ("bytes=" + "9" * 30 + "-", None),
    ],
)
def test_one_well_formed_range_is_clipped_and_all_else_is_the_whole_file(header, part):
    assert byte_range(header, 10) == part


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_a_range_behind_the_end_is_unsatisfiable(header, size):
    with pytest.raises(Unsatisfiable):
        byte_range(header, size)
