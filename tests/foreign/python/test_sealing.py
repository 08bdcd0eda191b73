"""AddAccount, sealed by an implementation of RFC 9180 that is not the agent's."""

import grpc
import pytest
from sfkey.agent.v1.agent_pb2 import AddAccountResponse

from details import error_info


def test_an_account_that_python_sealed_is_loaded(load, simulator):
    added = load("sealed-in-python")
    assert added.outcome == AddAccountResponse.OUTCOME_ADDED
    assert added.account.account == "sealed-in-python"
    assert added.account.username == simulator.username
    assert added.account.audience == simulator.url


def test_the_same_account_again_changes_nothing(load):
    load("twice")
    assert load("twice").outcome == AddAccountResponse.OUTCOME_UNCHANGED


def test_a_sealing_key_has_32_bytes_and_the_agent_16_of_identity(load):
    sealing = load.sealing_key()
    assert (len(sealing.public_key), len(sealing.instance_id)) == (32, 16)
    assert sealing.instance_id == load.sealing_key().instance_id
    assert sealing.public_key != load.sealing_key().public_key


def refused(load, request):
    with pytest.raises(grpc.RpcError) as raised:
        load.agent.AddAccount(request)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(raised.value).reason == "INVALID"


def test_a_sealing_key_opens_one_request_and_no_second(load):
    sealing = load.sealing_key()
    load.agent.AddAccount(load.sealed(load.spec("first"), sealing))
    refused(load, load.sealed(load.spec("second"), sealing))


def test_a_request_sealed_for_another_method_does_not_open(load):
    refused(load, load.sealed(load.spec("x"), load.sealing_key(), info=b"sfkey.agent.v1/Lock"))


def test_a_request_sealed_for_another_agent_does_not_open(load):
    refused(load, load.sealed(load.spec("x"), load.sealing_key(), aad=bytes(16)))


def test_a_changed_ciphertext_does_not_open(load):
    request = load.sealed(load.spec("x"), load.sealing_key())
    request.ciphertext = request.ciphertext[:-1] + bytes([request.ciphertext[-1] ^ 1])
    refused(load, request)


def test_another_identity_under_the_same_name_is_refused(load):
    load("taken")
    with pytest.raises(grpc.RpcError) as raised:
        load("taken", username="somebody.else@acme.example")
    assert raised.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert error_info(raised.value).reason == "ACCOUNT_EXISTS"
