"""Every term of the driver's protocol is implemented or listed as unsupported, with its reason."""

from rethinkdb import ql2_pb2

import db.embedded.terms  # noqa: F401  (fills the registry)
from db.embedded.registry import TERMS

COMPILED_IN_THE_COMPILER = {"DATUM", "MAKE_ARRAY", "MAKE_OBJ", "VAR", "IMPLICIT_VAR", "FUNC"}


def protocol_terms() -> dict[str, int]:
    terms = vars(ql2_pb2.Term.TermType)
    return {name: code for name, code in terms.items() if not name.startswith("_")}


def test_every_term_of_the_protocol_is_declared() -> None:
    missing = {
        name
        for name, code in protocol_terms().items()
        if code not in TERMS and name not in COMPILED_IN_THE_COMPILER
    }
    assert missing == set()


def test_terms_carry_the_name_of_the_protocol() -> None:
    names = {code: name for name, code in protocol_terms().items()}
    assert {spec.name for spec in TERMS.values()} == {names[code] for code in TERMS}


def test_unsupported_terms_say_why() -> None:
    left_out = {spec.name: spec.unsupported for spec in TERMS.values() if spec.unsupported}
    assert {"HTTP", "JAVASCRIPT", "POINT"} <= set(left_out)
    assert all(reason and reason.endswith(".") for reason in left_out.values())
