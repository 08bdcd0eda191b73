"""Reading the details of a failure, as google.rpc defines them."""

from google.rpc import error_details_pb2
from grpc_status import rpc_status


def unpacked(error, kind):
    """The detail of that kind; fails the test when there is none."""
    for detail in rpc_status.from_call(error).details:
        message = kind()
        if detail.Unpack(message):
            return message
    raise AssertionError(f"no {kind.DESCRIPTOR.full_name} in the details of: {error.details()}")


def error_info(error):
    """The reason, with the domain checked."""
    info = unpacked(error, error_details_pb2.ErrorInfo)
    assert info.domain == "sfkey"
    return info


def fix(error):
    """The next step."""
    return unpacked(error, error_details_pb2.Help).links[0].description
