"""Documents on paper: the PDF of a sales form, and sending it by e-mail (nothing really leaves)."""

from __future__ import annotations

from services.sandbox import faults
from services.sandbox.clock import DAY, stamp
from services.sandbox.entities import Entity
from services.sandbox.fields import EMAIL_ADDRESS, Obj, checked
from services.sandbox.store import Unit

ON_PAPER = ("Invoice", "CreditMemo", "RefundReceipt", "Payment")


def pdf(entity: Entity, document: Obj) -> bytes:
    """A one-page PDF with the document's number and total."""
    if entity.name not in ON_PAPER:
        raise faults.unsupported("pdf")
    words = f"{entity.name} {document.get('DocNumber', document['Id'])}   {document['TotalAmt']}"
    text = words.replace("\\", "").replace("(", "").replace(")", "").encode("latin-1", "replace")
    content = b"BT /F1 18 Tf 72 720 Td (" + text + b") Tj ET"
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )
    paper = b"%PDF-1.4\n"
    table = b"0000000000 65535 f \n"
    for number, row in enumerate(objects, 1):
        table += b"%010d 00000 n \n" % len(paper)
        paper += b"%d 0 obj\n%s\nendobj\n" % (number, row)
    start = len(paper)
    size = len(objects) + 1
    trailer = b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (size, start)
    return paper + b"xref\n0 %d\n%s" % (size, table) + trailer


def send(unit: Unit, entity: Entity, key: str, address: str) -> Obj:
    """E-mail a document to its BillEmail or to `address`; sandbox companies send a limited number a day."""
    if entity.name not in ON_PAPER:
        raise faults.unsupported("send")
    company = unit.company
    document = unit.get(entity.name, key)
    if document is None:
        raise faults.not_found(entity.name, key)
    sent = dict(document)
    if address:
        sent["BillEmail"] = checked(EMAIL_ADDRESS, {"Address": address}, "sendTo")
    if "BillEmail" not in sent:
        raise faults.required("BillEmail")
    company.mails[:] = [at for at in company.mails if at > unit.at - DAY]
    if len(company.mails) >= company.switches.emails_per_day:
        raise faults.business("The limit of e-mails a day is reached.")
    company.mails.append(unit.at)
    sent["EmailStatus"] = "EmailSent"
    sent["DeliveryInfo"] = {"DeliveryType": "Email", "DeliveryTime": stamp(unit.at)}
    return unit.put(entity.name, sent, "Emailed")
