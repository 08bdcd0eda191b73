"""`sfkey import`, from a ~/.sfdx that the real sf CLI has written."""

import json
import shutil

import pytest

from conftest import QUERY, QUIET
from test_sf import answer_of, login, names, run  # noqa: F401 (a fixture)


@pytest.fixture
def home(run, org, pair, tmp_path):
    """A home where sf has logged in by JWT, with a key of its own place."""
    shutil.copy(pair.key, tmp_path / "server.key")
    answer = login(run, org, tmp_path, tmp_path / "server.key")
    assert answer["status"] == 0, answer
    return tmp_path


def test_a_login_of_the_sf_cli_becomes_an_account(agent, sf, org, home):
    shown = agent.sfkey("import", "--json", home=home)
    assert shown.returncode == 0, shown.stderr
    (found,) = json.loads(shown.stdout)["accounts"]
    expected = {
        "account": "prod",
        "username": org.username,
        "consumer_key": org.consumer_key,
        "login_url": "https://login.salesforce.com",
        "key_file": str(home / "server.key"),
        "outcome": "found",
    }
    assert found.items() >= expected.items()
    config = home / ".config/sfkey/config.toml"
    assert not config.exists(), "without --apply nothing is changed"

    (home / "passphrase").write_text("correct horse battery staple\n")
    (home / "passphrase").chmod(0o600)
    asked = org.asked()
    applied = agent.sfkey("import", "--apply", "--passphrase-file", home / "passphrase", "--json", home=home)
    assert applied.returncode == 0, applied.stderr
    assert json.loads(applied.stdout)["accounts"][0]["outcome"] == "imported"
    assert org.asked() == asked + 1, "it was verified"
    kept = home / ".config/sfkey/keys/prod.key"
    assert "BEGIN ENCRYPTED PRIVATE KEY" in kept.read_text()
    assert "[accounts.prod]" in config.read_text()
    assert (home / "server.key").exists(), "it is removed only when somebody says so"

    # Without the key in the clear sf works with tokens from the agent, and by them alone.
    (home / "server.key").unlink()
    shutil.rmtree(home / ".sfdx")
    command = ["exec", "prod", "--", *sf, "data", "query", "--query", QUERY, "--json"]
    answer = answer_of(agent.sfkey(*command, home=home, variables=QUIET))
    assert "Acme" in names(answer)
    agent.sfkey("remove", "prod", home=home)
