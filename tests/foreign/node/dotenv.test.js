"use strict";

// A .env file of the client, as the dotenv package reads it.

const assert = require("node:assert/strict");
const { after, before, test } = require("node:test");

const dotenv = require("dotenv");

const { stage } = require("./programs.js");

let running;

before(async () => {
  running = await stage();
});

after(async () => {
  assert.deepEqual(await running?.end(), [0, 0], "agent and simulator end well when they are asked to");
});

test("a .env file holds the token as it is", () => {
  running.add("dotenv");
  const values = dotenv.parse(running.sfkey(["token", "dotenv", "-o", "dotenv"]));
  const token = running.sfkey(["token", "dotenv"]).trimEnd();
  assert.match(token, /!/);
  assert.equal(values.SF_ACCESS_TOKEN, token);
  assert.equal(values.SALESFORCE_INSTANCE_URL, running.simulator.url);
  assert.equal(values.SFKEY_ACCOUNT, "dotenv");
});
