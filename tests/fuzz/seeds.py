#!/usr/bin/env python3
"""Makes the seed corpora anew: throw-away keys by openssl, and texts that are written here.

Run from anywhere; needs openssl 3. Seeds that are there already are replaced, others stay.
"""

import base64
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent
CORPUS = HERE / "corpus"
FIXTURES = HERE.parent / "suites" / "keyfile" / "fixtures"
PASSPHRASE = "pass wörd"


def seed(target, name, content):
    path = CORPUS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def key_files():
    with tempfile.TemporaryDirectory() as place:

        def openssl(arguments, *more):
            command = ["openssl", *arguments.split(), *more]
            return subprocess.run(command, cwd=place, check=True, capture_output=True).stdout

        def encrypted(arguments):
            return openssl(arguments, "-passout", f"pass:{PASSPHRASE}")

        openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem")
        openssl("req -new -x509 -key key.pem -subj /CN=sfkey -days 3 -out certificate.pem")
        pem = openssl("pkey -in key.pem")
        pkcs1 = openssl("rsa -in key.pem -traditional -outform DER")
        certificate = openssl("x509 -in certificate.pem")
        # The derivations cost next to nothing, so that the time goes into parsing.
        pbes2 = "pkcs8 -topk8 -in key.pem -iter 2"
        for name, content in {
            "pkcs8.pem": pem,
            "pkcs8.der": openssl("pkcs8 -topk8 -nocrypt -in key.pem -outform DER"),
            "pkcs1.pem": openssl("rsa -in key.pem -traditional"),
            "pkcs1.der": pkcs1,
            "with-certificate.pem": pem + certificate,
            "one-line.pem": pem.replace(b"\n", b"\\n"),
            "utf16.pem": pem.decode().encode("utf-16"),
            "base64.key": base64.b64encode(pem),
            "base64-twice.key": base64.b64encode(base64.b64encode(pkcs1)),
            "pbes2-aes256.der": encrypted(f"{pbes2} -v2 aes-256-cbc -outform DER"),
            "pbes2-aes128.pem": encrypted(f"{pbes2} -v2 aes-128-cbc -v2prf hmacWithSHA1"),
            "pbes2-3des.der": encrypted(f"{pbes2} -v2 des3 -v2prf hmacWithSHA512 -outform DER"),
            "scrypt.der": encrypted("pkcs8 -topk8 -in key.pem -scrypt -scrypt_N 2 -outform DER"),
            "legacy-aes.pem": encrypted("rsa -in key.pem -traditional -aes128"),
            "legacy-3des.pem": encrypted("rsa -in key.pem -traditional -des3"),
            "modern.p12": encrypted("pkcs12 -export -inkey key.pem -in certificate.pem -iter 2"),
            "old.p12": encrypted(
                "pkcs12 -export -inkey key.pem -in certificate.pem -iter 2 -keypbe PBE-SHA1-3DES -certpbe NONE"
            ),
            "plain.p12": encrypted("pkcs12 -export -inkey key.pem -in certificate.pem -keypbe NONE -certpbe NONE"),
            "certificate.pem": certificate,
            "certificate.der": openssl("x509 -in certificate.pem -outform DER"),
            "request.der": openssl("req -new -key key.pem -subj /CN=sfkey -outform DER"),
            "public.der": openssl("pkey -in key.pem -pubout -outform DER"),
            "ec.der": openssl("ecparam -name prime256v1 -genkey -noout -outform DER"),
            "ed25519.pem": openssl("genpkey -algorithm ED25519"),
            "rsa1024.der": openssl("genrsa -traditional 1024"),
            "begin-only.pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
            "openssh.pem": "-----BEGIN OPENSSH PRIVATE KEY-----\nc3NoLXJzYQ==\n-----END OPENSSH PRIVATE KEY-----\n",
            "page.html": "<html><body>Log in</body></html>",
            "settings.json": '{"privateKey": "server.key"}',
            "empty.key": "\n",
        }.items():
            seed("key_file", name, content)
    for fixture in ("one-key.jks", "two-keys.jks", "no-key.jks"):
        seed("key_file", fixture, (FIXTURES / fixture).read_bytes())


