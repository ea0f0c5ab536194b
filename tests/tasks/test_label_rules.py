import numpy as np
import pandas as pd
import pytest

from midrc_ml.cohorts.reader import Tables
from midrc_ml.errors import InputError
from midrc_ml.tasks.label_rules import event_within_horizon, flag, merged_stays, readers_mean

HORIZON = 14
# Another patient of the same hospital, so that the hospital is known to date ICU stays.
DATED_THERE = {"case_id": "other", "kind": "icu_stay", "start_day": 500, "end_day": 501}


def stay(start: float, end: float | None, how: str | None = "Home or Self Care", of: str = "c") -> dict:
    return {"case_id": of, "kind": "hospital_stay", "start_day": start, "end_day": end, "value": how}


def icu(start: float, end: float | None = None, of: str = "c") -> dict:
    return {"case_id": of, "kind": "icu_stay", "start_day": start, "end_day": end}


def death(day: float, of: str = "c") -> dict:
    return {"case_id": of, "kind": "death", "start_day": day}


def tables_of(*events: dict, cases: list[dict] | None = None) -> Tables:
    cases = cases or [{"case_id": "c", "site": "A"}, {"case_id": "other", "site": "A"}]
    return Tables.checked(
        origin="test",
        cases=pd.DataFrame([{"patient_id": row["case_id"], **row} for row in cases]),
        events=pd.DataFrame(list(events)) if events else None,
    )


def studies_on(*days: float | None, of: str = "c", site: str = "A") -> pd.DataFrame:
    days = pd.Series(days, dtype="float64")
    return pd.DataFrame({"study_id": [f"s{i}" for i in range(len(days))], "case_id": of, "site": site, "day": days})


def label_of(*events: dict, day: float | None, **settings) -> float | str:
    """1.0 or 0.0, or `missing: why`, or `excluded: why`."""
    settings = {"event": "icu_stay", "horizon_days": HORIZON, **settings}
    (row,) = event_within_horizon(tables_of(DATED_THERE, *events), studies_on(day), **settings).to_dict("records")
    told = [row["label"]] if not pd.isna(row["label"]) else []
    told += [f"{column}: {row[column]}" for column in ("missing", "excluded") if row[column] is not None]
    assert len(told) == 1
    return told[0]


OUTSIDE = "excluded: not at risk: outside every hospital stay"
ON_OR_BEFORE = "excluded: not at risk: icu_stay began on or before the day of the study"
BEFORE = "excluded: not at risk: icu_stay began before the day of the study"
STILL_OPEN = "missing: the hospital stay is still open"


@pytest.mark.parametrize(
    ("day", "expected"),
    [(0, 0.0), (5, 0.0), (30, 0.0), (30.5, OUTSIDE), (31, OUTSIDE), (-1, 0.0), (-1.5, OUTSIDE), (-2, OUTSIDE)],
)
def test_at_risk_is_a_study_from_one_day_before_admission_to_discharge(day: float, expected: float | str) -> None:
    assert label_of(stay(0, 30), day=day) == expected


@pytest.mark.parametrize(
    ("lead_days", "day", "expected"), [(0, -1, OUTSIDE), (0, 0, 0.0), (3, -3, 0.0), (3, -4, OUTSIDE)]
)
def test_lead_days_say_how_long_before_admission_a_film_counts_into_the_stay(
    lead_days: float, day: float, expected: float | str
) -> None:
    assert label_of(stay(0, 30), day=day, lead_days=lead_days) == expected


@pytest.mark.parametrize(
    ("icu_day", "first_day", "expected"),
    [
        (9, 1, ON_OR_BEFORE),
        (9, 0, BEFORE),
        (10, 1, ON_OR_BEFORE),
        (10, 0, 1.0),
        (11, 1, 1.0),
        (11, 0, 1.0),
        (24, 1, 1.0),
        (25, 1, 0.0),
        (24, 0, 1.0),
        (25, 0, 0.0),
    ],
)
def test_positive_is_intensive_care_from_the_first_day_to_the_last_of_the_horizon(
    icu_day: float, first_day: int, expected: float | str
) -> None:
    assert label_of(stay(0, 60), icu(icu_day, icu_day + 3), day=10, first_day=first_day) == expected


