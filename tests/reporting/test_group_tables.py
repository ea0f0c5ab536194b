"""Tables of groups: what stands where, what is left out, and that this is said."""

from midrc_ml.reporting.group_tables import MOST_GROUPS, group_tables, of_several_groups


def value(column: str, group: str, metric: str = "auroc", n: int = 50, **changes: object) -> dict:
    row = {"part": "test", "group": {"column": column, "value": group}, "metric": metric, "value": 0.8, "low": 0.7}
    return row | {"high": 0.9, "n": n, "n_positive": 20, "method": "m", "reason": None} | changes


def gap(quantity: str, group: str, metric: str = "auroc", **changes: object) -> dict:
    row = {"part": "test", "column": "sex", "quantity": quantity, "metric": metric, "group": group, "reference": "Male"}
    numbers = {"value": -0.1, "low": -0.2, "high": 0.0, "p_value": 0.04, "p_holm": 0.0004, "n": 50, "n_reference": 60}
    return row | numbers | {"method": "m", "reason": None} | changes


SEX = [value("sex", "Female"), value("sex", "Male", n=60)]


def lines_of(groups: list[dict], gaps: list[dict], title: str) -> list[tuple[str, ...]]:
    (table,) = [table for table in group_tables(groups, gaps, "auroc", "positive") if table.title.startswith(title)]
    return list(table.lines)


def test_gaps_to_reference_and_best_stand_in_one_line_with_both_p_values() -> None:
    gaps = [gap("gap_to_reference", "Female"), gap("gap_to_best", "Female", low=-0.25, p_value=None, p_holm=None)]
    header, line = lines_of(SEX, gaps, "gaps of auroc")
    assert header[:6] == ("group", "reference", "gap", "interval", "p", "p (Holm)")
    minus = "\N{MINUS SIGN}"
    assert line == (
        "sex: Female", "Male", f"{minus}0.100", f"{minus}0.200 to +0.000", "0.040", "<0.001", f"{minus}0.100",
        f"{minus}0.250 to +0.000",
    )  # fmt: skip


def test_extremes_name_the_worst_and_the_best_group() -> None:
    gaps = [gap("worst_group", "Female", value=0.7, low=0.6, high=0.8, reference=None),
            gap("largest_gap", "Female", value=0.1, low=0.0, high=0.2)]  # fmt: skip
    _, line = lines_of(SEX, gaps, "extremes of auroc")
    assert line == ("sex", "Female", "0.700", "0.600 to 0.800", "Male", "0.100", "0.000 to 0.200")


def test_odds_differences_stand_side_by_side() -> None:
    odds = "average_absolute_odds_difference"
    gaps = [gap("equal_opportunity_difference", "Female", "sensitivity"),
            gap(odds, "Female", value=None, low=None, reason="a group without positives")]  # fmt: skip
    _, line = lines_of(SEX, gaps, "equal opportunity difference")
    assert line[-2:] == ("not estimable", "a group without positives")


def test_a_column_of_one_group_is_left_out_and_named() -> None:
    groups = [*SEX, value("race", "Not Reported", n=110)]
    assert of_several_groups(groups) == (SEX, ["race (all Not Reported)"])
    many = [*groups, value("zip", "(812 values)", value=None)]
    assert of_several_groups(many) == (SEX, ["race (all Not Reported)", "zip (812 values)"])
    assert [line[0] for line in lines_of(groups, [], "auroc")[1:]] == ["sex: Female", "sex: Male"]


def test_of_very_many_groups_the_largest_are_shown_and_their_number_is_said() -> None:
    groups = [value("site", f"s{number:03d}", n=number) for number in range(MOST_GROUPS + 25)]
    (table,) = group_tables(groups, [], "auroc", "positive")
    assert table.title == f"auroc; the {MOST_GROUPS} largest of {MOST_GROUPS + 25} groups"
    assert [line[3] for line in table.lines[1:]] == [str(number) for number in range(25, MOST_GROUPS + 25)]


def test_diagnosis_rates_and_calibration_are_told_of_each_group_and_a_dash_where_there_is_none() -> None:
    rates = [value("sex", name, metric, value=None if name == "Male" else 0.3, low=None, high=None)
             for name in ("Female", "Male") for metric in ("underdiagnosis_rate", "sensitivity")]  # fmt: skip
    lines = lines_of([*SEX, *rates], [], "other metrics")
    assert lines == [("group", "underdiagnosis_rate"), ("sex: Female", "0.300")]
