"""The assertion that the agent sends, judged by PyJWT at a token endpoint of the suite's own."""

import base64
import http.server
import json
import threading
import time
import urllib.parse

import jwt
import pytest
from sfkey.agent.v1 import token_pb2, token_pb2_grpc

AUDIENCE = "https://login.salesforce.com"
CONSUMER_KEY = "3MVG9.the.consumer.key"
USERNAME = "ci@acme.example"


class TokenEndpoint(http.server.BaseHTTPRequestHandler):
    """Grants everything, and keeps what it was asked."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.requests.append((self.path, dict(self.headers), body))
        host = f"http://{self.headers['Host']}"
        answer = {
            "access_token": "00DSim00vekeU25!for.tests",
            "instance_url": host,
            "id": f"{host}/id/00DSim00vekeU25MAE/005Sim00vekeU25MAE",
            "token_type": "Bearer",
            "scope": "api",
        }
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        """Nothing: a request holds an assertion."""


@pytest.fixture
def endpoint():
    with http.server.HTTPServer(("127.0.0.1", 0), TokenEndpoint) as server:
        server.requests = []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def token_request(load, channel, endpoint, account, **identity):
    """Path, headers and body of the one token request that a fresh account causes."""
    login_url = f"http://127.0.0.1:{endpoint.server_port}"
    load(account, **{"login_url": login_url, "consumer_key": CONSUMER_KEY, "username": USERNAME} | identity)
    token_pb2_grpc.TokenServiceStub(channel).GetToken(token_pb2.GetTokenRequest(account=account))
    assert len(endpoint.requests) == 1
    return endpoint.requests[0]


def assertion_of(token_request):
    return urllib.parse.parse_qs(token_request[2])["assertion"][0]


@pytest.fixture
def request_sent(load, channel, endpoint, request):
    """The token request of an account whose audience is not its token host."""
    return token_request(load, channel, endpoint, request.node.name, audience=AUDIENCE)


@pytest.fixture
def assertion(request_sent):
    return assertion_of(request_sent)


def test_the_request_has_two_parameters_and_no_more(request_sent):
    path, headers, body = request_sent
    assert path == "/services/oauth2/token"
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    form = urllib.parse.parse_qs(body, strict_parsing=True)
    assert sorted(form) == ["assertion", "grant_type"]
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


def test_pyjwt_accepts_signature_and_claims(assertion, key):
    required = {"require": ["iss", "sub", "aud", "exp"]}
    claims = jwt.decode(assertion, key.public, ["RS256"], required, audience=AUDIENCE, issuer=CONSUMER_KEY)
    assert claims["sub"] == USERNAME
    assert claims["aud"] == AUDIENCE
    # A fast local clock would make these two harmful.
    assert not {"iat", "nbf", "prn"} & claims.keys()


@pytest.mark.parametrize("end", ["", "/"], ids=["bare", "slash"])
def test_where_no_audience_is_named_it_is_the_token_host(load, channel, endpoint, key, end):
    host = f"http://127.0.0.1:{endpoint.server_port}"
    sent = token_request(load, channel, endpoint, f"audience-{len(end)}", login_url=host + end)
    # Salesforce compares letter by letter: the slash must go.
    claims = jwt.decode(assertion_of(sent), key.public, ["RS256"], audience=host)
    assert claims["aud"] == host


def test_the_assertion_ends_within_three_minutes_counted_in_seconds(assertion):
    claims = jwt.decode(assertion, options={"verify_signature": False})
    assert isinstance(claims["exp"], int)
    assert time.time() < claims["exp"] <= time.time() + 180


def test_the_header_says_rs256_and_names_no_key(assertion):
    header = jwt.get_unverified_header(assertion)
    assert header["alg"] == "RS256"
    assert set(header) <= {"alg", "typ"}


def test_another_key_does_not_verify_it(assertion):
    from account import Key

    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(assertion, Key().public, ["RS256"], audience=AUDIENCE)


def test_its_parts_are_base64url_without_padding(assertion):
    for part in assertion.split("."):
        assert "=" not in part
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
