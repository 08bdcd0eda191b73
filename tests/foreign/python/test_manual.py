"""The programs in docs/protocol.md, as they stand there."""

import re
from types import SimpleNamespace

import pytest

from programs import ROOT

URL = "https://acme.my.salesforce.com"


@pytest.fixture(scope="module")
def programs():
    """Its blocks of Python, in their order."""
    manual = (ROOT / "docs/protocol.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", manual, re.DOTALL)
    assert len(blocks) == 3
    return SimpleNamespace(token=blocks[0], again=blocks[1], add=blocks[2])


def test_the_token_program_prints_what_the_agent_has(programs, load, agent_socket):
    load("prod")
    names = {"socket_path": agent_socket}
    exec(programs.token, names)
    with names["channel"]:
        assert names["token"].account == "prod"
        assert names["token"].access_token.startswith("00D")


def test_the_program_that_runs_on_reports_a_refused_token_and_takes_the_next_ones(programs, load, agent_socket):
    class Enough(Exception):
        pass

    class Headers(dict):
        def __setitem__(self, name, value):
            super().__setitem__(name, value)
            raise Enough

    load("prod")
    names = {"socket_path": agent_socket, "session": SimpleNamespace(headers=Headers())}
    exec(programs.token, names)
    refused = names["token"].access_token
    with names["channel"]:
        with pytest.raises(Enough):
            exec(programs.again, names)
        assert names["token"].access_token != refused
        assert names["session"].headers == {"Authorization": "Bearer " + names["token"].access_token}


def test_the_sealing_program_adds_an_account(programs, simulator, key, channel):
    # The account of the manual is another one here, for the suite's agent has a prod of its own.
    program = programs.add.replace('account="prod"', 'account="manual"').replace(URL, simulator.url)
    assert program.count(simulator.url) == 1
    names = {
        "channel": channel,
        "consumer_key": simulator.consumer_key,
        "username": simulator.username,
        "pkcs1_der": key.pkcs1_der,
    }
    exec(program, names)
    from sfkey.agent.v1 import token_pb2, token_pb2_grpc

    tokens = token_pb2_grpc.TokenServiceStub(channel)
    assert tokens.GetToken(token_pb2.GetTokenRequest(account="manual")).token.account == "manual"