HOSTS = {
    "production": "https://login.salesforce.com\n\nhttps://acme.my.salesforce.com\n",
    "sandbox": "https://test.salesforce.com/\nhttps://test.salesforce.com\nhttps://acme--dev.sandbox.my.salesforce.com/\n",
    "site": "https://acme.my.site.com/customers/\n\nhttps://acme.my.site.com\n",
    "loopback": "http://127.0.0.1:8080\nhttps://login.salesforce.com\nhttp://localhost:8080\n",
    "loopback-v6": "http://[::1]:80\nhttp://[::1]\nhttp://x.localhost\n",
    "trusted": "https://sso.acme.example\nhttps://login.salesforce.com\nhttps://api.acme.example\nSSO.acme.example. api.acme.example",
    "foreign": "https://evil.example\nhttps://login.salesforce.com\nhttps://salesforce.com.evil.example\n",
    "own": "https://sso.acme.example:8443\n\nhttps://sso.acme.example:8443/\n",
    "lightning": "https://acme.lightning.force.com\n\n\n",
    "user": "https://login.salesforce.com@evil.example\n\nhttps://a:b@login.salesforce.com\n",
    "backslash": "https://login.salesforce.com\\@evil.example\nhttps:\\\\evil.example\nhttps://evil.example\\.salesforce.com\n",
    "idn": "https://bücher.example/é\nhttps://xn--bcher-kva.example\nhttps://ﬀorce.com\n",
    "dots": "https://login.salesforce.com./a/../b//\nhttps://.salesforce.com\nhttps://login。salesforce。com\n",
    "numbers": "http://0x7f.1\nhttp://2130706433\nhttp://[::ffff:127.0.0.1]\n",
    "query": "https://login.salesforce.com/?x=1\nhttps://login.salesforce.com/#x\nhttps://login.salesforce.com?\n",
    "encoded": "https://log%69n.salesforce.com\nhttps://login.salesforce.com/%2e%2e/x\nhttps://login.salesforce.com:0443\n",
    "schemes": "ftp://login.salesforce.com\njavascript:x\nfile:///etc/passwd\n",
}

GOOD = '{"access_token":"@token@","instance_url":"https://acme.my.salesforce.com","id":"https://login.salesforce.com/id/00D000000000001EAA/005000000000001AAA","token_type":"Bearer","scope":"api refresh_token"'
# The first byte is the place of the status in the target's table, the second that of the hosts.
ANSWERS = {
    "good": (200, 0, GOOD + "}"),
    "expires-in": (200, 0, GOOD + ',"expires_in":"7200"}'),
    "expires-zero": (200, 3, GOOD + ',"expires_in":0}'),
    "expires-odd": (200, 0, GOOD + ',"expires_in":1e3}'),
    "own-instance": (200, 1, '{"access_token":"00D!x","instance_url":"https://sso.acme.example"}'),
    "trusted-instance": (200, 2, '{"access_token":"00D!x","instance_url":"https://api.acme.example/"}'),
    "loopback": (201, 3, '{"access_token":"00D!x","instance_url":"http://localhost:8080"}'),
    "foreign-instance": (200, 0, '{"access_token":"@token@","instance_url":"https://evil.example"}'),
    "cut-off": (200, 0, '{"access_token":"@token@","instance_'),
    "not-bearer": (200, 0, '{"access_token":"@token@","token_type":"mac","instance_url":"https://a.my.salesforce.com"}'),
    "twice": (200, 0, '{"access_token":"a","access_token":"@token@","instance_url":"https://a.my.salesforce.com"}'),
    "steering-scope": (200, 0, '{"access_token":"00D!x","instance_url":"https://a.my.salesforce.com","scope":"api\\u001b[2J"}'),
    "refused": (400, 0, '{"error":"invalid_grant","error_description":"user hasn\'t approved this consumer"}'),
    "echo": (400, 0, '{"error":"invalid_grant","error_description":"bad assertion=@assertion@&x"}'),
    "echo-cut": (401, 0, '{"error":"invalid_client","error_description":"\'@cut@"}'),
    "echo-token": (403, 0, '{"error":"@token@","error_description":"session @token@ has ended"}'),
    "echo-encoded": (400, 0, '{"error":"x","error_description":"access_token=@encoded@"}'),
    "echo-link": (400, 0, '{"error":"x","error_description":"see https://acme.example/@token@"}'),
    "echo-page": (400, 0, "<html><body>@assertion@<a href='//h/@token@'></body></html>"),
    "busy": (500, 0, '{"error":"server_error","error_description":"retry your request"}'),
    "transient": (400, 0, '{"error":"unknown_error"}'),
    "too-many": (429, 0, '{"error":"rate_limit_exceeded"}'),
    "maintenance": (503, 0, "<html>We are down for maintenance</html>"),
    "redirect": (302, 0, ""),
    "empty-object": (400, 0, "{}"),
    "array": (400, 0, '[{"errorCode":"INVALID_SESSION_ID","message":"@token@"}]'),
    "not-utf8": (404, 0, b"\xff\xfe\x00@token@"),
    "unknown-no-text": (200, 0, GOOD.encode() + b',"other":"\xdd"}'),
    "empty": (204, 0, ""),
}
STATUSES = [200, 201, 204, 301, 302, 400, 401, 403, 404, 429, 500, 503]

