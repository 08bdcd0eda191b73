"""GetToken and ListAccounts from Python."""

import json
import ssl
import time
import urllib.request

import grpc
import pytest
from sfkey.agent.v1 import token_pb2, token_pb2_grpc
from sfkey.agent.v1.token_pb2 import TokenState

from details import error_info, fix


@pytest.fixture
def tokens(channel):
    return token_pb2_grpc.TokenServiceStub(channel)


def test_a_token_opens_the_rest_api(load, tokens, simulator):
    load("rest")
    answer = tokens.GetToken(token_pb2.GetTokenRequest(account="rest"))
    token = answer.token
    assert answer.protocol_version == 1
    assert (token.account, token.token_type, token.username) == ("rest", "Bearer", simulator.username)
    assert token.org_id == simulator.org_id
    assert token.id == f"{simulator.url}/id/{token.org_id}/{token.user_id}"
    assert time.time() < token.expires_at <= time.time() + 24 * 3600
    request = urllib.request.Request(
        f"{token.instance_url}/services/data/v64.0/limits",
        headers={"Authorization": f"Bearer {token.access_token}"},
    )
    trust = ssl.create_default_context(cafile=simulator.ca)
    with urllib.request.urlopen(request, context=trust) as limits:
        assert "DailyApiRequests" in json.load(limits)


def test_the_second_request_is_answered_from_memory(load, tokens, simulator):
    load("memory")
    first = tokens.GetToken(token_pb2.GetTokenRequest(account="memory"))
    asked = simulator.asked()
    second = tokens.GetToken(token_pb2.GetTokenRequest(account="memory"))
    assert first.token.access_token == second.token.access_token
    assert simulator.asked() == asked


def test_an_account_that_is_not_loaded_is_refused_with_a_next_step(tokens):
    with pytest.raises(grpc.RpcError) as raised:
        tokens.GetToken(token_pb2.GetTokenRequest(account="nobody"))
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    assert error_info(raised.value).reason == "ACCOUNT_NOT_LOADED"
    assert "sfkey add" in fix(raised.value)


def test_what_salesforce_refused_is_told_in_its_own_words(load, tokens):
    load("unknown-app", consumer_key="3MVG9.no.such.app")
    with pytest.raises(grpc.RpcError) as raised:
        tokens.GetToken(token_pb2.GetTokenRequest(account="unknown-app"))
    assert raised.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    info = error_info(raised.value)
    assert info.reason == "SALESFORCE_REFUSED"
    assert info.metadata["error"] == "invalid_client_id"
    assert info.metadata["error_description"] == "client identifier invalid"
    assert info.metadata["http_status"] == "400"
    assert fix(raised.value)


def test_accounts_are_listed_by_name_with_state_and_no_secret(load, tokens, key):
    load("list-b")
    load("list-a")
    tokens.GetToken(token_pb2.GetTokenRequest(account="list-a"))
    answer = tokens.ListAccounts(token_pb2.ListAccountsRequest())
    listed = {account.account: account for account in answer.accounts}
    assert list(listed) == sorted(listed)
    assert listed["list-a"].token.state == TokenState.STATE_LIVE
    assert listed["list-b"].token.state == TokenState.STATE_NONE
    assert key.pkcs1_der[-32:] not in answer.SerializeToString()