def test_a_patient_whose_intensive_care_in_this_stay_is_over_is_not_at_risk() -> None:
    assert label_of(stay(0, 60), icu(2, 4), day=10) == ON_OR_BEFORE


def test_intensive_care_a_second_time_in_the_stay_is_no_positive() -> None:
    assert label_of(stay(0, 60), icu(2, 4), icu(12, 14), day=10) == ON_OR_BEFORE


@pytest.mark.parametrize("end", [9, None])
def test_intensive_care_in_an_earlier_stay_leaves_a_patient_at_risk(end: float | None) -> None:
    assert label_of(stay(0, 10), icu(5, end), stay(20, 60), day=25) == 0.0
    assert label_of(stay(0, 10), icu(5, end), stay(20, 60), icu(26, 30), day=25) == 1.0


@pytest.mark.parametrize("end", [4, None])
def test_intensive_care_entered_in_the_emergency_department_before_admission_counts_into_the_stay(
    end: float | None,
) -> None:
    # ICU on day -1, admission dated the day after: the film of day -1 or 2 is of a patient in intensive care.
    assert label_of(stay(0, 60), icu(-1, end), day=-1) == ON_OR_BEFORE
    assert label_of(stay(0, 60), icu(-1, end), day=2) == ON_OR_BEFORE


def test_a_film_before_admission_is_followed_into_the_stay() -> None:
    assert label_of(stay(0, 60), icu(0, 3), day=-1) == 1.0
    assert label_of(stay(0, 60), icu(13, 15), day=-1) == 1.0
    assert label_of(stay(0, 60), icu(14, 15), day=-1) == 0.0


def test_a_stay_that_is_still_open_says_nothing_without_intensive_care() -> None:
    assert label_of(stay(0, None, None), day=3) == STILL_OPEN


@pytest.mark.parametrize(("icu_day", "expected"), [(8, 1.0), (17, 1.0), (18, STILL_OPEN), (2, ON_OR_BEFORE)])
def test_a_stay_that_is_still_open_is_positive_with_intensive_care_in_the_horizon(
    icu_day: float, expected: float | str
) -> None:
    assert label_of(stay(0, None, None), icu(icu_day), day=3) == expected


@pytest.mark.parametrize("end", [3, 8, 17, 40])
def test_live_discharge_before_or_after_the_horizon_is_a_negative(end: float) -> None:
    assert label_of(stay(0, end), day=3) == 0.0


def test_a_stay_whose_end_is_not_told_is_a_negative_only_if_a_death_would_be_one_or_it_reaches_the_horizon() -> None:
    unknown = "missing: how the hospital stay ended is not recorded"
    assert label_of(stay(0, 8, None), day=3, competing_event="negative") == 0.0
    assert label_of(stay(0, 8, None), day=3, competing_event="positive") == unknown
    assert label_of(stay(0, 8, None), day=3, competing_event="exclude") == unknown
    assert label_of(stay(0, 17, None), day=3, competing_event="exclude") == 0.0


DIED = f"excluded: died within {HORIZON} days without icu_stay"


@pytest.mark.parametrize(("competing_event", "expected"), [("negative", 0.0), ("positive", 1.0), ("exclude", DIED)])
@pytest.mark.parametrize("death_day", [3, 4, 17])
def test_death_within_the_horizon_counts_as_the_setting_says(
    competing_event: str, expected: float | str, death_day: float
) -> None:
    events = (stay(0, death_day, "Deceased"), death(death_day))
    assert label_of(*events, day=3, competing_event=competing_event) == expected


