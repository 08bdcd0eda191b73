"""A .env file of the client, as python-dotenv reads it."""

import os
import subprocess

from dotenv import dotenv_values

from programs import BINARIES


def test_a_dotenv_file_holds_the_token_as_it_is(load, agent_socket, tmp_path):
    load("dotenv")
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "SFKEY_SOCK": agent_socket}

    def sfkey(*arguments):
        return subprocess.run([BINARIES / "sfkey", *arguments], env=environment, text=True, check=True, capture_output=True)

    file = tmp_path / ".env"
    file.write_text(sfkey("token", "dotenv", "-o", "dotenv").stdout)
    values = dotenv_values(file)
    token = sfkey("token", "dotenv").stdout.rstrip("\n")
    assert "!" in token
    assert values["SF_ACCESS_TOKEN"] == values["SALESFORCE_ACCESS_TOKEN"] == token
    assert values["SFKEY_ACCOUNT"] == "dotenv"
    assert values["SF_ORG_INSTANCE_URL"].startswith("https://")
