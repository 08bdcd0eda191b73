"use strict";

// jsforce, the client for Node, with the simulator and with tokens from the agent.

const assert = require("node:assert/strict");
const { generateKeyPairSync } = require("node:crypto");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const { after, before, test } = require("node:test");
const tls = require("node:tls");

// The simulator is on this machine: no proxy leads to it, and jsforce looks for one as soon as it is loaded.
for (const name of ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"]) delete process.env[name];

const { Connection } = require("@jsforce/jsforce-node");
const jsonwebtoken = require("jsonwebtoken");

const { stage } = require("../node/programs.js");

const GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const QUERY = "SELECT Id, Name FROM Account";

let running;
let org;

before(async () => {
  running = await stage();
  org = running.simulator;
  tls.setDefaultCACertificates([readFileSync(org.ca_file, "utf8")]);
});

after(async () => {
  assert.deepEqual(await running?.end(), [0, 0], "agent and simulator end well when they are asked to");
});

// What jsforce leaves to its caller: the assertion, here by the package that Salesforce's own tools use.
function assertion(changes = {}) {
  const { iss, sub, aud, key } = { iss: org.consumer_key, sub: org.username, aud: org.url, ...changes };
  const options = { algorithm: "RS256", issuer: iss, subject: sub, audience: aud, expiresIn: "3m" };
  return jsonwebtoken.sign({}, key ?? readFileSync(org.key_file), options);
}

async function login(changes, options = {}) {
  const connection = new Connection({ loginUrl: org.url, ...options });
  const user = await connection.authorize({ grant_type: GRANT_TYPE, assertion: assertion(changes) });
  return { connection, user };
}

// Names of the accounts in an answer.
function names({ records }) {
  return records.map(({ Name }) => Name);
}

async function refusal(promise) {
  return promise.then(
    () => assert.fail("it was not refused"),
    (error) => error,
  );
}

test("it logs in by JWT and queries", async () => {
  const { connection, user } = await login();
  assert.equal(user.organizationId.slice(0, 15), org.org_id.slice(0, 15));
  assert.equal(connection.instanceUrl, org.url);
  assert.ok(names(await connection.query(QUERY)).includes("Acme"));
  const identity = await connection.identity();
  assert.equal(identity.username, org.username);
});

test("it tells why a login was refused", async (t) => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const cases = [
    ["wrong key", { key: privateKey }, "invalid_grant", "invalid assertion"],
    ["wrong audience", { aud: "https://elsewhere.example" }, "invalid_grant", "audience is invalid"],
    ["unknown consumer key", { iss: "3MVG9.no.such.app" }, "invalid_client_id", "client identifier invalid"],
  ];
  for (const [why, changes, name, message] of cases) {
    await t.test(why, async () => {
      const error = await refusal(login(changes));
      assert.equal(error.name, name);
      assert.equal(error.message, message);
    });
  }
});

test("it knows an expired session", async () => {
  const { connection } = await login();
  await running.control("DELETE", "sessions");
  const error = await refusal(connection.query(QUERY));
  assert.equal(error.constructor.name, "HttpApiError");
  assert.equal(error.errorCode, "INVALID_SESSION_ID");
  assert.equal(error.message, "Session expired or invalid");
});

// jsforce asks this function for a token whenever its session has expired.
function refresher() {
  const refresh = async (connection, done) => {
    refresh.calls += 1;
    try {
      const { connection: renewed } = await login();
      done(null, renewed.accessToken);
    } catch (error) {
      done(error);
    }
  };
  refresh.calls = 0;
  return refresh;
}

test("it goes on by itself when its session has expired and it may log in again", async () => {
  const refreshFn = refresher();
  const { connection } = await login({}, { refreshFn });
  await running.control("DELETE", "sessions");
  assert.ok(names(await connection.query(QUERY)).includes("Acme"));
  assert.equal(refreshFn.calls, 1);
});

for (const [rest, message] of [
  ["not-valid-for-rest", "This session is not valid for use with the REST API"],
  ["not-attached-to-agent", "Connected app is not attached to Agent"],
]) {
  test(`it does not log in again when REST answers: ${message}`, async () => {
    const refreshFn = refresher();
    const { connection } = await login({}, { refreshFn });
    await running.control("PATCH", "knobs", { rest });
    const error = await refusal(connection.query(QUERY)).finally(() =>
      running.control("PATCH", "knobs", { rest: "normal" }),
    );
    assert.equal(error.message, message);
    assert.equal(refreshFn.calls, 0);
  });
}

test("a token from the agent serves it", async () => {
  running.add("token");
  const token = JSON.parse(running.sfkey(["token", "token", "-o", "json"]));
  const connection = new Connection({ accessToken: token.access_token, instanceUrl: token.instance_url });
  assert.ok(names(await connection.query(QUERY)).includes("Acme"));
});

test("exec gives it what it needs", () => {
  running.add("exec");
  const program = [process.execPath, path.join(__dirname, "query.js"), QUERY];
  const variables = { NODE_PATH: process.env.NODE_PATH, NODE_EXTRA_CA_CERTS: org.ca_file };
  const answer = JSON.parse(running.sfkey(["exec", "exec", "--", ...program], variables));
  assert.ok(names(answer).includes("Acme"));
});
