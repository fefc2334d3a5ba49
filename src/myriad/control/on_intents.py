"""What follows from what people ask: open and close the site, tenants, keys, jobs, services."""

from collections.abc import Iterator

from myriad.catalog import chips
from myriad.control import on_gangs, on_nodes, on_services, tree
from myriad.control.moment import Moment
from myriad.control.records import GangPhase
from myriad.fleet.columns import NodeState
from myriad.fleet.site import Site
from myriad.kernel.errors import near
from myriad.kernel.units import show_bytes
from myriad.protocol import facts, inputs
from myriad.protocol.facts import Fact
from myriad.protocol.values import Profile, Reason
from myriad.schedule import quota
from myriad.workload.jobs import TrainingJob

_FINAL = (NodeState.RETIRED,)


def on_open_site(m: Moment, given: inputs.OpenSite) -> Iterator[Fact]:
    """The control plane starts. After a crash the nodes stay as they were; after a close they join anew."""
    was_open, places = m.state.open, given.site.places()
    changed = [
        place.node
        for place in places
        if place.node in m.state.nodes
        and m.state.columns.chips[m.state.columns.index[place.node]] != place.chips
    ]
    if changed:
        text = f"node {changed[0]} was declared with another number of chips before"
        reason = Reason(code="not_allowed", text=text, remedy="use a new home folder for a new site")
        yield facts.Refused(at=m.now, intent="OpenSite", subject=given.site.name, reason=reason)
        return
    known = set(m.state.nodes)
    yield facts.SiteOpened(at=m.now, site=given.site, prices=given.prices)
    declared = {place.node for place in places}
    for node in list(m.state.nodes):
        state = m.state.node_state(node)
        if node not in declared:
            if state not in _FINAL:
                yield from on_nodes.retire(m, node)
        elif not was_open or node not in known or state in _FINAL:
            yield from on_nodes.await_join(m, node)


def on_close_site(m: Moment, given: inputs.CloseSite) -> Iterator[Fact]:
    """Everything checkpoints and leaves; nothing starts until the site is opened again."""
    if not m.state.open:
        return
    until = m.now + max(0, given.grace_ns)
    yield facts.SiteClosed(at=m.now, until=until)
    for gang in list(m.state.gangs.values()):
        if gang.service:
            yield from on_gangs.stop(m, gang, "moved", "the site is closing")
        else:
            yield from on_gangs.ask_to_leave(m, gang, "the site is closing", until)


def on_apply_tenant(m: Moment, given: inputs.ApplyTenant) -> Iterator[Fact]:
    """Create or change a tenant; no fact when nothing changes."""
    if m.state.tenants.get(given.tenant.name) == given.tenant:
        return
    if flaw := tree.flaw(m.state.tenants, given.tenant):
        yield facts.Refused(at=m.now, intent="ApplyTenant", subject=given.tenant.name, reason=flaw.reason)
    else:
        yield facts.TenantSet(at=m.now, tenant=given.tenant)


def on_issue_key(m: Moment, given: inputs.IssueKey) -> Iterator[Fact]:
    """A key becomes good."""
    if given.key in m.state.keys:
        return
    if given.role == "tenant" and given.tenant not in m.state.tenants:
        yield _unknown_tenant(m, "IssueKey", given.key, given.tenant)
        return
    yield facts.KeySet(at=m.now, key=given.key, key_hash=given.key_hash, role=given.role, tenant=given.tenant)


def on_revoke_key(m: Moment, given: inputs.RevokeKey) -> Iterator[Fact]:
    """A key stops being good."""
    if given.key in m.state.keys:
        yield facts.KeyRevoked(at=m.now, key=given.key)
        return
    reason = Reason(code="unknown", text=f"there is no key {given.key}", remedy=near(given.key, m.state.keys))
    yield facts.Refused(at=m.now, intent="RevokeKey", subject=given.key, reason=reason)


def on_submit_job(m: Moment, given: inputs.SubmitJob) -> Iterator[Fact]:
    """Admit the job, or say why it can never run. The same id twice is one job."""
    if given.job in m.state.jobs:
        return
    spec = given.spec
    if reason := refusal(m, spec, given.profile):
        yield facts.Refused(at=m.now, intent="SubmitJob", subject=given.job, reason=reason)
    else:
        yield facts.JobAdmitted(at=m.now, job=given.job, spec=spec, profile=given.profile)


