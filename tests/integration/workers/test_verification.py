"""What `doctor` finds out about a real broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local import RabbitmqNode
from tests.integration.workers.harness import Amqp
from tests.support import eventually
from workers import topology
from workers.topology import QueueName
from workers.verification import Finding, Severity, verify


def _about(findings: list[Finding], subject: str) -> list[Finding]:
    return [finding for finding in findings if finding.subject == subject]


@pytest.mark.usefixtures("amqp")
def test_a_healthy_broker_has_no_findings(broker_url: str) -> None:
    """Silence means that every queue was proven from publishing to dead letter."""
    assert verify(broker_url) == []


def test_every_queue_is_probed_through_its_own_death(broker_url: str, amqp: Amqp) -> None:
    """The probe goes through the real queues, because their arguments are what must be proven."""
    verify(broker_url)
    died_in = set()
    while amqp.depth("dead.v1"):
        letter = amqp.take("dead.v1")
        assert letter.properties.type == "algasync.probe"
        died_in.add(letter.headers["x-first-death-queue"])
    assert died_in == {queue.versioned for queue in QueueName if queue is not QueueName.DEAD}


def test_a_queue_with_other_arguments_is_named_with_reason_and_remedy(broker_url: str, amqp: Amqp) -> None:
    """406 becomes: what differs, why it matters, how to mend it."""
    amqp.channel.queue_delete("export.v1")
    amqp.declare_queue("export.v1", {"x-queue-type": "quorum"})

    bound, *differing, undelivered = _about(verify(broker_url, seconds=0.5), "queue export.v1")

    assert (bound.severity, undelivered.severity) == (Severity.MENDED, Severity.ERROR)
    assert "was not bound to work with key 'export'" in bound.what
    assert "did not come out at the exchange dead" in undelivered.what
    named = {finding.what: finding for finding in differing}
    no_letters = named["has x-dead-letter-exchange none, wanted dead"]
    assert no_letters.severity is Severity.ERROR
    assert "vanish" in no_letters.why
    assert "rabbitmqctl delete_queue export.v1" in no_letters.mend
    assert "has x-overflow none, wanted reject-publish" in named


def test_what_is_missing_is_mended_and_said(broker_url: str, amqp: Amqp) -> None:
    """A deleted queue, binding or exchange exists again after doctor, which tells that it was gone."""
    amqp.channel.queue_delete("intake.v1")
    amqp.channel.queue_unbind("notify.v1", "work", "notify")
    found = verify(broker_url)
    assert [(f.severity, f.subject) for f in found] == [
        (Severity.MENDED, "queue intake.v1"),
        (Severity.MENDED, "queue notify.v1"),
    ]

    amqp.channel.exchange_delete("work")
    assert [f.subject for f in verify(broker_url)[:1]] == ["exchange work"]
    amqp.purge("dead.v1")
    assert verify(broker_url) == []


def test_letters_without_a_collector_are_noticed(broker_url: str, amqp: Amqp) -> None:
    """A letter in dead.v1 is on nobody's exception list until it is collected."""
    amqp.publish("work", "export", b"{}")
    amqp.reject("export.v1")
    amqp.publish("dead", "", b"{}")
    (finding,) = verify(broker_url)
    assert finding.subject == "queue dead.v1"
    assert "algasync collector" in finding.mend


def test_a_probe_behind_a_backlog_is_no_alarm(broker_url: str, amqp: Amqp) -> None:
    """While messages wait and nobody works, nothing can be known about a queue's dead letters."""
    amqp.publish("work", "drift_check", b"{}")
    (finding,) = verify(broker_url, seconds=0.5)
    assert (finding.severity, finding.subject) == (Severity.WARNING, "queue drift_check.v1")
    assert "1 messages wait before it and 0 consumers" in finding.what


def test_a_broker_that_does_not_answer_is_a_finding() -> None:
    """Doctor reports; it does not crash where it is needed most."""
    (finding,) = verify("amqp://127.0.0.1:1/")
    assert (finding.severity, finding.subject) == (Severity.ERROR, "broker")
    assert "BROKER_URL" in finding.mend


@pytest.mark.usefixtures("amqp")
def test_a_management_api_that_does_not_answer_is_a_finding(broker_url: str) -> None:
    """What was asked for and could not be checked is not passed over."""
    (finding,) = verify(broker_url, "http://127.0.0.1:1")
    assert finding.subject == "management API"


def test_policies_and_bindings_are_read_from_the_management_api(workspace: Path) -> None:
    """A policy that lets letters expire is invisible over AMQP; so is the binding that others listen to."""
    node = RabbitmqNode(workspace / "rabbitmq-managed", plugins=["rabbitmq_management"])
    node.start(dies_with_parent=True)
    try:
        topology.declare(node.url)
        assert verify(node.url, node.management_url) == []
        node.control("set_policy", "everything", ".*", '{"message-ttl": 86400000}', "--apply-to", "queues")
        amqp = Amqp(node.url)
        amqp.purge("dead.v1")
        amqp.channel.queue_unbind("intake.v1", "billing", "#")
        amqp.close()

        findings = verify(node.url, node.management_url)
        assert "was not bound to billing with key '#'" in _about(findings, "queue intake.v1")[-1].what

        # the API's figures of a queue are up to five seconds old
        amqp = Amqp(node.url)
        (dead,) = eventually(lambda: _policies(node, amqp), 15, what="the policy is seen")
        amqp.close()
        assert "policy everything, which sets message-ttl to 86400000" in dead.what
        assert "clear_policy everything" in dead.mend
    finally:
        node.kill()
        node.stop()


def _policies(node: RabbitmqNode, amqp: Amqp) -> list[Finding]:
    amqp.purge("dead.v1")
    return _about(verify(node.url, node.management_url), "queue dead.v1")