@pytest.mark.parametrize("competing_event", ["negative", "positive", "exclude"])
def test_death_after_the_horizon_is_a_stay_seen_to_the_horizon(competing_event: str) -> None:
    events = (stay(0, 18, "Deceased"), death(18))
    assert label_of(*events, day=3, competing_event=competing_event) == 0.0


@pytest.mark.parametrize("competing_event", ["negative", "positive", "exclude"])
def test_death_after_intensive_care_is_a_positive(competing_event: str) -> None:
    events = (stay(0, 9, "Deceased"), icu(5, 9), death(9))
    assert label_of(*events, day=3, competing_event=competing_event) == 1.0


def test_a_site_that_dates_no_icu_stay_has_no_label_whatever_its_stays() -> None:
    tables = tables_of(
        stay(0, 30), DATED_THERE, cases=[{"case_id": "c", "site": "B"}, {"case_id": "other", "site": "A"}]
    )
    result = event_within_horizon(tables, studies_on(3, 40, site="B"), event="icu_stay", horizon_days=HORIZON)
    assert result["label"].isna().all()
    assert result["missing"].tolist() == ["the site dates no icu_stay"] * 2
    assert result["excluded"].tolist() == [None, None]


def test_a_case_without_a_stay_on_record_has_no_label() -> None:
    assert label_of(day=3) == "missing: no hospital stay on record"
    assert label_of(icu(5, 7), day=3) == "missing: no hospital stay on record"


def test_a_study_without_a_day_has_no_label() -> None:
    assert label_of(stay(0, 30), day=None) == "missing: the study has no day"


def test_a_transfer_on_the_same_day_goes_on_in_the_same_stay() -> None:
    moved = (stay(0, 5, "Short Term Hospital"), stay(5, 40))
    assert label_of(*moved, icu(2, 4), day=6) == ON_OR_BEFORE
    assert label_of(*moved, icu(8, 9), day=3) == 1.0
    assert label_of(stay(0, 5, "Short Term Hospital"), stay(5, None, None), day=3) == STILL_OPEN


def test_a_second_stay_that_begins_a_day_later_is_another_stay() -> None:
    assert label_of(stay(0, 5), stay(6, 40), icu(2, 4), day=7) == 0.0


@pytest.mark.parametrize("order", [1, -1])
def test_overlapping_and_repeated_rows_are_one_stay(order: int) -> None:
    rows = [stay(0, 10), stay(0, 10), stay(4, 30), stay(6, 8)]
    assert label_of(*rows[::order], day=25) == 0.0
    assert label_of(*rows[::order], icu(2, 3), day=25) == ON_OR_BEFORE
    assert label_of(*rows[::order], icu(26, 27), icu(26, 27), day=20) == 1.0


@pytest.mark.parametrize("order", [1, -1])
def test_how_a_stay_ended_is_known_when_one_of_its_last_rows_tells(order: int) -> None:
    rows = [stay(0, 8, None), stay(0, 8, "Home or Self Care")]
    assert label_of(*rows[::order], day=3, competing_event="exclude") == 0.0
    earlier_only = [stay(0, 5, "Short Term Hospital"), stay(5, 8, None)]
    assert label_of(*earlier_only[::order], day=3, competing_event="exclude").startswith(
        "missing: how the hospital stay"
    )


def test_merged_stays_join_what_overlaps_or_touches_and_nothing_else() -> None:
    rows = [stay(8, 9), stay(0, 3), stay(3, 6), stay(20, None, None), stay(1, 2), stay(0, 4, of="d")]
    merged = merged_stays(pd.DataFrame(rows)).sort_values(["case_id", "start"])
    assert merged[["case_id", "start", "end"]].to_numpy().tolist() == [
        ["c", 0, 6],
        ["c", 8, 9],
        ["c", 20, np.inf],
        ["d", 0, 4],
    ]
    assert merged["outcome_known"].tolist() == [True, True, False, True]