RAW = {
    "plain": "s3cr3t-s3cr3t-s3cr3t\nuser hasn't approved this consumer",
    "secret": "s3cr3t-s3cr3t-s3cr3t\nsecret s3cr3t-s3cr3t-s3cr3t.",
    "harmless": "\nthe words of a sentence",
    "assertion": "\nbad assertion=@assertion@&x",
    "cut": "\n'@cut@'",
    "token": "\ntoken \"@token@\" bad",
    "encoded": "\naccess_token=@encoded@&x",
    "link": "\nsee https://status.salesforce.com/instances/ or //h/@token@",
    "dots": "\n...@token@... and ..@assertion@",
    "steering": "\na\r\nb\u001b[31m\u007f\u009b\u202ec",
    "wide": "\n" + "é " * 600,
    "long": "\n" + "\u0007 " * 400,
}

FULL = """# mine
default_account = "prod"
[accounts.prod] # production
login_url = "https://acme.my.salesforce.com"
audience = "https://login.salesforce.com"
consumer_key = "3MVG9"
username = "ci@acme.com"
key = "keys/prod.key"
passphrase = "env:PROD_PASSPHRASE" # from CI
consumer_secret = "file:~/secret"
certificate = "prod.crt"
lifetime = "8h"
idle = "30m"
session_timeout = "2h"
[accounts."ci@acme.com"]
key = "keyring"
"""
CONFIGURATIONS = {
    "full": FULL,
    "empty": "",
    "inline": 'accounts = { prod = { key = "k", lifetime = "1h30m" } }\n',
    "inline-account": '[accounts]\nprod = { key = "file:/k" }\n',
    "dotted": 'accounts.prod.key = "credential:key"\naccounts.prod.idle = "90s"\n',
    "implicit": '[accounts]\n[accounts.a]\n[accounts.b]\nusername = \'x\'\n',
    "windows": "\ufeff[accounts.a]\r\nkey = \"k\"\r\n",
    "multiline": '[accounts.a]\nusername = """\nx"""\n',
    "default-missing": 'default_account = "prd"\n[accounts.prod]\n',
    "default-last": '[accounts.prod]\n\n[default_account]\n',
    "wrong-key": "[accounts.a]\nusernme = \"x\"\n",
    "wrong-type": "[accounts.a]\nlifetime = 8\n",
    "wrong-duration": '[accounts.a]\nidle = "30"\n',
    "array": "[[accounts]]\n",
    "twice": "[accounts.a]\n[accounts.a]\n",
    "odd-name": '[accounts."-x\\u001b"]\n',
    "no-toml": "accounts: {}\n",
    "credential-path": '[accounts.a]\nkey = "credential:../x"\n',
}


