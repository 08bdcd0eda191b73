"""The metadata that `sfkey setup` writes, judged by what Salesforce ships for it: the sf CLI's source converter, and the
types of the Metadata API."""

import re
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from conftest import MODULES, QUIET

NAMESPACE = "{http://soap.sforce.com/2006/04/metadata}"
CONSUMER_KEY = "5f6b657953666b65795366"

COMPONENTS = {
    "ExternalClientApplication": ("externalClientApps", "sfkey_ci.eca"),
    "ExtlClntAppConfigurablePolicies": ("extlClntAppPolicies", "sfkey_ci_plcy.ecaPlcy"),
    "ExtlClntAppGlobalOauthSettings": ("extlClntAppGlobalOauthSets", "sfkey_ci_glbloauth.ecaGlblOauth"),
    "ExtlClntAppOauthConfigurablePolicies": ("extlClntAppOauthPolicies", "sfkey_ci_oauthPlcy.ecaOauthPlcy"),
    "ExtlClntAppOauthSettings": ("extlClntAppOauthSettings", "sfkey_ci_oauth.ecaOauth"),
}


@pytest.fixture(params=["with a consumer key", "without a consumer key"])
def consumer_key(request):
    return CONSUMER_KEY if request.param == "with a consumer key" else None


@pytest.fixture
def project(agent, org, pair, tmp_path, consumer_key):
    """The project that setup writes for a new app."""
    answers = {
        "account": "ci",
        "login_url": org.url,
        "username": org.username,
        "key": str(pair.key),
        "certificate": str(pair.certificate),
        "app_label": "Tokens <for> CI & more",
        "contact_email": "o'neil@acme.example",
        "permission_set": "Integration",
        "metadata_folder": "app",
    }
    if consumer_key:
        answers["consumer_key"] = consumer_key
    file = tmp_path / "answers.toml"
    file.write_text("".join(f'{key} = "{value}"\n' for key, value in answers.items()))
    arguments = ["setup", "--answers", file, "--non-interactive"]
    ended = agent.sfkey(*arguments, home=tmp_path)
    # The app is not in the org, so that it does not go on from here.
    assert ended.returncode == (7 if consumer_key else 2), ended.stderr
    return tmp_path / "app"


@pytest.fixture(scope="session")
def types():
    """Every type of the Metadata API: its elements, and the values that an enumeration takes."""
    text = (MODULES / "@salesforce/types/lib/metadata.d.ts").read_text()
    enumerations = {
        name: set(re.findall(r"'([^']*)'", values))
        for name, values in re.findall(r"^export type (\w+) = ('[^;]*);", text, re.M)
    }

    def elements(kind):
        body = re.search(rf"^export type {kind} = Metadata & {{(.*?)^}};", text, re.M | re.S).group(1)
        fields = re.findall(r"^\s+(\w+)(\??): ([^;]+);", body, re.M)
        return {name: (optional == "?", enumerations.get(kind, kind)) for name, optional, kind in fields}

    return elements


def convert(sf, environment, project, output):
    command = [*sf, "project", "convert", "source", "--root-dir", "force-app", "--output-dir", output, "--json"]
    variables = environment | QUIET | {"HOME": str(output.parent)}
    ended = subprocess.run(command, cwd=project, env=variables, text=True, capture_output=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def values(path):
    """The elements of a component, by name."""
    root = ElementTree.parse(path).getroot()
    names = [element.tag.removeprefix(NAMESPACE) for element in root]
    assert len(names) == len(set(names)), f"{path} has an element twice"
    return root.tag.removeprefix(NAMESPACE), {name: element.text for name, element in zip(names, root)}


def test_the_sf_cli_finds_every_component_in_it(sf, environment, project, tmp_path):
    output = tmp_path / "converted"
    convert(sf, environment, project, output)
    found = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    assert found == {"package.xml"} | {f"{folder}/{name}" for folder, name in COMPONENTS.values()}
    # The manifest that sf makes of the source says what ours says.
    ours, theirs = (members(path / "package.xml") for path in (project, output))
    assert ours == theirs == {kind: name.rpartition(".")[0] for kind, (_, name) in COMPONENTS.items()}


def members(manifest):
    root = ElementTree.parse(manifest).getroot()
    return {
        group.find(f"{NAMESPACE}name").text: group.find(f"{NAMESPACE}members").text
        for group in root.iter(f"{NAMESPACE}types")
    }


def test_every_element_is_one_that_its_component_has(project, types):
    source = project / "force-app/main/default"
    for kind, (folder, name) in COMPONENTS.items():
        root, elements = values(source / folder / f"{name}-meta.xml")
        assert root == kind
        known = types(kind)
        assert elements.keys() <= known.keys(), f"{kind} has no such element"
        for element, text in elements.items():
            _, allowed = known[element]
            if isinstance(allowed, set):
                assert text in allowed, f"{kind}.{element}"
            elif allowed == "boolean":
                assert text in ("true", "false"), f"{kind}.{element}"
            elif allowed == "number":
                assert text.isdigit(), f"{kind}.{element}"
        required = {name for name, (optional, kind) in known.items() if not optional and kind != "number"}
        lists = {name for name, (_, kind) in known.items() if isinstance(kind, str) and kind.endswith("[]")}
        assert required - lists <= elements.keys(), f"{kind} lacks an element"


def test_what_it_says_is_what_was_answered(project, pair, consumer_key):
    source = project / "force-app/main/default"
    of = {kind: values(source / folder / f"{name}-meta.xml")[1] for kind, (folder, name) in COMPONENTS.items()}
    settings = of["ExtlClntAppGlobalOauthSettings"]
    assert settings["certificate"].split() == pair.certificate.read_text().split()
    assert settings.get("consumerKey") == consumer_key
    app = of["ExternalClientApplication"]
    assert (app["label"], app["contactEmail"]) == ("Tokens <for> CI & more", "o'neil@acme.example")
    policies = of["ExtlClntAppOauthConfigurablePolicies"]
    assert policies["permittedUsersPolicyType"] == "AdminApprovedPreAuthorized"
    assert policies["commaSeparatedPermissionSet"] == "Integration"
    assert of["ExtlClntAppOauthSettings"]["commaSeparatedOauthScopes"] == "Api, RefreshToken"