def test_one_patients_events_never_touch_another_patients_label() -> None:
    events = (stay(0, 30), stay(0, 30, of="other"), icu(5, 7, of="other"), death(6, of="other"))
    assert label_of(*events, day=3, competing_event="exclude") == 0.0


def test_an_event_without_a_day_is_evidence_that_forbids_a_negative() -> None:
    undated = {"case_id": "c", "kind": "icu_stay", "start_day": None}
    assert label_of(stay(0, 30), undated, day=3) == "missing: an icu_stay without a usable day is on record"
    # Nor is a later one known to be the first.
    assert label_of(stay(0, 30), undated, icu(5, 7), day=3) == "missing: an icu_stay without a usable day is on record"
    assert label_of(stay(0, 30), undated, icu(2, 7), day=3) == ON_OR_BEFORE


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([stay(0, 30)], "missing: an icu_stay without a usable day is on record"),
        ([stay(0, 30), icu(5, 7)], 1.0),
        ([stay(0, 30), stay(50, 60), icu(52, 53)], 0.0),  # the flag is of that other stay
    ],
)
def test_a_flag_without_a_dated_event_forbids_a_negative(events: list[dict], expected: float | str) -> None:
    cases = [{"case_id": "c", "site": "A", "icu_ever": True}, {"case_id": "other", "site": "A", "icu_ever": None}]
    tables = tables_of(DATED_THERE, *events, cases=cases)
    (row,) = event_within_horizon(tables, studies_on(3), event="icu_stay", horizon_days=14).to_dict("records")
    assert (f"missing: {row['missing']}" if row["missing"] else row["label"]) == expected


def test_fractions_of_a_day_are_of_the_same_whole_day() -> None:
    assert label_of(stay(0, 30), icu(3.0, 7), day=2.5) == 1.0
    assert label_of(stay(0, 30), icu(2.9, 7), day=2.5) == label_of(stay(0, 30), icu(2, 7), day=2)
    assert label_of(stay(0, 30), icu(2.1, 7), day=2.5, first_day=0) == 1.0


def test_every_study_has_a_label_or_a_reason_and_row_order_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    names = [f"c{i}" for i in range(40)]
    events = [DATED_THERE]
    for name in names:
        for _ in range(int(rng.integers(0, 3))):
            start = int(rng.integers(-5, 20))
            end = None if rng.random() < 0.2 else start + int(rng.integers(0, 25))
            events.append(stay(start, end, rng.choice(["Home or Self Care", "Deceased", None]), of=name))
            if rng.random() < 0.5:
                events.append(icu(start + int(rng.integers(-1, 12)), None, of=name))
            if end is not None and rng.random() < 0.3:
                events.append(death(end, of=name))
    cases = [{"case_id": name, "site": "A"} for name in [*names, "other"]]
    studies = pd.concat([studies_on(*rng.integers(-6, 30, 8), of=name) for name in names], ignore_index=True)
    settings = {"event": "icu_stay", "horizon_days": HORIZON, "competing_event": "exclude"}
    expected = event_within_horizon(tables_of(*events, cases=cases), studies, **settings)
    told = expected.notna().sum(axis=1)
    assert (told == 1).all()
    assert expected["label"].nunique() == 2
    for _ in range(3):
        mixed = [events[i] for i in rng.permutation(len(events))]
        shuffled = studies.sample(frac=1, random_state=int(rng.integers(1000)))
        result = event_within_horizon(tables_of(*mixed, cases=cases[::-1]), shuffled, **settings)
        pd.testing.assert_frame_equal(result.sort_index(), expected)


