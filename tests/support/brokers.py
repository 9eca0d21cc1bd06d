"""RabbitMQ for tests: BROKER_URL, else a container when Docker answers, else a private node."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import pika
import pytest
import requests

from deploy.local import NotInstalledError, RabbitmqNode, StartError, package
from tests.support.deadline import eventually

_IMAGE = "rabbitmq:4"


class Broker(Protocol):
    """A RabbitMQ server in which a test run makes virtual hosts of its own."""

    def add_vhosts(self, names: Sequence[str]) -> None:
        """Create virtual hosts that the run's user may use."""

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with all its queues."""

    def vhost_url(self, vhost: str) -> str:
        """`amqp://` address of a virtual host."""


@pytest.fixture(scope="session")
def broker(workspace: Path) -> Iterator[Broker]:
    """The RabbitMQ server of this run."""
    if given := os.environ.get("BROKER_URL"):
        yield GivenBroker(given)
        return
    if docker_answers():
        with ContainerBroker() as container:
            yield container
        return
    yield from _private(workspace / "rabbitmq")


@pytest.fixture(scope="module")
def broker_url(broker: Broker) -> Iterator[str]:
    """A virtual host for the tests of this module: nothing of any other module is in it."""
    vhost = f"algasync-test-{os.getpid()}-{secrets.token_hex(4)}"
    broker.add_vhosts([vhost])
    yield broker.vhost_url(vhost)
    broker.delete_vhost(vhost)


@pytest.fixture(scope="module")
def _private_node(workspace: Path) -> Iterator[RabbitmqNode]:
    yield from _private(workspace / f"rabbitmq-{secrets.token_hex(4)}")


@pytest.fixture
def broker_node(_private_node: RabbitmqNode) -> RabbitmqNode:
    """A private, running node that the test may kill, wipe, stop and start; one a module (it takes 5 s)."""
    return _start(_private_node)


def docker_answers() -> bool:
    """Whether a Docker engine can be reached, asked with a deadline: often only its client is installed."""
    try:
        asked = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, timeout=2
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def amqp_refusal(url: str) -> str | None:
    """Why no AMQP connection can be opened at `url`; None when one can."""
    try:
        pika.BlockingConnection(pika.URLParameters(url)).close()
    except (OSError, TypeError, pika.exceptions.AMQPError) as refused:  # TypeError: a user without a password
        return repr(refused)
    return None


def _private(data: Path) -> Iterator[RabbitmqNode]:
    node = _start(RabbitmqNode(data))
    yield node
    node.kill()  # its data goes too: no need for the second that an orderly shutdown takes
    node.stop()


def _start(node: RabbitmqNode) -> RabbitmqNode:
    try:
        if not package.installed():
            package.install()
        node.start(dies_with_parent=True)
    except (NotInstalledError, StartError) as refused:
        pytest.fail(f"These tests need RabbitMQ, and there is none: {refused}", pytrace=False)
    return node


class ContainerBroker:
    """A broker in a container that testcontainers starts and removes."""

    def __init__(self) -> None:
        from testcontainers.core.container import DockerContainer  # slow to import, and seldom needed

        self._user, self._password = "algasync", secrets.token_hex(16)
        self._container = (
            DockerContainer(_IMAGE)
            .with_env("RABBITMQ_DEFAULT_USER", self._user)
            .with_env("RABBITMQ_DEFAULT_PASS", self._password)
            .with_exposed_ports(5672)
        )

    def __enter__(self) -> ContainerBroker:
        self._container.start()
        eventually(
            lambda: amqp_refusal(self.vhost_url("/")) is None, 90, what="RabbitMQ in its container answers"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._container.stop()

    def add_vhosts(self, names: Sequence[str]) -> None:
        """Create virtual hosts that the run's user may use."""
        for name in names:
            self._control("add_vhost", name)
            self._control("set_permissions", "-p", name, self._user, ".*", ".*", ".*")

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with all its queues."""
        self._control("delete_vhost", name)

    def vhost_url(self, vhost: str) -> str:
        """`amqp://` address of a virtual host."""
        host, port = self._container.get_container_host_ip(), self._container.get_exposed_port(5672)
        return f"amqp://{self._user}:{self._password}@{host}:{port}/{quote(vhost, safe='')}"

    def _control(self, *arguments: str) -> None:
        code, output = self._container.exec(["rabbitmqctl", "--quiet", *arguments])
        if code:
            raise RuntimeError(f"rabbitmqctl {arguments[0]} in the container: {output.decode()}")


class GivenBroker:
    """BROKER_URL, with virtual hosts made by its management API, else by this machine's `rabbitmqctl`."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._user = unquote(self._url.username or "guest")
        self._check()
        management = os.environ.get("BROKER_MANAGEMENT_URL") or f"http://{self._url.hostname}:15672"
        address = urlsplit(management)
        self._api = requests.Session()
        self._api.auth = (
            unquote(address.username or self._user),
            unquote(address.password or self._url.password or "guest"),
        )
        self._address = urlunsplit(address._replace(netloc=address.netloc.rpartition("@")[2])).rstrip("/")
        self._has_management = self._management_answers()

    def add_vhosts(self, names: Sequence[str]) -> None:
        """Create virtual hosts that the run's user may use."""
        for name in names:
            if self._has_management:
                rights = {"configure": ".*", "write": ".*", "read": ".*"}
                self._call("PUT", f"vhosts/{name}", {})
                self._call("PUT", f"permissions/{name}/{quote(self._user, safe='')}", rights)
            else:
                self._control("add_vhost", name)
                self._control("set_permissions", "-p", name, self._user, ".*", ".*", ".*")

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with all its queues."""
        if self._has_management:
            self._call("DELETE", f"vhosts/{name}")
        else:
            self._control("delete_vhost", name)

    def vhost_url(self, vhost: str) -> str:
        """`amqp://` address of a virtual host."""
        return urlunsplit(self._url._replace(path=f"/{quote(vhost, safe='')}"))

    def _check(self) -> None:
        if (refusal := amqp_refusal(urlunsplit(self._url))) is not None:
            pytest.fail(
                f"BROKER_URL does not answer ({refusal}): set it to a RabbitMQ 3.10-4.x, "
                "or unset it so that the tests start a node of their own",
                pytrace=False,
            )

    def _management_answers(self) -> bool:
        try:
            return self._api.get(f"{self._address}/api/overview", timeout=5).ok
        except requests.RequestException:
            return False

    def _call(self, method: str, path: str, body: object = None) -> None:
        self._api.request(method, f"{self._address}/api/{path}", json=body, timeout=30).raise_for_status()

    def _control(self, *arguments: str) -> None:
        try:
            done = subprocess.run(["rabbitmqctl", "--quiet", *arguments], capture_output=True, timeout=60)
            refusal = f"exit code {done.returncode}" if done.returncode else None
        except (OSError, subprocess.TimeoutExpired) as refused:
            refusal = str(refused)
        if refusal is not None:
            pytest.fail(
                "Each test module needs a virtual host of its own on BROKER_URL's server, and neither its "
                f"management API ({self._address}) nor this machine's rabbitmqctl ({refusal}) makes one: "
                "set BROKER_MANAGEMENT_URL=http://user:password@host:15672, "
                "or unset BROKER_URL so that the tests start a node of their own",
                pytrace=False,
            )
