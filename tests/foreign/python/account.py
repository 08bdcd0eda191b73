"""Loading an account from Python: a key, and a request that is sealed as RFC 9180 says."""

from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyhpke import AEADId, CipherSuite, KDFId, KEMId

SUITE = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.CHACHA20_POLY1305)


class Key:
    """An RSA key and its self-signed certificate, as one uploads it to an app."""

    def __init__(self):
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sfkey")])
        now = datetime.now(timezone.utc)
        certificate = (
            x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(private, hashes.SHA256())
        )
        self.public = private.public_key()
        self.certificate_pem = certificate.public_bytes(Encoding.PEM)
        self.pkcs1_der = private.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def seal(plaintext, public_key, info, aad):
    """The encapsulated key and the ciphertext, in base mode."""
    encapsulated, sender = SUITE.create_sender_context(SUITE.kem.deserialize_public_key(public_key), info=info)
    return encapsulated, sender.seal(plaintext, aad=aad)


class Loader:
    """Loads accounts over one connection."""

    def __init__(self, channel, simulator, key):
        from sfkey.agent.v1 import agent_pb2_grpc

        self.agent = agent_pb2_grpc.AgentServiceStub(channel)
        self.simulator, self.key = simulator, key

    def sealing_key(self):
        from sfkey.agent.v1 import agent_pb2

        return self.agent.GetSealingKey(agent_pb2.GetSealingKeyRequest())

    def spec(self, name, **changes):
        """What is told about an account of the simulated org."""
        from sfkey.agent.v1 import agent_pb2

        settings = {
            "account": name,
            "login_url": self.simulator.url,
            "consumer_key": self.simulator.consumer_key,
            "username": self.simulator.username,
            "private_key": self.key.pkcs1_der,
            "explicit": True,
        }
        return agent_pb2.AccountSpec(**(settings | changes))

    def sealed(self, spec, sealing, info=b"sfkey.agent.v1/AddAccount", aad=None):
        from sfkey.agent.v1 import agent_pb2

        aad = sealing.instance_id if aad is None else aad
        enc, ciphertext = seal(spec.SerializeToString(), sealing.public_key, info, aad)
        return agent_pb2.AddAccountRequest(enc=enc, ciphertext=ciphertext)

    def __call__(self, name, **changes):
        """Seals the account with a fresh key and adds it."""
        return self.agent.AddAccount(self.sealed(self.spec(name, **changes), self.sealing_key()))