def test_inputs_are_not_changed() -> None:
    tables, studies = tables_of(stay(0, 30), icu(5), DATED_THERE), studies_on(3)
    before, events = studies.copy(), tables.events.copy()
    event_within_horizon(tables, studies, event="icu_stay", horizon_days=HORIZON)
    pd.testing.assert_frame_equal(studies, before)
    pd.testing.assert_frame_equal(tables.events, events)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"first_day": 2}, "first_day=2"),
        ({"first_day": -1}, "first_day=-1"),
        ({"horizon_days": 0}, "horizon_days=0"),
        ({"horizon_days": -3, "first_day": 0}, "horizon_days=-3"),
        ({"lead_days": -1}, "lead_days=-1"),
        ({"competing_event": "censor"}, "competing_event is 'censor'; it must be positive, negative or exclude"),
    ],
)
def test_settings_that_make_no_sense_are_refused_with_their_value(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        label_of(stay(0, 30), day=3, **settings)


def test_an_event_kind_that_no_table_knows_is_refused() -> None:
    with pytest.raises(InputError, match="icu_stays"):
        label_of(stay(0, 30), day=3, event="icu_stays")


def test_a_flag_is_a_label_of_three_values() -> None:
    cases = [
        {"case_id": "a", "icu_ever": True},
        {"case_id": "b", "icu_ever": False},
        {"case_id": "d", "icu_ever": None},
    ]
    studies = pd.DataFrame({"study_id": ["1", "2", "3", "4"], "case_id": ["d", "b", "a", "a"]})
    result = flag(tables_of(cases=cases), studies, column="icu_ever")
    assert result["label"].iloc[1:].tolist() == [0.0, 1.0, 1.0]
    assert pd.isna(result["label"].iloc[0])
    assert result["missing"].tolist() == ["icu_ever not recorded", None, None, None]
    assert result["excluded"].isna().all()


def test_a_flag_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"label.column is 'icu'; the case table has .*icu_ever"):
        flag(tables_of(), studies_on(0), column="icu")


def readings_of(*rows: tuple[str, str, str, float | None]) -> Tables:
    frame = pd.DataFrame(rows, columns=["study_id", "reader", "name", "value"]).assign(series_id="1")
    return Tables.checked(origin="test", readings=frame)


def test_the_readers_mean_is_over_the_readers_of_this_reading_alone() -> None:
    tables = readings_of(
        ("s0", "r1", "opacity", 3), ("s0", "r2", "opacity", 4), ("s0", "r1", "extent", 8), ("s1", "r1", "opacity", 0)
    )
    result = readers_mean(tables, studies_on(0, 0, 0), name="opacity")
    assert result["label"].iloc[:2].tolist() == [3.5, 0.0]
    assert pd.isna(result["label"].iloc[2])
    assert result["missing"].tolist() == [None, None, "fewer than 1 readers"]


def test_too_few_readers_leave_the_label_missing() -> None:
    tables = readings_of(
        ("s0", "r1", "opacity", 3),
        ("s0", "r2", "opacity", 4),
        ("s1", "r1", "opacity", 0),
        ("s1", "r2", "opacity", None),
    )
    result = readers_mean(tables, studies_on(0, 0), name="opacity", min_readers=2)
    assert result["label"].iloc[0] == 3.5
    assert pd.isna(result["label"].iloc[1])
    assert result["missing"].tolist() == [None, "fewer than 2 readers"]


@pytest.mark.parametrize("least", ["abc", 0, 1.5])
def test_a_number_of_readers_that_is_none_is_refused(least: object) -> None:
    with pytest.raises(InputError, match=f"label.min_readers is {least!r}; it must be a whole number of at least 1"):
        readers_mean(readings_of(("s0", "r1", "opacity", 1)), studies_on(0), name="opacity", min_readers=least)


def test_a_reading_that_nobody_made_is_refused_with_those_there() -> None:
    with pytest.raises(InputError, match="no reading is named 'mrale' in the test; readings there: extent, opacity"):
        readers_mean(readings_of(("s", "r", "opacity", 1), ("s", "r", "extent", 1)), studies_on(0), name="mrale")
