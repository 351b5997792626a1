import numpy as np
import pytest

from SkullGANLib.errors import FormatError, InputError
from SkullGANLib.segments.table import COLUMNS, complete_table, count_values, read_table, stack_tables, write_table


def written(tmp_path, text):
    path = tmp_path / "segments.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_comes_back_as_it_was_written(tmp_path):
    table = complete_table(
        {
            "subject": ["s-1", "s-2", "s-2"],
            "sdr": [0.1 + 0.2, np.nan, 1 / 3],
            "quality": ["ok", 'torn, "at" the rim', "späť\nzwei Zeilen"],
            "pixels": [1, -2, 3],
            "grade": [1.0, 2.0, np.nan],
            "never_measured": [np.nan] * 3,
            "label": ["007", "1_2", ""],
            "flag": [True, False, True],
        },
        3,
    )
    write_table(tmp_path / "t.csv", table)
    back = read_table(tmp_path / "t.csv")
    assert list(back) == list(table)
    assert list(back)[: len(COLUMNS)] == list(COLUMNS)
    for name, column in table.items():
        assert back[name].dtype.kind == column.dtype.kind, name
        np.testing.assert_array_equal(back[name], column)


def test_missing_columns_are_filled_and_typed():
    table = complete_table({"region": ["temporal"]}, 1)
    assert (table["subject"][0], table["quality"][0], table["side"][0]) == ("unknown", "ok", "")
    assert np.isnan(table["thickness_mm"][0])


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ({"sdr": [1.0]}, 'column "sdr" has shape'),
        ({"sdr": ["a", "b"]}, "no number"),
        ({"sdr": [np.inf, 1]}, "infinity"),
    ],
)
def test_a_column_that_does_not_fit_is_named(column, words):
    with pytest.raises(InputError, match=words):
        complete_table(column, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("index,sdr\n0,0.5\n1\n", "Row 3 .* has 1 cells"),
        ("index,sdr\n0,half\n", 'column "sdr" holds what is no number'),
        ("index,sdr\n1,0.5\n0,0.6\n", "out of order"),
        ("index,sdr,sdr\n0,1,1\n", "two columns"),
    ],
)
def test_a_damaged_table_is_refused_in_words(tmp_path, text, words):
    with pytest.raises(FormatError, match=words):
        read_table(written(tmp_path, text))


def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffindex,subject,sdr\r\n0,s-1,0.5\r\n".encode())
    assert read_table(path)["sdr"][0] == 0.5


def test_stacking_fills_what_one_table_lacks():
    one = complete_table({"class": [1, 2], "sdr": [0.5, 0.6]}, 2)
    other = complete_table({"pattern": ["arc"]}, 1)
    both = stack_tables([one, other])
    assert both["index"].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(both["class"], [1, 2, np.nan])
    assert both["pattern"].tolist() == ["", "", "arc"]
    assert count_values(both, "pattern") == {"-": 2, "arc": 1}
