"use strict";

// The program in docs/protocol.md, as it stands there.

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const { mkdtempSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const path = require("node:path");
const { after, before, test } = require("node:test");

const { ROOT, stage } = require("./programs.js");

let running;

before(async () => {
  running = await stage();
});

after(async () => {
  assert.deepEqual(await running?.end(), [0, 0], "agent and simulator end well when they are asked to");
});

test("the program of the manual gets a token", () => {
  running.add("prod");
  const manual = readFileSync(path.join(ROOT, "docs/protocol.md"), "utf8");
  const [, block] = manual.match(/```js\n([^]*?)```/);
  // It is told where the socket is, and tells what it got.
  const program = `const socketPath = process.argv[2];\n${block}`.replace(
    "if (error) throw error;",
    "if (error) throw error;\n  console.log(reply.token.access_token);\n  tokens.close();",
  );
  assert.match(program, /console\.log/);
  // Modules are looked for beside the program.
  const place = mkdtempSync(path.join(path.dirname(require.resolve("@grpc/grpc-js/package.json")), "../../../manual-"));
  try {
    const file = path.join(place, "program.mjs");
    writeFileSync(file, program);
    const printed = execFileSync(process.execPath, [file, running.socket], { cwd: ROOT, encoding: "utf8" });
    assert.equal(printed.trim(), running.sfkey(["token", "prod"]).trim());
  } finally {
    rmSync(place, { recursive: true });
  }
});
