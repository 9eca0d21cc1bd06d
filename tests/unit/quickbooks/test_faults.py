"""Faults in all shapes, and the table that turns a code into a decision."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.quickbooks import body, faults

BUSINESS = """{"Fault":{"Error":[{"Message":"Duplicate Document Number Error","Detail":"Duplicate Document Number
 Error : You must specify a different number.","code":"6140","element":"DocNumber"}],"type":"ValidationFault"},
 "time":"2026-05-05T03:11:46.100-07:00"}""".replace("\n", "")
GATEWAY = """{"warnings":null,"intuitObject":null,"fault":{"error":[{"message":
 "message=ApplicationAuthorizationFailed; errorCode=003100; statusCode=403","detail":null,"code":"3100",
 "element":null}],"type":"SERVICE"},"time":1640612353707}"""
XML = """<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<IntuitResponse time="2026-05-05T03:11:46.100-07:00" xmlns="http://schema.intuit.com/finance/v3">
<Fault type="SERVICE"><Error code="3001"><Message>message=ThrottleExceeded; errorCode=003001; statusCode=429</Message>
</Error></Fault></IntuitResponse>"""


def test_the_business_shape_is_read() -> None:
    """The upper-case Fault gives code, texts, element and class."""
    fault = faults.from_json(body.load(BUSINESS), 400)
    assert fault is not None
    assert (fault.code, fault.kind, fault.element, fault.type) == (
        "6140",
        "needs_person",
        "DocNumber",
        "ValidationFault",
    )
    assert fault.message == "Duplicate Document Number Error"
    assert "different number" in fault.detail
    assert fault.settles


def test_the_gateway_shape_is_read() -> None:
    """The lower-case fault of the layer in front is understood the same, nulls and all."""
    fault = faults.from_json(body.load(GATEWAY), 403)
    assert fault is not None
    assert (fault.code, fault.kind, fault.detail, fault.element) == ("3100", "auth", "", "")


def test_the_xml_shape_is_read() -> None:
    """The gateway answers in XML although JSON was asked; it means the same."""
    fault = faults.from_xml(XML, 429)
    assert fault is not None
    assert (fault.code, fault.kind, fault.name) == ("3001", "throttle", "ThrottleExceeded")


def test_a_code_hidden_in_the_message_is_found() -> None:
    """Where the gateway leaves the code out, its text still holds it."""
    fault = faults.from_json({"fault": {"error": [{"message": "x; errorCode=003200; statusCode=401"}]}}, 400)
    assert fault is not None
    assert (fault.code, fault.kind) == ("3200", "auth")


def test_further_errors_are_kept() -> None:
    """One answer may name several errors; the first decides, the others can be shown."""
    errors = [{"code": "2050", "Message": "too long"}, {"code": "2080", "Message": "number"}]
    fault = faults.from_json({"Fault": {"Error": errors, "type": "ValidationFault"}}, 400)
    assert fault is not None
    assert fault.code == "2050"
    assert [other.code for other in fault.others] == ["2080"]


@given(st.sampled_from(sorted(faults.TABLE)), st.integers(0, 4))
def test_zeros_before_a_code_change_nothing(code: str, zeros: int) -> None:
    """003200 and 3200 are one code."""
    padded = {"Fault": {"Error": [{"code": "0" * zeros + code}], "type": "ValidationFault"}}
    fault = faults.from_json(padded, 400)
    assert fault is not None
    assert (fault.code, fault.kind) == (code, faults.TABLE[code].kind)


@pytest.mark.parametrize(
    ("type_", "status", "kind", "settles"),
    [
        ("ValidationFault", 400, "needs_person", True),
        ("SystemFault", 500, "transient", False),
        ("SystemFault", 200, "transient", False),
        ("AuthenticationFault", 400, "auth", True),
        ("AuthorizatonFault", 400, "auth", True),
        ("AUTHENTICATION", 401, "auth", True),
        ("SERVICE", 429, "throttle", True),
        ("SERVICE", 503, "transient", False),
        ("", 401, "auth", True),
        ("", 403, "auth", True),
        ("", 404, "bug", True),
        ("", 400, "bug", True),
        ("", 502, "transient", False),
    ],
)
def test_an_unknown_code_is_classified_by_type_and_status(
    type_: str, status: int, kind: str, settles: bool
) -> None:
    """A code Intuit adds tomorrow is judged by what carries it, not by its first digit (D18)."""
    for code in ("4999", "5999", "7777"):
        fault = faults.from_json({"Fault": {"Error": [{"code": code}], "type": type_}}, status)
        assert fault is not None
        assert (fault.code, fault.kind, fault.settles) == (code, kind, settles)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("120", "auth"),
        ("140", "blocked"),
        ("150", "blocked"),
        ("6190", "blocked"),
        ("610", "needs_person"),
        ("2500", "needs_person"),
        ("3001", "throttle"),
        ("3100", "auth"),
        ("3200", "auth"),
        ("4000", "bug"),
        ("4001", "bug"),
        ("5010", "transient"),
        ("5020", "needs_person"),
        ("6000", "needs_person"),
        ("6070", "bug"),
        ("6200", "needs_person"),
        ("6240", "needs_person"),
        ("6540", "needs_person"),
        ("10000", "transient"),
    ],
)
def test_the_table_decides(code: str, kind: str) -> None:
    """Each code's class follows Intuit's list; 4xxx and 5xxx are not all authorization (D18)."""
    assert faults.TABLE[code].kind == kind


def test_only_two_codes_leave_the_outcome_open() -> None:
    """All other refusals prove that nothing changed; these two must be looked into."""
    assert {code for code, known in faults.TABLE.items() if not known.settles} == {"600", "10000"}


def test_every_code_has_a_name_and_one_sentence_of_advice() -> None:
    """Whoever sees an exception is told what Intuit calls it and what to do."""
    for code, known in faults.TABLE.items():
        assert known.name, code
        assert known.advice.endswith("."), code
        assert not known.name.endswith("."), code


@pytest.mark.parametrize("text", ["", "<", "not xml", "<a/>", "<html><body>502 Bad Gateway</body></html>"])
def test_other_xml_holds_no_fault(text: str) -> None:
    """A proxy's page is not a fault; the status decides then."""
    assert faults.from_xml(text, 502) is None


def test_hostile_xml_is_not_expanded() -> None:
    """An entity bomb in an answer does nothing."""
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><a><Fault type="x"><Error code="1"/>&c;</Fault></a>'
    assert faults.from_xml(bomb, 400) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["Fault", "fault", "Error", "error", "code", "type"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    ),
    st.sampled_from([200, 400, 401, 403, 404, 429, 500, 503]),
)
def test_no_body_breaks_the_reader(data: object, status: int) -> None:
    """Whatever shape an answer has, it is read as a fault with a class, or as none."""
    fault = faults.from_json(data, status)
    assert fault is None or fault.kind in {"transient", "throttle", "auth", "blocked", "needs_person", "bug"}
