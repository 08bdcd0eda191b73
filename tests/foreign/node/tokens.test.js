"use strict";

// GetToken and ListAccounts from Node, over the socket as it is: grpc-js needs no authority to be named.

const assert = require("node:assert/strict");
const path = require("node:path");
const { after, before, test } = require("node:test");

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const { details } = require("./details.js");
const { ROOT, stage } = require("./programs.js");

const contract = loader.loadSync("sfkey/agent/v1/token.proto", {
  includeDirs: [path.join(ROOT, "proto")],
  keepCase: true,
  longs: Number,
  enums: String,
  defaults: true,
});
const { TokenService } = grpc.loadPackageDefinition(contract).sfkey.agent.v1;

let running;
let tokens;

before(async () => {
  running = await stage();
  tokens = new TokenService(`unix:${running.socket}`, grpc.credentials.createInsecure());
});

after(async () => {
  tokens?.close();
  assert.deepEqual(await running?.end(), [0, 0], "agent and simulator end well when they are asked to");
});

// One call; rejects with the error of gRPC.
function call(method, request = {}) {
  return new Promise((resolve, reject) => {
    tokens[method](request, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

async function refusal(request) {
  const error = await call("GetToken", request).then(
    () => assert.fail("it was not refused"),
    (error) => error,
  );
  return { code: error.code, ...details(error) };
}

test("a token is what Salesforce granted, with where it is good and until when", async () => {
  running.add("token");
  const { token, protocol_version } = await call("GetToken", { account: "token" });
  assert.equal(protocol_version, 1);
  assert.match(token.access_token, /^00D[^!]+!.+$/);
  assert.equal(token.token_type, "Bearer");
  assert.equal(token.instance_url, running.simulator.url);
  assert.equal(token.username, running.simulator.username);
  const now = Date.now() / 1000;
  assert.ok(token.expires_at > now && token.expires_at <= now + 24 * 3600, `expires at ${token.expires_at}`);
});

test("concurrent callers share one exchange", async () => {
  running.add("shared");
  const asked = await running.asked();
  const answers = await Promise.all(Array.from({ length: 20 }, () => call("GetToken", { account: "shared" })));
  assert.equal(new Set(answers.map(({ token }) => token.access_token)).size, 1);
  assert.equal(await running.asked(), asked + 1);
});

test("an account that is not loaded is refused with reason, domain and next step", async () => {
  const { code, ErrorInfo, Help } = await refusal({ account: "nobody" });
  assert.equal(code, grpc.status.NOT_FOUND);
  assert.equal(ErrorInfo.reason, "ACCOUNT_NOT_LOADED");
  assert.equal(ErrorInfo.domain, "sfkey");
  assert.match(Help.links[0].description, /sfkey add/);
});

test("what Salesforce refused is told in its own words", async () => {
  running.add("unknown-app", { consumer_key: "3MVG9.no.such.app" });
  const { code, ErrorInfo } = await refusal({ account: "unknown-app" });
  assert.equal(code, grpc.status.FAILED_PRECONDITION);
  assert.equal(ErrorInfo.reason, "SALESFORCE_REFUSED");
  assert.deepEqual(ErrorInfo.metadata, {
    error: "invalid_client_id",
    error_description: "client identifier invalid",
    http_status: "400",
  });
});

test("accounts are listed by name, each with the state of its token", async () => {
  running.add("list-b");
  running.add("list-a");
  await call("GetToken", { account: "list-a" });
  const { accounts } = await call("ListAccounts");
  const names = accounts.map(({ account }) => account);
  assert.deepEqual(names, [...names].sort());
  const state = Object.fromEntries(accounts.map(({ account, token }) => [account, token.state]));
  assert.equal(state["list-a"], "STATE_LIVE");
  assert.equal(state["list-b"], "STATE_NONE");
});