def field(number, value):
    """A field of a message: text and bytes with their length, numbers as they are."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(high) if high else bytes([low])


def specification(**other):
    """An AccountSpec by field number, `f1` to `f13`."""
    fields = {
        "f1": "prod",
        "f2": "https://login.salesforce.com",
        "f4": "3MVG9",
        "f5": "ci@acme.example",
        "f6": b"\x30\x03\x02\x01\x00",
    } | other
    return b"".join(field(int(name[1:]), value) for name, value in fields.items())


SPECIFICATIONS = {
    "plain": specification(),
    "audience": specification(f2="https://acme.my.salesforce.com/", f3="https://login.salesforce.com"),
    "trusted": specification(f2="https://sso.acme.example", f3="https://login.salesforce.com"),
    "foreign": specification(f2="https://evil.example", f3="https://login.salesforce.com"),
    "terms": specification(f7="secret", f8=28_800, f9=1_800, f10=7_200, f11=1, f12=1, f13=1),
    "terms-out-of-range": specification(f8=0, f9=40_000_000, f10=899),
    "loopback": specification(f2="http://127.0.0.1:8080", f3="http://localhost"),
    "http": specification(f2="http://login.salesforce.com"),
    "steering": specification(f5="ci@acme.example\x1b[2J"),
    "blank": specification(f4="3MVG9 "),
    "long": specification(f5="x" * 513),
    "twice": specification() + specification(f1="other"),
    "unknown-field": specification(f99="x"),
    "not-utf8": specification(f5=b"\xff"),
    "cut": specification()[:-2],
    "empty": b"",
}
# Points of small order (RFC 7748, section 6.1): every shared secret made with them is zero.
POINTS = {
    "point-zero": bytes(32),
    "point-one": b"\x01" + bytes(31),
    "point-order-8": bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    "point-prime": b"\xed" + b"\xff" * 30 + b"\x7f",
}
MESSAGES = {
    "add-account": (0, field(1, bytes(32)) + field(2, b"ciphertext")),
    "check-account": (1, field(1, "prod") + field(2, 1)),
    "nothing": (2, b""),
    "token": (4, field(1, "prod") + field(2, 300) + field(3, 1)),
    "token-default": (4, b""),
    "token-odd-name": (4, field(1, "-x\x1b[2J")),
    "token-long-varint": (4, b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    "lock": (6, field(1, bytes(32)) + field(2, bytes(16))),
    "remove": (8, field(1, "ci@acme.com")),
    "rejected": (10, field(1, "prod") + field(2, bytes(32))),
    "watch": (14, field(1, "dev-1_x.y+z")),
    "specification": (16, specification(f7="s", f8=1)),
    "passphrase": (17, field(1, "open sesame")),
    "group": (4, b"\x0b\x0b\x0b\x0c\x0c\x0c"),
    "name": (255, b"a" * 80),
    "name-too-long": (255, b"a" * 81),
}
# Of `session_answer`: which question, the place of the status among those of the target, the body.
SESSIONS = {
    "introspection": (0, 0, '{"active":true,"exp":1800007200,"iat":"1800000000","sub":"x"}'),
    "introspection-ended": (0, 0, '{"active":false,"exp":1800007200}'),
    "introspection-refused": (0, 4, '{"error":"invalid_client","error_description":"@token@"}'),
    "revoked": (1, 0, ""),
    "revoked-before": (1, 3, '{"error":"invalid_token","error_description":"@token@"}'),
    "user": (
        2,
        0,
        '{"user_id":"005","organization_id":"00D","preferred_username":"ci@acme.example","name":"Zoë","email":"z@b"}',
    ),
    "user-steering": (2, 0, '{"user_id":"005","organization_id":"00D","preferred_username":"\\u001b[2J"}'),
    "user-refused": (2, 5, "Bad_OAuth_Token @token@"),
    "versions": (3, 0, '[{"version":"9.0"},{"version":"64.0","url":"/x"},{"version":"../x"}]'),
    "limits": (4, 0, '{"DailyApiRequests":{"Max":15000,"Remaining":14998}}'),
    "limits-refused": (4, 4, '[{"message":"Session expired @token@","errorCode":"INVALID_SESSION_ID"}]'),
}
SETTINGS = {
    "empty": "",
    "everything": """askpass = "/usr/bin/ssh-askpass"