def refusal(m: Moment, spec: TrainingJob, profile: Profile) -> Reason | None:
    """Why the job would not be admitted; None if it would."""
    if spec.tenant not in m.state.tenants:
        return _no_tenant(m, spec.tenant)
    return _no_reservation(m, spec) or _never(m, spec, profile)


def _no_reservation(m: Moment, spec: TrainingJob) -> Reason | None:
    """Why the job may not use the reservation that it names."""
    if not spec.reservation:
        return None
    own = [one for one in m.state.windows.values() if one.tenant in m.state.path(spec.tenant)]
    window = next((one for one in own if one.name == spec.reservation), None)
    if window is None:
        text = f"{spec.tenant} has no reservation {spec.reservation}"
        return Reason(code="unknown", text=text, remedy=near(spec.reservation, [one.name for one in own]))
    if spec.min_nodes > len(window.nodes):
        text = f"asks for {spec.min_nodes} nodes; reservation {window.name} has {len(window.nodes)}"
        return Reason(code="too_large", text=text, remedy=f"use nodes: {len(window.nodes)} or fewer")
    return None


def _never(m: Moment, spec: TrainingJob, profile: Profile) -> Reason | None:
    """Why the job could not run even on an empty site."""
    site = m.state.site
    if site is None:
        return Reason(code="site_closed", text="no site is open", remedy="open one with myriad up")
    sizes, kind = m.state.sizes, spec.chip or site.chip
    if kind not in sizes:
        return Reason(code="unknown", text=f"the site has no chip {kind}", remedy=near(kind, sizes))
    most = max(sizes[kind])
    if spec.chips_per_node > most:
        text = f"asks for {spec.chips_per_node} chips on each node; a node has {most}"
        return Reason(code="too_large", text=text, remedy=f"use chips_per_node: {most} or fewer")
    least = spec.chips_per_node if spec.min_nodes > 1 else 1
    nodes = sum([count for size, count in sizes[kind].items() if size >= least])
    usable = nodes - site.fixed_spares
    if spec.min_nodes > usable:
        such = f" with {least} chips" if min(sizes[kind]) < least else ""
        has = f"the site has {usable} ({site.fixed_spares} more are spares)"
        text = f"asks for {spec.min_nodes} nodes{such}; {has}"
        return Reason(code="too_large", text=text, remedy=f"use nodes: {usable} or fewer")
    if spec.within and (largest := _largest(site, spec, kind)) < spec.min_nodes:
        text = f"asks for {spec.min_nodes} nodes within one {spec.within}; the largest has {largest}"
        return Reason(code="too_large", text=text, remedy=f"use nodes: {largest} or fewer, or a wider within")
    if reason := quota.never_fits(m.state, spec.tenant, spec.min_nodes * spec.chips_per_node):
        return reason
    if not profile.memory_bytes_per_chip:
        return None
    memory_bytes = int(chips.named(kind).memory_bytes.value)
    if profile.memory_bytes_per_chip > memory_bytes:
        need = show_bytes(profile.memory_bytes_per_chip)
        text = f"needs {need} on each chip; {kind} has {show_bytes(memory_bytes)}"
        remedy = "use more nodes, a smaller micro batch, or a smaller model"
        return Reason(code="does_not_fit", text=text, remedy=remedy)
    return None


def _largest(site: Site, spec: TrainingJob, kind: str) -> int:
    """Nodes of the largest domain of the level that a job names, of those whose nodes can hold it."""
    pods = [
        pod
        for pod in site.pods
        if (pod.chip or site.chip) == kind and site.chips_in(pod) >= spec.chips_per_node
    ]
    if spec.within == "rack":
        return max(max(pod.rack_sizes) for pod in pods)
    sizes: dict[str, int] = {}
    for pod in pods:
        name = pod.name if spec.within == "pod" else pod.core
        sizes[name] = sizes.get(name, 0) + pod.node_count
    return max(sizes.values())


