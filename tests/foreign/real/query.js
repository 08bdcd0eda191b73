"use strict";

// Asks for accounts as a program that `sfkey exec` runs would: with what stands in the environment.

const { Connection } = require("@jsforce/jsforce-node");

const connection = new Connection({
  accessToken: process.env.SF_ACCESS_TOKEN,
  instanceUrl: process.env.SF_ORG_INSTANCE_URL,
});

connection.query(process.argv[2]).then(
  (answer) => console.log(JSON.stringify(answer)),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
