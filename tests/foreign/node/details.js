"use strict";

// Reading the details of a failure, as google.rpc defines them (google/rpc/status.proto, error_details.proto).

const protobuf = require("protobufjs");

const { root } = protobuf.parse(
  `
  syntax = "proto3";
  package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message Help { message Link { string description = 1; string url = 2; } repeated Link links = 1; }
`,
  { keepCase: true },
);

// The details of a call's error by the name of their type.
function details(error) {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  const status = root.lookupType("google.rpc.Status").decode(bytes);
  return Object.fromEntries(
    status.details.map(({ type_url, value }) => {
      const name = type_url.split("/").pop();
      const type = root.lookupType(name);
      return [name.split(".").pop(), type.toObject(type.decode(value))];
    }),
  );
}

module.exports = { details };
