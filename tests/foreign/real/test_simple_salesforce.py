"""simple-salesforce, the client for Python, with the simulator and with tokens from the agent."""

import json
import sys
from pathlib import Path

import pytest
import requests
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import SalesforceAuthenticationFailed, SalesforceExpiredSession

from conftest import MY_DOMAIN, QUERY, REFUSALS


@pytest.fixture
def session(org, relay):
    """A session of requests that goes by the relay, trusts the simulator, and asks the environment nothing."""
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"https": relay.url}
        session.verify = str(org.ca)
        yield session


@pytest.fixture
def login(org, pair, session):
    """Logs in by JWT as the library does it."""

    def login(**changes):
        settings = {"username": org.username, "consumer_key": org.consumer_key, "privatekey_file": pair.key}
        return Salesforce(session=session, **(settings | changes))

    return login


def names(answer):
    return [record["Name"] for record in answer["records"]]


def test_it_logs_in_at_the_default_host_and_queries(org, login):
    salesforce = login()
    exchange = org.last_exchange()
    assert (exchange["host"], exchange["outcome"]) == ("login.salesforce.com", "granted")
    assert exchange["claims"]["aud"] == "https://login.salesforce.com"
    assert f"https://{salesforce.sf_instance}" == org.url
    assert "Acme" in names(salesforce.query(QUERY))


def test_it_logs_in_at_the_my_domain_and_queries(org, login):
    salesforce = login(instance_url="acme.my")
    assert org.last_exchange()["host"] == MY_DOMAIN
    assert "Acme" in names(salesforce.query(QUERY))


def test_it_takes_a_key_that_is_not_in_a_file(pair, login):
    salesforce = login(privatekey_file=None, privatekey=pair.key.read_text())
    assert "Acme" in names(salesforce.query(QUERY))


@pytest.mark.parametrize("why", REFUSALS)
def test_it_tells_why_a_login_was_refused(org, other_pair, login, why):
    mistake = {
        "wrong key": {"privatekey_file": other_pair.key},
        "unknown consumer key": {"consumer_key": "3MVG9.no.such.app"},
    }
    with org.refusing(why), pytest.raises(SalesforceAuthenticationFailed) as raised:
        login(**mistake.get(why, {}))
    error, description = REFUSALS[why]
    assert raised.value.code == error
    assert str(raised.value) == f"Authentication failed (code: {error}): {description}"


def test_it_knows_an_expired_session(org, login, session):
    salesforce = Salesforce(session=session, session_id=login().session_id, instance_url=org.url)
    assert "Acme" in names(salesforce.query(QUERY))
    org.expire_sessions()
    with pytest.raises(SalesforceExpiredSession) as raised:
        salesforce.query(QUERY)
    assert raised.value.status == 401
    assert raised.value.content == [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]


def test_it_logs_in_again_by_itself_when_its_session_has_expired(org, login):
    salesforce = login()
    first = salesforce.session_id
    org.expire_sessions()
    asked = org.asked()
    assert "Acme" in names(salesforce.query(QUERY))
    assert org.asked() == asked + 1
    assert salesforce.session_id != first


def test_a_token_from_the_agent_serves_it(agent, account, session, tmp_path):
    told = agent.sfkey("token", account, "-o", "json", home=tmp_path)
    assert told.returncode == 0, told.stderr
    token = json.loads(told.stdout)
    salesforce = Salesforce(
        session=session, session_id=token["access_token"], instance_url=token["instance_url"]
    )
    assert "Acme" in names(salesforce.query(QUERY))


def test_a_token_from_the_agent_that_has_died_is_an_expired_session(org, agent, account, session, tmp_path):
    token = json.loads(agent.sfkey("token", account, "-o", "json", home=tmp_path).stdout)
    salesforce = Salesforce(
        session=session, session_id=token["access_token"], instance_url=token["instance_url"]
    )
    org.expire_sessions()
    with pytest.raises(SalesforceExpiredSession):
        salesforce.query(QUERY)


def test_exec_gives_it_what_it_needs(agent, account, tmp_path):
    program = Path(__file__).with_name("query.py")
    ended = agent.sfkey("exec", account, "--", sys.executable, program, QUERY, home=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "Acme" in names(json.loads(ended.stdout))
