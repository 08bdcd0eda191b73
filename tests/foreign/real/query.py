"""Asks for accounts as a program that `sfkey exec` runs would: with what stands in the environment."""

import json
import os
import sys

from simple_salesforce import Salesforce

salesforce = Salesforce(
    session_id=os.environ["SALESFORCE_ACCESS_TOKEN"],
    instance_url=os.environ["SALESFORCE_INSTANCE_URL"],
)
print(json.dumps(salesforce.query(sys.argv[1])))
