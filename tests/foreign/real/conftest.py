"""A simulated org with Salesforce's own host names, an agent, and keys made by openssl."""

import contextlib
import json
import os
import subprocess
import tempfile
import urllib.parse
import urllib.request

import pytest

from programs import BINARIES, TARGET, Program
from relay import Relay

MY_DOMAIN = "acme.my.salesforce.com"
QUERY = "SELECT Id, Name FROM Account"

# The packages for Node, among them the sf CLI and the Node it wants.
MODULES = TARGET / "tools/real-node/node_modules"

# No reports, no updates, no look at a registry, no keyring of the desktop, no DNS: only what the command is for.
QUIET = {
    "SF_AUTOUPDATE_DISABLE": "true",
    "SF_DISABLE_AUTOUPDATE": "true",
    "SF_DISABLE_TELEMETRY": "true",
    "SF_SKIP_NEW_VERSION_CHECK": "true",
    "SF_USE_GENERIC_UNIX_KEYCHAIN": "true",
    "SFDX_DISABLE_DNS_CHECK": "true",
}

# Which requests are refused, and why, in the words of the token endpoint. A wrong audience is one that the app does not
# take: an app that wants the My Domain, asked through the login host.
REFUSALS = {
    "wrong key": ("invalid_grant", "invalid assertion"),
    "wrong audience": ("invalid_grant", "audience is invalid"),
    "unknown consumer key": ("invalid_client_id", "client identifier invalid"),
}


class KeyPair:
    """server.key and server.crt, made as Salesforce's guide makes them."""

    def __init__(self, directory):
        directory.mkdir()
        self.key, self.certificate = directory / "server.key", directory / "server.crt"
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=sfkey".split()
        files = ["-keyout", self.key, "-out", self.certificate]
        subprocess.run([*command, *files], check=True, capture_output=True)


class Org:
    """salesforce-sim with an app that has the suite's certificate, and its control interface."""

    def __init__(self, directory, pair):
        config = directory / "simulator.toml"
        config.write_text(f'[[orgs]]\nname = "acme"\nhosts = ["{MY_DOMAIN}"]\n')
        self.ca = directory / "ca.pem"
        files = [f"--config={config}", f"--certificate={pair.certificate}", f"--ca-out={self.ca}"]
        arguments = ["--json", "--exit-on-stdin-close", *files]
        self.program = Program("salesforce-sim", arguments, {"PATH": os.defpath}, "stdout")
        ready = self.program.wait_for(lambda event: event["ready"])
        self.url, self.port, self.id = ready["url"], ready["port"], ready["org_id"]
        self.consumer_key, self.username = ready["consumer_key"], ready["username"]
        self.app = f"apps/{urllib.parse.quote(self.consumer_key)}"
        self.control_url = ready["control_url"]

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.control_url}/{path}", data, method=method)
        # Whatever proxy the environment names, it is not for this.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return json.load(answer)

    def asked(self):
        """How many exchanges it was asked for."""
        return self.control("GET", "counters")["asked"]

    def last_exchange(self):
        """The latest token request, decoded."""
        return self.control("GET", "exchanges")[-1]

    def expire_sessions(self):
        self.control("DELETE", "sessions")

    @contextlib.contextmanager
    def knob(self, name, value):
        """Turns a knob for a while."""
        before = self.control("GET", "knobs")[name]
        self.control("PATCH", "knobs", {name: value})
        try:
            yield
        finally:
            self.control("PATCH", "knobs", {name: before})

    @contextlib.contextmanager
    def certificate(self, pair, before):
        """Gives the app another certificate for a while."""
        self.control("PATCH", self.app, {"certificate": pair.certificate.read_text()})
        try:
            yield
        finally:
            self.control("PATCH", self.app, {"certificate": before.certificate.read_text()})

    def refusing(self, why):
        """What the org is made to want for a while, where a login is not wrong in itself."""
        if why == "wrong audience":
            return self.knob("audience", "my-domain-only")
        return contextlib.nullcontext()


class Agent:
    """sfkey-agent, and the client beside it."""

    def __init__(self, home, org, pair, environment):
        self.org, self.pair = org, pair
        self.environment = environment | {"XDG_RUNTIME_DIR": home}
        environment = self.environment | {"HOME": home, "SSL_CERT_FILE": str(org.ca)}
        self.program = Program("sfkey-agent", ["--log-format=json"], environment, "stderr")
        self.program.wait_for(lambda event: event.get("message") == "ready")

    def sfkey(self, *arguments, home, variables=None):
        """Runs the client; what it printed and how it ended."""
        command = [BINARIES / "sfkey", *arguments]
        environment = self.environment | {"HOME": str(home)} | (variables or {})
        return subprocess.run(command, env=environment, text=True, capture_output=True)

    def add(self, name, home):
        """Loads an account that logs in where everybody does."""
        org = {"--login-url": "https://login.salesforce.com", "--consumer-key": self.org.consumer_key}
        user = {"--username": self.org.username, "--key": self.pair.key}
        arguments = [word for option in (org | user).items() for word in option]
        added = self.sfkey("add", name, *arguments, home=home)
        assert added.returncode == 0, added.stderr


@pytest.fixture(scope="session")
def sf():
    """The command line that starts it: the Node it wants comes as a package of its own."""
    node = next(MODULES.glob("node-linux-*/bin/node"), None)
    program = MODULES / "@salesforce/cli/bin/run.js"
    if node is None or not program.exists():
        # What can be installed is never skipped in CI.
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("the sf CLI is not installed")
    return [node, program]


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    return KeyPair(tmp_path_factory.mktemp("keys") / "app")


@pytest.fixture(scope="session")
def other_pair(tmp_path_factory):
    return KeyPair(tmp_path_factory.mktemp("keys") / "other")


@pytest.fixture(scope="session")
def org(tmp_path_factory, pair):
    org = Org(tmp_path_factory.mktemp("simulator"), pair)
    yield org
    assert org.program.end() == 0


@pytest.fixture(scope="session")
def relay(org):
    with Relay(org.port) as relay:
        yield relay


@pytest.fixture(scope="session")
def environment(org, relay):
    """What a client finds in its environment, but for its home."""
    trust = dict.fromkeys(["NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"], str(org.ca))
    return {"PATH": os.defpath, "HTTPS_PROXY": relay.url} | trust


@pytest.fixture(scope="session")
def agent(org, pair, environment):
    # Not below pytest's folder: a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="sfkey-") as home:
        agent = Agent(home, org, pair, environment)
        yield agent
        assert agent.program.end() == 0


@pytest.fixture
def account(agent, request, tmp_path):
    """The name of an account that only this test uses, so that its token is fresh."""
    name = request.node.originalname
    agent.add(name, tmp_path)
    return name
