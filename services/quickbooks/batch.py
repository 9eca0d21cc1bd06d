"""What came of each item of a batch: a reply, or the error it would have been alone.

https://developer.intuit.com/app/developer/qbo/docs/learn/explore-the-quickbooks-online-api/batch
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.quickbooks import faults
from services.quickbooks.call import Call
from services.quickbooks.errors import QuickBooksError, UnknownOutcome
from services.quickbooks.reply import Answer, Reply, answers, error


def outcomes(items: Sequence[Call], reply: Reply) -> list[Reply | QuickBooksError]:
    """Return one outcome per item, in the order in which the items were given to `calls.batch`.

    An item that QuickBooks left out has an unknown outcome. Errors are returned, not raised: each concerns
    its own item only.
    """
    responses = {
        str(response.get("bId")): response
        for response in reply.data["BatchItemResponse"]
        if isinstance(response, Mapping)
    }
    return [_outcome(item, responses.get(str(number)), reply) for number, item in enumerate(items, start=1)]


def _outcome(item: Call, response: Mapping[str, object] | None, reply: Reply) -> Reply | QuickBooksError:
    fault = faults.from_json(response, reply.status)
    if fault is not None:
        headers = {"intuit_tid": reply.intuit_tid} if reply.intuit_tid else {}
        return error(item, fault, Answer(reply.status, headers))
    if response is None or not answers(item, response):
        return UnknownOutcome(
            f"QuickBooks answered the batch, but not what came of {item.label} in it",
            status=reply.status,
            intuit_tid=reply.intuit_tid,
        )
    return Reply(item, reply.status, "", response, reply.intuit_tid, reply.time)
