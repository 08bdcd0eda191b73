"""The sf CLI, with the simulator and with tokens from the agent. Each of its commands takes seconds: few are run."""

import json
import os
import subprocess
from types import SimpleNamespace

import pytest

from conftest import MY_DOMAIN, QUERY, QUIET, REFUSALS
from programs import BINARIES

@pytest.fixture(scope="session")
def run(sf, environment):
    """Runs one command of it in the home that is given; its answer, be it a result or a failure."""

    def run(home, *arguments):
        command = [*sf, *arguments, "--json"]
        variables = environment | QUIET | {"HOME": str(home)}
        ended = subprocess.run(command, env=variables, text=True, capture_output=True)
        return answer_of(ended)

    return run


@pytest.fixture
def run_with_token(sf, agent, account, tmp_path):
    """Runs one command of it under `sfkey exec`, in a home where it knows no org."""
    def run(*arguments):
        command = ["exec", account, "--", *sf, *arguments, "--json"]
        return answer_of(agent.sfkey(*command, home=tmp_path, variables=QUIET))

    return run


def answer_of(ended):
    assert ended.stdout, f"it ended with {ended.returncode} and said nothing but: {ended.stderr}"
    answer = json.loads(ended.stdout)
    assert answer["status"] == ended.returncode
    return answer


def login(run, org, home, key, **changes):
    consumer_key = changes.get("consumer_key", org.consumer_key)
    user = ["--username", org.username, "--jwt-key-file", key, "--client-id", consumer_key]
    return run(home, "org", "login", "jwt", *user, "--alias", "prod")


@pytest.fixture(scope="session")
def home(run, org, pair, tmp_path_factory):
    """A home where sf has logged in by JWT, at its default host and with its default audience."""
    home = tmp_path_factory.mktemp("home")
    answer = login(run, org, home, pair.key)
    assert answer["status"] == 0, answer
    expected = {"username": org.username, "orgId": org.id, "instanceUrl": org.url}
    assert answer["result"].items() >= expected.items()
    exchange = org.last_exchange()
    assert (exchange["host"], exchange["outcome"]) == ("login.salesforce.com", "granted")
    assert exchange["claims"]["aud"] == "https://login.salesforce.com"
    return home


def query(run, home):
    return run(home, "data", "query", "--target-org", "prod", "--query", QUERY)


def names(answer):
    assert answer["status"] == 0, answer
    return [record["Name"] for record in answer["result"]["records"]]


def test_it_logs_in_by_jwt_and_queries(run, home):
    assert "Acme" in names(query(run, home))


def test_it_logs_in_again_by_itself_when_its_session_has_expired(run, home, org):
    org.expire_sessions()
    asked = org.asked()
    assert "Acme" in names(query(run, home))
    assert org.asked() == asked + 1


def test_it_tells_why_it_could_not_log_in_again(run, home, org, pair, other_pair):
    org.expire_sessions()
    with org.certificate(other_pair, before=pair):
        answer = query(run, home)
    assert answer["status"] == 1
    assert "Unable to refresh session due to: Error authenticating with JWT" in answer["message"]
    assert "invalid assertion" in answer["message"]


def test_it_does_not_log_in_again_for_a_session_that_rest_refuses(run, home, org):
    # Logs in again here, should another test have ended the session.
    assert "Acme" in names(query(run, home))
    asked = org.asked()
    with org.knob("rest", "not-valid-for-rest"):
        answer = query(run, home)
    assert answer["name"] == "INVALID_SESSION_ID"
    assert answer["message"] == "This session is not valid for use with the REST API"
    assert org.asked() == asked


@pytest.mark.parametrize("why", REFUSALS)
def test_it_tells_why_a_login_was_refused(run, org, pair, other_pair, tmp_path, why):
    key = (other_pair if why == "wrong key" else pair).key
    changes = {"consumer_key": "3MVG9.no.such.app"} if why == "unknown consumer key" else {}
    with org.refusing(why):
        answer = login(run, org, tmp_path, key, **changes)
    assert (answer["status"], answer["name"]) == (1, "JwtGrantError")
    assert "JwtAuthError" in answer["cause"]
    # It asks login.salesforce.com and then test.salesforce.com, and tells both answers.
    assert f"Errors encountered:\n{REFUSALS[why][1]}" in answer["message"]


def test_exec_gives_it_a_token_for_an_org_that_it_does_not_know(run_with_token, tmp_path):
    assert "Acme" in names(run_with_token("data", "query", "--query", QUERY))
    assert not list((tmp_path / ".sfdx").glob("*@*.json")), "nothing about the org is kept"


def test_a_token_from_exec_that_has_died_is_an_expired_session(run_with_token, agent, account, org, tmp_path):
    assert agent.sfkey("token", account, home=tmp_path).returncode == 0
    org.expire_sessions()
    answer = run_with_token("data", "query", "--query", QUERY)
    assert (answer["status"], answer["name"]) == (1, "INVALID_SESSION_ID")
    assert answer["message"] == "Session expired or invalid"


def test_a_token_from_exec_can_be_kept_by_it(run_with_token, org, tmp_path):
    instance = ["--instance-url", org.url, "--no-prompt"]
    answer = run_with_token("org", "login", "access-token", *instance)
    assert answer["status"] == 0, answer
    assert answer["result"]["username"] == org.username
    assert MY_DOMAIN in (tmp_path / ".sfdx" / f"{org.username}.json").read_text()


def test_it_logs_in_with_a_key_that_keygen_made(run, org, pair, agent, tmp_path):
    made = SimpleNamespace(key=tmp_path / "server.key", certificate=tmp_path / "server.crt")
    keygen = agent.sfkey("keygen", "--out", str(made.key), "--no-passphrase", home=tmp_path)
    assert keygen.returncode == 0, keygen.stderr
    with org.certificate(made, pair):
        answer = login(run, org, tmp_path, made.key)
    assert answer["status"] == 0, answer


def test_the_client_prints_a_token_as_the_cli_does(sf, environment, home, agent, account, tmp_path):
    command = [*sf, "org", "auth", "show-access-token", "--target-org", "prod", "--json"]
    variables = environment | QUIET | {"HOME": str(home)}
    shown = subprocess.run(command, env=variables, text=True, capture_output=True)
    theirs = json.loads(shown.stdout)
    ours = agent.sfkey("token", account, "-o", "sf", home=tmp_path)
    token = json.loads(ours.stdout)["result"]["accessToken"]
    assert shown.stdout == json.dumps(theirs, indent=2, ensure_ascii=False) + "\n"
    # Its warning is that it shows a token.
    expected = theirs | {"result": theirs["result"] | {"accessToken": token}, "warnings": []}
    assert ours.stdout == json.dumps(expected, indent=2) + "\n"


def test_a_script_that_asks_the_cli_for_a_token_can_be_given_the_client(agent, account, tmp_path):
    shim = tmp_path / "sf"
    shim.write_text(f'#!/bin/sh\n# org auth show-access-token --target-org NAME --json\nexec {BINARIES}/sfkey token -o sf "$5"\n')
    shim.chmod(0o755)
    script = """sf org auth show-access-token --target-org "$1" --json |
        python3 -c "import json, sys; print(json.load(sys.stdin)['result']['accessToken'])" """
    variables = agent.environment | {"HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.defpath}"}
    ended = subprocess.run(["sh", "-c", script, "script", account], env=variables, text=True, capture_output=True)
    plain = agent.sfkey("token", account, home=tmp_path)
    assert ended.stdout == plain.stdout, ended.stderr
