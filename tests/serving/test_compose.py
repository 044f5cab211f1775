"""recipes/serving/compose.yaml: what it names exists, and agrees with write_server_config."""

import inspect
import re
import shlex
import subprocess
from pathlib import Path

import keras
import pytest
import yaml

from keras_negrec.serving import write_server_config

ROOT = Path(__file__).parents[2]
FILE = ROOT / "recipes" / "serving" / "compose.yaml"
DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(write_server_config).parameters.items()
}


@pytest.fixture
def service():
    [service] = yaml.safe_load(FILE.read_text("utf-8"))["services"].values()
    return service


def flags(service, **environment):
    """The server's flags, with ${NAME:+text} replaced as docker compose does it."""
    command = re.sub(
        r"\$\{(\w+):\+([^}]*)\}",
        lambda found: found[2] if environment.get(found[1]) else "",
        service["command"],
    )
    assert "$" not in command
    parts = [part.removeprefix("--").partition("=") for part in shlex.split(command)]
    return {name: value for name, _, value in parts}


def test_image_ports_and_models(service):
    assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", service["image"])
    found = flags(service)
    assert found["port"] == "8500" and found["rest_api_port"] == "8501"
    assert service["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    [volume] = service["volumes"]
    source, target, mode = volume.split(":")
    assert (FILE.parent / source).resolve() == ROOT / "saved_models"
    assert (target, mode) == (DEFAULTS["container_path"], "ro")


def test_the_files_are_those_that_are_written(service, tmp_path):
    (tmp_path / "radio" / "1").mkdir(parents=True)
    (tmp_path / "radio" / "1" / "saved_model.pb").touch()
    models, monitoring, batching = write_server_config(tmp_path)
    found = flags(service, TF_SERVING_BATCHING="1")
    folder = DEFAULTS["container_path"]
    assert found["model_config_file"] == f"{folder}/{models.name}"
    assert found["monitoring_config_file"] == f"{folder}/{monitoring.name}"
    assert found["batching_parameters_file"] == f"{folder}/{batching.name}"
    assert f'path: "{DEFAULTS["prometheus_path"]}"' in monitoring.read_text()


def test_batching_is_off_until_asked_for(service):
    with_batching, without = flags(service, TF_SERVING_BATCHING="1"), flags(service)
    # The server refuses the file without the switch, so they come and go together.
    assert set(with_batching) - set(without) == {"enable_batching", "batching_parameters_file"}


def test_the_commands_at_the_top_name_what_exists():
    comment = "".join(re.findall(r"^# ?(.*\n)", FILE.read_text("utf-8"), flags=re.M))
    recipes = set(re.findall(r"recipes/[\w/]+\.py", comment))
    assert recipes == {"recipes/quickstart.py", "recipes/serving/client.py"}
    assert all((ROOT / recipe).exists() for recipe in recipes)
    assert "kn.serving.write_server_config('saved_models')" in comment


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="what is served runs on TensorFlow"
)
def test_the_health_check(service):
    from stand_in_server import StandInServer

    command, *arguments = service["healthcheck"]["test"]
    assert command == "CMD"
    with StandInServer({}) as server:
        port = str(server.rest_port)

        def healthy(path=DEFAULTS["prometheus_path"]):
            assert (
                "/127.0.0.1/8501 " in arguments[-1] and DEFAULTS["prometheus_path"] in arguments[-1]
            )
            check = arguments[-1].replace("8501", port).replace(DEFAULTS["prometheus_path"], path)
            result = subprocess.run([*arguments[:-1], check], capture_output=True, timeout=20)
            return result.returncode == 0

        assert healthy()
        assert not healthy("/not/there")
    assert not healthy()
