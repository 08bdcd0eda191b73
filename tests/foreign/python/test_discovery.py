"""What generic tools ask: reflection, in the version that Python's client speaks, and health."""

from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def test_reflection_describes_the_contract(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {"sfkey.agent.v1.TokenService", "sfkey.agent.v1.AgentService"} <= set(database.get_services())
    service = DescriptorPool(database).FindServiceByName("sfkey.agent.v1.TokenService")
    assert "GetToken" in service.methods_by_name


def test_the_agent_says_that_it_serves(channel):
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