def on_cancel_job(m: Moment, given: inputs.CancelJob) -> Iterator[Fact]:
    """Cancel in every state: waiting ends at once, running stops first, ended stays as it is."""
    job = m.state.jobs.get(given.job)
    if job is None:
        reason = Reason(
            code="unknown", text=f"there is no job {given.job}", remedy=near(given.job, m.state.jobs)
        )
        yield facts.Refused(at=m.now, intent="CancelJob", subject=given.job, reason=reason)
    elif job.outcome is None and job.cancel_by is None:
        yield facts.CancelRequested(at=m.now, job=given.job, by=given.by)
        if job.attempt is None:
            text = f"cancelled by {given.by}" if given.by else "cancelled"
            yield facts.JobEnded(at=m.now, job=given.job, outcome="cancelled", text=text)
        else:
            yield from on_gangs.stop(m, m.state.gangs[job.attempt], "cancelled", "cancelled")


def on_apply_service(m: Moment, given: inputs.ApplyService) -> Iterator[Fact]:
    """Create or change a service; replicas follow in the scheduling cycle."""
    spec = given.spec
    known = m.state.services.get(given.service)
    if spec.tenant not in m.state.tenants:
        yield _unknown_tenant(m, "ApplyService", given.service, spec.tenant)
        return
    if known and known.spec.tenant != spec.tenant:
        text = f"a service named {spec.name} belongs to another tenant"
        reason = Reason(code="not_allowed", text=text, remedy="choose another name")
    else:
        most = spec.chips_per_replica * spec.replicas.max
        never = quota.never_fits(m.state, spec.tenant, most)
        site_chips = m.state.site.chips_per_node if m.state.site else 0
        if never is None and spec.chips_per_replica <= site_chips:
            # applied again, even unchanged, a service that pauses after failures starts at once
            same = known is not None and (known.spec, known.model_path) == (spec, given.model_path)
            if known is None or not same or known.removed or known.held_until > m.now:
                yield facts.ServiceSet(
                    at=m.now, service=given.service, spec=spec, model_path=given.model_path
                )
                service = m.state.services[given.service]
                yield from on_services.rescale(m, service, service.in_flight, service.queued)
            if known is not None and known.model_path != given.model_path:
                yield from _renew(m, given)
            return
        text = f"asks for {spec.chips_per_replica} chips a replica; a node has {site_chips}"
        reason = never or Reason(code="too_large", text=text, remedy=f"use at most {site_chips}")
    yield facts.Refused(at=m.now, intent="ApplyService", subject=given.service, reason=reason)


def _renew(m: Moment, given: inputs.ApplyService) -> Iterator[Fact]:
    """The model changed: replicas are replaced, each old one leaving when a new one is ready."""
    for attempt in list(m.state.services[given.service].gangs):
        yield from on_gangs.ask_to_leave(m, m.state.gangs[attempt], "the model changed")


def on_remove_service(m: Moment, given: inputs.RemoveService) -> Iterator[Fact]:
    """Stop its replicas and forget it."""
    service = m.state.services.get(given.service)
    if service is None:
        text = f"there is no service {given.service}"
        reason = Reason(code="unknown", text=text, remedy=near(given.service, m.state.services))
        yield facts.Refused(at=m.now, intent="RemoveService", subject=given.service, reason=reason)
        return
    if service.removed:
        return
    yield facts.ServiceRemoved(at=m.now, service=given.service)
    for attempt in list(service.gangs):
        gang = m.state.gangs[attempt]
        if gang.phase is not GangPhase.STOPPING:
            yield from on_gangs.stop(m, gang, "scaled", "the service was removed")


def _no_tenant(m: Moment, tenant: str) -> Reason:
    remedy = near(tenant, m.state.tenants) + " Add it with myriad tenant apply"
    return Reason(code="unknown", text=f"there is no tenant {tenant or '(empty)'}", remedy=remedy)


def _unknown_tenant(m: Moment, intent: str, subject: str, tenant: str) -> Fact:
    return facts.Refused(at=m.now, intent=intent, subject=subject, reason=_no_tenant(m, tenant))
