"""The private RabbitMQ node keeps what it confirmed, listens on loopback only, and can lose its disk on purpose."""

from __future__ import annotations

from pathlib import Path

import pika
import psutil
import pytest

from deploy.local import NotInstalledError, RabbitmqNode, package
from deploy.local.process import process
from tests.support import brokers, eventually


def _publish(url: str, body: bytes, queue: str = "kept") -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2), mandatory=True)


def _queue_exists(url: str) -> bool:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        try:
            channel.queue_declare("kept", passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return True


def _get(url: str, queue: str = "kept") -> bytes | None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        _, _, body = connection.channel().basic_get(queue, auto_ack=True)
        return bytes(body) if body is not None else None


def test_a_crash_keeps_confirmed_messages_and_the_address(broker_node: RabbitmqNode) -> None:
    """What a quorum queue confirmed is there after SIGKILL and a start, at the same URL."""
    url = broker_node.url
    _publish(url, b"confirmed")
    names = broker_node.data / "mnesia/algasync@localhost/quorum/algasync@localhost/names.dets"
    eventually(lambda: b"kept" in names.read_bytes(), what="RabbitMQ has stored that the queue exists")
    broker_node.kill()
    assert broker_node.pid is None
    assert broker_node.start(dies_with_parent=True) == url
    assert _get(url) == b"confirmed"


def test_a_crash_right_after_a_declaration_leaves_no_dead_queue(broker_node: RabbitmqNode) -> None:
    """A queue that RabbitMQ had not yet fully stored works after the restart; without help it had no leader."""
    url = broker_node.url
    _publish(url, b"may be lost", "fresh")
    broker_node.kill()
    broker_node.start(dies_with_parent=True)
    _publish(url, b"confirmed", "fresh")
    assert b"confirmed" in (_get(url, "fresh"), _get(url, "fresh"))


def test_everything_listens_on_loopback_only(broker_node: RabbitmqNode) -> None:
    """Neither AMQP, nor the distribution port, nor the port mapper can be reached from another machine."""
    listening = [
        found.laddr.ip
        for started in psutil.process_iter(["name", "environ"])
        if (started.info["environ"] or {}).get("HOME") == str(broker_node.data)
        for found in started.net_connections()
        if found.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 3
    assert set(listening) <= {"127.0.0.1", "::1"}


def test_the_password_is_needed_and_kept_from_others(broker_node: RabbitmqNode) -> None:
    """The well-known account `guest` does not exist; password and cookie are readable by their owner only."""
    host = broker_node.url.partition("@")[2]
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(pika.URLParameters(f"amqp://guest:guest@{host}"))
    for name, mode in (("password", 0o600), (".erlang.cookie", 0o400), ("rabbitmq.conf", 0o600)):
        assert (broker_node.data / name).stat().st_mode & 0o777 == mode


def test_a_running_node_cannot_be_wiped(broker_node: RabbitmqNode) -> None:
    """Deleting the files under a running broker would only confuse it: refused, and nothing is lost."""
    with pytest.raises(RuntimeError, match="is running; stop or kill it"):
        broker_node.wipe()
    assert brokers.amqp_refusal(broker_node.url) is None


def test_a_wiped_node_comes_back_empty_at_the_same_address(
    broker_node: RabbitmqNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost disk takes queues and messages with it, and nothing that a client needs to connect.

    The node comes back with its management API, and through that a broker somebody else runs serves the tests.
    """
    url = broker_node.url
    _publish(url, b"lost")
    broker_node.kill()
    broker_node.wipe()
    managed = RabbitmqNode(broker_node.data, plugins=["rabbitmq_management"])
    assert managed.start(dies_with_parent=True) == url
    assert not _queue_exists(url)

    monkeypatch.setenv("BROKER_MANAGEMENT_URL", managed.management_url)
    given = brokers.GivenBroker(url)
    given.add_vhosts(["a-module"])
    _publish(given.vhost_url("a-module"), b"of the module")
    assert not _queue_exists(url)
    given.delete_vhost("a-module")
    assert brokers.amqp_refusal(given.vhost_url("a-module")) is not None
    managed.kill()  # an orderly end of the management API takes 6 s


def test_stopping_leaves_no_process(workspace: Path) -> None:
    """An orderly stop ends the node and its port mapper, also while the node is still starting."""
    node = RabbitmqNode(workspace / "rabbitmq-stopped")
    pid = node.launch(dies_with_parent=True)
    node.stop()
    assert process(pid) is None
    assert not [
        left.pid
        for left in psutil.process_iter(["environ"])
        if (left.info["environ"] or {}).get("HOME") == str(node.data)
    ]


def test_without_the_package_the_error_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a machine without RabbitMQ the error names the installing command and the setting for another broker."""
    monkeypatch.setattr(package, "_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstalledError, match=r"install-rabbitmq\.sh.*BROKER_URL="):
        RabbitmqNode(tmp_path / "rabbitmq").start()
    assert list(tmp_path.iterdir()) == []
    assert package.version() is None


def test_an_old_package_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """RabbitMQ below 3.10 lacks what the queues are made of: the error names the version found and what to type."""
    for name in ("sbin/rabbitmq-server", "sbin/erl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch(mode=0o755)
    (tmp_path / "plugins/rabbit-3.9.13").mkdir(parents=True)
    monkeypatch.setattr(package, "_PLACES", ())
    monkeypatch.setenv("PATH", str(tmp_path / "sbin"))
    with pytest.raises(NotInstalledError, match=r"RabbitMQ 3\.9\.13 is too old on this machine: run "):
        package.scripts()
