"""A private RabbitMQ node from the machine's own `rabbitmq-server` package (3.10 to 4.x).

Own name, ports, cookie, port mapper (epmd), plugins, data and logs, all on loopback and all below one folder:
a system-wide broker on the same machine is neither used nor disturbed. It runs as the calling account.
See https://www.rabbitmq.com/docs/configure for the settings,
https://www.rabbitmq.com/docs/networking for the ports.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypedDict
from urllib.parse import quote

import amqp

from deploy.local import package
from deploy.local.process import (
    NotRunningError,
    StartError,
    end,
    environment_of,
    free_port,
    last_lines,
    locked,
    make_folder,
    port_is_free,
    process,
    read,
    secret,
    spawn,
    wait_until,
)

_NODE: Final = "algasync@localhost"
_USER: Final = "algasync"
_LOOPBACK: Final = "-kernel inet_dist_use_interface {127,0,0,1}"
_ELECT: Final = """
[catch ra:trigger_election(amqqueue:get_pid(Queue)) || Queue <- rabbit_amqqueue:list_local_quorum_queues()].
"""


class RabbitmqStatus(TypedDict):
    """What `status` answers; `pid` and `port` are None while the node is down."""

    running: bool
    version: str | None
    pid: int | None
    port: int | None
    data: str


class _Ports(NamedTuple):
    amqp: int
    distribution: int
    epmd: int
    management: int


class RabbitmqNode:
    """One RabbitMQ node in `data`; every process that names the same folder shares the same node.

    `plugins` are enabled at start; `rabbitmq_management` also gives the node a `management_url`.
    """

    def __init__(self, data: Path = Path(".data/rabbitmq"), *, plugins: Sequence[str] = ()) -> None:
        self.data = data.absolute()
        self.log = self.data / "rabbitmq.log"
        self._output = self.data / "startup.log"
        self._plugins = tuple(plugins)
        self._password = self.data / "password"
        self._ports_file = self.data / "ports.json"
        self._pid_file = self.data / "pids.json"

    @property
    def url(self) -> str:
        """`amqp://` address of the virtual host `/`; raises `NotRunningError`."""
        return self.vhost_url("/")

    @property
    def management_url(self) -> str:
        """`http://` address of the management API; raises `NotRunningError` without its plugin."""
        if self.pid is None or "rabbitmq_management" not in self._plugins:
            raise NotRunningError(
                f"the RabbitMQ node in {self.data} serves no management API; "
                'start it with plugins=["rabbitmq_management"]'
            )
        return f"http://{_USER}:{secret(self._password)}@127.0.0.1:{self._ports().management}"

    def vhost_url(self, vhost: str) -> str:
        """`amqp://` address of a virtual host; raises `NotRunningError`."""
        if self.pid is None:
            raise NotRunningError(
                f"no RabbitMQ runs in {self.data}; start it with: python -m deploy.local start"
            )
        return self._url(vhost)

    @property
    def pid(self) -> int | None:
        """Process id of the running node, None while it is down."""
        return self._living("node")

    def start(self, *, dies_with_parent: bool = False, timeout: float = 60) -> str:
        """Start the node, or attach to the one that runs in this folder, and return its URL.

        Ready means that an AMQP connection has been opened. `dies_with_parent` ties a node started here to
        the life of the calling thread (Linux). Raises `NotInstalledError` or `StartError`.
        """
        for _ in range(3):
            attached = self.pid
            pid = attached or self.launch(dies_with_parent=dies_with_parent)
            if self._came_up(pid, timeout):
                self._mend_after_crash()
                return self.url
            if process(pid) is not None:
                self.kill()
                break
            if attached is None and all(
                port_is_free(port) for port in (self._ports().amqp, self._ports().distribution)
            ):
                break  # not for want of a port, which somebody may take between its choice and its use
        self._stop_epmd()
        raise StartError(
            f"RabbitMQ did not start in {self.data}. The end of {self._output}:\n{last_lines(self._output)}\n"
            f"The end of {self.log}:\n{last_lines(self.log)}"
        )

    def launch(self, *, dies_with_parent: bool = False) -> int:
        """Begin to start the node without waiting, so that the caller can do other things before `start`.

        Returns the process id of the node, which may be one that runs already. Raises `NotInstalledError`.
        """
        folder = package.scripts()
        make_folder(self.data)
        with locked(self.data / "lock"):
            if (running := self.pid) is not None:
                return running
            self._configure()
            ports, environment = self._ports(), self._environment()
            sign = signal.SIGTERM if dies_with_parent else None
            epmd = self._living("epmd") or spawn(
                [package.epmd(), "-port", str(ports.epmd)],
                log=self._output,
                environment=environment,
                dies_with_parent=sign,
            )
            node = spawn(
                [folder / "rabbitmq-server"], log=self._output, environment=environment, dies_with_parent=sign
            )
            crashed = self._pid_file.exists()
            self._pid_file.write_text(json.dumps({"node": node, "epmd": epmd, "crashed": crashed}))
            return node

    def stop(self, timeout: float = 30) -> None:
        """Shut down in order: messages are on disk, connections told. Nothing happens when it is down."""
        if (pid := self.pid) is not None:
            end(pid, signal.SIGTERM, timeout)
        self._stop_epmd()
        self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL the node, as a crash of the machine would end it."""
        if (pid := self.pid) is not None:
            end(pid, signal.SIGKILL, 10)

    def wipe(self) -> None:
        """Delete everything the broker stored, as a lost disk would; address and password stay.

        Queues, messages and virtual hosts other than `/` are gone. Raises `RuntimeError` while it runs.
        """
        if self.pid is not None:
            raise RuntimeError(
                f"the RabbitMQ node in {self.data} is running; stop or kill it before wiping it"
            )
        shutil.rmtree(self.data / "mnesia", ignore_errors=True)

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` on this node and return what it printed; raises `RuntimeError` when it fails."""
        done = subprocess.run(  # noqa: S603 - the server's own program
            [package.scripts() / "rabbitmqctl", "--quiet", *arguments],
            env=self._environment(),
            cwd=self.data,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {arguments[0]}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def add_vhosts(self, names: Sequence[str]) -> None:
        """Create virtual hosts for the node's user, all in one call: `rabbitmqctl` costs 0.4 s each time."""
        everything = {"user": _USER, "configure": ".*", "write": ".*", "read": ".*"}
        definitions = self.data / "definitions.json"
        definitions.write_text(
            json.dumps(
                {
                    "vhosts": [{"name": name} for name in names],
                    "permissions": [{"vhost": name, **everything} for name in names],
                }
            )
        )
        self.control("import_definitions", str(definitions))

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with its queues; open connections to it are closed."""
        self.control("delete_vhost", name)

    def status(self) -> RabbitmqStatus:
        """Whether it runs, and where; `version` is None when the package is not installed."""
        pid = self.pid
        return {
            "running": pid is not None,
            "version": package.version(),
            "pid": pid,
            "port": self._ports().amqp if pid is not None else None,
            "data": str(self.data),
        }

    def _url(self, vhost: str) -> str:
        return (
            f"amqp://{_USER}:{secret(self._password)}@127.0.0.1:{self._ports().amqp}/{quote(vhost, safe='')}"
        )

    def _living(self, role: str) -> int | None:
        """The process of the last start with this role, if it lives; a recycled process id does not count."""
        try:
            pid = int(json.loads(read(self._pid_file))[role])
        except (KeyError, ValueError):
            return None
        # Our own setting, which the process keeps while it turns from a script into Erlang.
        return pid if environment_of(pid).get("HOME") == str(self.data) else None

    def _ports(self) -> _Ports:
        return _Ports(*json.loads(read(self._ports_file)))

    def _configure(self) -> None:
        """Choose ports (those of the last start where still free) and write the node's own settings."""
        try:
            last = self._ports()
        except (ValueError, TypeError):
            last = _Ports(*(free_port() for _ in _Ports._fields))
        ports = _Ports(*(port if port_is_free(port) else free_port() for port in last))
        if self._living("epmd") is not None:
            ports = ports._replace(epmd=last.epmd)
        self._ports_file.write_text(json.dumps(ports))
        secret(self.data / ".erlang.cookie", mode=0o400)
        settings = {
            "listeners.tcp.1": f"127.0.0.1:{ports.amqp}",
            "default_user": _USER,
            "default_pass": secret(self._password),
            f"loopback_users.{_USER}": "true",
            "disk_free_limit.absolute": "20MB",
            "log.console": "false",
            "log.file": str(self.log),
            "log.file.level": "info",
        }
        if "rabbitmq_management" in self._plugins:
            settings |= {"management.tcp.ip": "127.0.0.1", "management.tcp.port": str(ports.management)}
        configuration = self.data / "rabbitmq.conf"
        configuration.touch(mode=0o600)
        configuration.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        (self.data / "enabled_plugins").write_text(f"[{','.join(self._plugins)}].\n")
        (self.data / "environment.conf").touch()

    def _environment(self) -> dict[str, str]:
        """A clean environment: nothing of a system-wide broker's settings comes through."""
        ports = self._ports()
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RABBITMQ_", "ERL_", "NOTIFY_"))
        }
        return {
            **inherited,
            "HOME": str(self.data),  # where Erlang looks for the cookie
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(ports.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": str(self.data / "erl_crash.dump"),
            "RUNNING_UNDER_SYSTEMD": "true",  # the script then becomes the node instead of a shell above it
            "RABBITMQ_NODENAME": _NODE,
            "RABBITMQ_DIST_PORT": str(ports.distribution),
            "RABBITMQ_CONF_ENV_FILE": str(self.data / "environment.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.data / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.data / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.data / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.data / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.data / "log"),
            "RABBITMQ_PID_FILE": str(self.data / "rabbitmq.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{_LOOPBACK} -start_epmd false",
            "RABBITMQ_CTL_ERL_ARGS": _LOOPBACK,
        }

    def _came_up(self, pid: int, timeout: float) -> bool:
        wait_until(lambda: process(pid) is None or self._answers(), timeout)
        return process(pid) is not None and self._answers()

    def _answers(self) -> bool:
        address = f"127.0.0.1:{self._ports().amqp}"
        try:
            with amqp.Connection(address, _USER, secret(self._password), connect_timeout=5):
                return True
        except (OSError, amqp.AMQPError):
            return False

    def _mend_after_crash(self) -> None:
        """Give every quorum queue a leader.

        A queue declared less than a second before a crash has not stored its first term; after the restart it
        takes itself for new, waits to be told to elect, and neither confirms nor delivers anything, for ever
        (seen with 3.10.8; https://github.com/rabbitmq/rabbitmq-server/issues/10070).
        """
        last = json.loads(self._pid_file.read_text())
        if last["crashed"]:
            self.control("eval", _ELECT)
            self._pid_file.write_text(json.dumps(last | {"crashed": False}))

    def _stop_epmd(self) -> None:
        if (pid := self._living("epmd")) is not None:
            end(pid, signal.SIGTERM, 5)
