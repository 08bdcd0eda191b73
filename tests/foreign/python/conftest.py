"""A simulated org and an agent for the suite to talk to, with files and a home of their own."""

import json
import os
import sys
import tempfile
import urllib.request

import grpc
import pytest

from account import Key, Loader
from programs import ROOT, Program


def pytest_configure(config):
    """Compiles the contract as any Python project would, before the tests import it."""
    from grpc_tools import protoc

    config.stubs = tempfile.TemporaryDirectory(prefix="sfkey-stubs-")
    protos = sorted((ROOT / "proto").glob("sfkey/agent/v1/*.proto"))
    arguments = [f"--proto_path={ROOT / 'proto'}", f"--python_out={config.stubs.name}"]
    arguments += [f"--grpc_python_out={config.stubs.name}", *map(str, protos)]
    if not protos or protoc.main(["protoc", *arguments]) != 0:
        raise pytest.UsageError("the contract in proto/ does not compile")
    sys.path.insert(0, config.stubs.name)


def pytest_unconfigure(config):
    config.stubs.cleanup()


class Simulator:
    """salesforce-sim with an app that has the suite's certificate."""

    def __init__(self, directory, key):
        certificate = directory / "server.crt"
        certificate.write_bytes(key.certificate_pem)
        self.ca = directory / "ca.pem"
        arguments = ["--json", "--exit-on-stdin-close", f"--certificate={certificate}", f"--ca-out={self.ca}"]
        self.program = Program("salesforce-sim", arguments, {"PATH": os.defpath}, "stdout")
        ready = self.program.wait_for(lambda event: event["ready"])
        self.url, self.control = ready["url"], ready["control_url"]
        self.consumer_key, self.username = ready["consumer_key"], ready["username"]
        self.org_id = ready["org_id"]

    def asked(self):
        """How many exchanges it was asked for."""
        with urllib.request.urlopen(f"{self.control}/counters") as answer:
            return json.load(answer)["asked"]


@pytest.fixture(scope="session")
def key():
    return Key()


@pytest.fixture(scope="session")
def simulator(tmp_path_factory, key):
    simulator = Simulator(tmp_path_factory.mktemp("simulator"), key)
    yield simulator
    assert simulator.program.end() == 0


@pytest.fixture(scope="session")
def agent_socket(simulator):
    # Not below pytest's folder: a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="sfkey-") as home:
        environment = {"PATH": os.defpath, "HOME": home, "XDG_RUNTIME_DIR": home, "SSL_CERT_FILE": str(simulator.ca)}
        program = Program("sfkey-agent", ["--log-format=json"], environment, "stderr")
        yield program.wait_for(lambda event: event.get("message") == "ready")["socket"]
        assert program.end() == 0


@pytest.fixture
def channel(agent_socket):
    """A connection of the test's own.

    gRPC's C core sends the socket's path as :authority, which HTTP/2 servers refuse: it has to be named.
    """
    with grpc.insecure_channel(f"unix:{agent_socket}", [("grpc.default_authority", "localhost")]) as channel:
        yield channel


@pytest.fixture
def load(channel, simulator, key):
    return Loader(channel, simulator, key)
