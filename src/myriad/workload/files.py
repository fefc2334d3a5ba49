"""Reads what people write: one file may hold several documents, each with its `kind`."""

from typing import Any

from myriad.kernel import documents
from myriad.kernel.errors import UserError, near
from myriad.workload.jobs import TrainingJob
from myriad.workload.services import InferenceService
from myriad.workload.tenants import Tenant

Spec = TrainingJob | InferenceService | Tenant
KINDS: dict[str, type[TrainingJob] | type[InferenceService] | type[Tenant]] = {
    "training": TrainingJob,
    "service": InferenceService,
    "tenant": Tenant,
}


def parse(text: str, source: str) -> list[Spec]:
    """Every spec of a YAML or JSON text. Raises UserError naming file, field, value and remedy."""
    return [from_tree(tree, source) for tree in documents.documents(text, source)]


def from_tree(tree: dict[str, Any], source: str) -> Spec:
    """One spec from plain mappings and lists (a parsed file, or the body of a request)."""
    kind = tree.get("kind")
    if kind not in KINDS:
        raise UserError(
            "says what the document is",
            field=f"{source}: kind",
            value=kind,
            remedy=near(str(kind), KINDS),
        )
    return documents.convert(tree, KINDS[kind], source)
