"""What an exam was, by its codes and words: portable or not, of which body part.

LOINC comes first: MIDRC maps (Modality, StudyDescription) to it (MIDRC/midrc_dicom_harmonization). Where a study has
no code, the site's own description decides. Codes and words were checked against that mapping (597 rows).
"""

import re
from collections.abc import Sequence

import pandas as pd

CHEST = "chest"
_PORTABLE_METHOD = "XR.portable"
# For exports older than `loinc_method`: the codes whose method is XR.portable.
_PORTABLE_CODES = ("36589-0", "30746-2", "24632-2", "24634-8", "36588-2", "24795-7")
_PORTABLE_WORDS = r"\b(?:port|portable|ptbl|bedside)\b"
_NOT_PORTABLE_WORDS = r"\b(?:not|non|including)[ -]portable\b"
# Portable exams whose description does not say so (names of sites, as in MIDRC's mapping).
_PORTABLE_DESCRIPTIONS = ("chest 1 view icu", "chest ap viewonly", "pr chest 1 view", "xr p chest 1 view")
_CHEST_WORDS = r"chest|thorax|thoracic|lung|\bribs?\b|\bcxr\b|pulmonary|\bheart\b|\bpe protocol\b"
# Parts that no exam of the chest is named for alone; a description without any of these says nothing.
_OTHER_PARTS = (
    r"\b(?:abd|abdomen|abdominal|abdo|kub|pelvis|hips?|knees?|ankles?|foot|feet|toes?|hands?|wrists?|fingers?|elbows?|"
    r"shoulders?|humerus|femur|tibia|fibula|forearm|skull|head|brain|neck|sinus|sinuses|facial|orbits?|lumbar|cervical|"
    r"sacrum|coccyx)\b"
)


def is_portable(studies: pd.DataFrame) -> pd.Series:
    """True, False or missing (neither a code nor a description) for each study; columns as in the studies table."""
    method, code = studies["loinc_method"], studies["loinc"]
    words = _lower(studies["description"])
    by_words = words.isin(_PORTABLE_DESCRIPTIONS) | (
        words.str.contains(_PORTABLE_WORDS, regex=True) & ~words.str.contains(_NOT_PORTABLE_WORDS, regex=True)
    )
    result = pd.Series(pd.NA, index=studies.index, dtype="boolean")
    result[studies["description"].notna()] = by_words
    result[code.notna()] = code.isin(_PORTABLE_CODES)
    result[method.notna()] = method == _PORTABLE_METHOD
    return result


def is_of_body_part(studies: pd.DataFrame, body_parts: Sequence[str]) -> pd.Series:
    """True, False or missing (nothing is recorded) for each study.

    By LOINC's system where there is one, else by BodyPartExamined, else by the description. `chest` stands for its
    synonyms; any other word must occur as it is. A description speaks against it where it names another part alone.
    """
    pattern = "|".join(_CHEST_WORDS if part.lower() == CHEST else re.escape(part.lower()) for part in body_parts)
    result = pd.Series(pd.NA, index=studies.index, dtype="boolean")
    words = _lower(studies["description"])
    result[words.str.contains(f"{_CHEST_WORDS}|{_OTHER_PARTS}", regex=True)] = False
    result[words.str.contains(pattern, regex=True)] = True
    for column in ("body_part", "loinc_system"):
        known = studies[column].notna()
        result[known] = _lower(studies[column]).str.contains(pattern, regex=True)[known]
    return result


def _lower(texts: pd.Series) -> pd.Series:
    return texts.fillna("").astype("str").str.lower().str.strip()