askpass_timeout = "45s"
askpass_environment = { DISPLAY = ":0" }
[limits]
connections = 100
requests = 10
[token_socket]
path = "/run/sfkey-token/token.sock"
mode = "0660"
group = 1000
uids = [1001]
gids = [1002]
accounts = ["prod"]
connections = 8
connections_per_uid = 4
[accounts.prod.policy]
units = ["deploy.service", "user/app.scope"]
executables = ["/usr/bin/node"]
confirm = "15m"
[accounts.other.policy]
confirm = "always"
""",
    "mistyped": '[accounts.prod.policy]\nexecutable = ["/usr/bin/node"]\n',
    "steering": '"\\u001b[2J" = 1\n',
    "steering-unit": '[accounts.a.policy]\nunits = ["\\u202e.service"]\n',
    "relative": 'askpass = "ssh-askpass"\n',
    "no-toml": "askpass: x\n",
}
ERROR_INFO = (
    field(1, "SALESFORCE_REFUSED")
    + field(2, "sfkey")
    + b"".join(
        field(3, field(1, key) + field(2, value))
        for key, value in {"error": "invalid_grant", "error_description": "expired", "http_status": "400"}.items()
    )
)
HELP = field(1, field(1, "sfkey unlock"))


def detail(kind, content):
    return field(3, field(1, f"type.googleapis.com/google.rpc.{kind}") + field(2, content))


STATUS = field(1, 9) + field(2, "what happened")
FAILURES = {
    "failure": STATUS + detail("ErrorInfo", ERROR_INFO) + detail("Help", HELP),
    "failure-locked": STATUS + detail("ErrorInfo", field(1, "LOCKED") + field(2, "sfkey")),
    "failure-foreign": STATUS + detail("ErrorInfo", field(1, "LOCKED") + field(2, "example.com")),
    "failure-without-details": STATUS,
}


def main():
    key_files()
    for name, text in HOSTS.items():
        seed("hosts", name, text)
    for name, (status, hosts, body) in ANSWERS.items():
        body = body if isinstance(body, bytes) else body.encode()
        seed("token_answer", name, bytes([STATUSES.index(status), hosts]) + body)
    for name, text in RAW.items():
        seed("raw_text", name, text)
    for name, (question, status, body) in SESSIONS.items():
        seed("session_answer", name, bytes([question, status]) + body.encode())
    for name, text in SETTINGS.items():
        seed("agent_settings", name, text)
    for at, (name, text) in enumerate(CONFIGURATIONS.items()):
        seed("client_config", name, bytes([248 + at % 8]) + text.encode())
        if at % 3 == 0:
            seed("client_config", f"{name}-planted", bytes([at // 3]) + text.encode())
    for name, plaintext in SPECIFICATIONS.items():
        seed("sealed_upload", name, b"\x07" + plaintext)
    for name, point in POINTS.items():
        seed("sealed_upload", name, b"\x00" + point + bytes(40))
    seed("sealed_upload", "opened", b"\x01" + SPECIFICATIONS["terms"])
    seed("sealed_upload", "opened-malformed", b"\x01" + SPECIFICATIONS["cut"])
    seed("sealed_upload", "changed", b"\x02\x07\x03" + SPECIFICATIONS["plain"])
    seed("sealed_upload", "other-method", b"\x02\x00\x08" + SPECIFICATIONS["plain"])
    seed("sealed_upload", "other-agent", b"\x02\x00\x09" + SPECIFICATIONS["plain"])
    for name, (which, message) in MESSAGES.items():
        seed("messages", name, bytes([which]) + message)
    for name, details in FAILURES.items():
        seed("messages", name, b"\xf0" + details)


if __name__ == "__main__":
    main()
