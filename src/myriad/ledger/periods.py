"""The invoice of a period, from the facts of a journal: the difference of the books at two instants."""

from collections.abc import Iterable

from myriad.kernel.ids import TenantId
from myriad.kernel.units import Instant
from myriad.ledger.invoices import Invoice, Usage, invoice, usage
from myriad.ledger.ledger import Ledger
from myriad.protocol.facts import Fact


def of_period(facts: Iterable[Fact], tenant: TenantId, start: Instant, end: Instant) -> Invoice:
    """The invoice for [start, end)."""
    ledger = Ledger()
    earlier: Usage | None = None
    for fact in facts:
        if fact.at >= end:
            break
        if earlier is None and fact.at >= start:
            ledger.advance(start)
            earlier = usage(ledger, tenant)
        ledger.fold(fact)
    if earlier is None:
        ledger.advance(start)
        earlier = usage(ledger, tenant)
    ledger.advance(end)
    return invoice(usage(ledger, tenant), earlier)
