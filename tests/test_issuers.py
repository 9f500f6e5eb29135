"""Providers are described by the environment; every fault is named at start, none with a secret."""

from pathlib import Path

import pytest

from tests.test_config import faults_of, load
from webapp.cli import describe

WORK = {
    "OIDC_ISSUERS": "work",
    "OIDC_WORK_URL": "https://login.example.org/realms/work",
    "OIDC_WORK_CLIENT_ID": "vault",
}


def test_any_number_of_providers_each_with_its_variables(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    settings = load(
        tmp_path, **WORK | {
            "OIDC_ISSUERS": "work, my-google", "OIDC_WORK_CLIENT_SECRET_FILE": str(secret),
            "OIDC_WORK_AUTO_CREATE": "1",
            "OIDC_WORK_EMAIL_DOMAINS": "Example.org, @quay.example", "OIDC_WORK_ROLES": "a=b=admin, staff=member",
            "OIDC_MY_GOOGLE_URL": "https://accounts.example.com/", "OIDC_MY_GOOGLE_CLIENT_ID": "x",
            "OIDC_MY_GOOGLE_CLIENT_SECRET": "y", "OIDC_MY_GOOGLE_ROLES": '{"cn=boss,ou=x": "admin"}',
            "OIDC_MY_GOOGLE_SCOPES": "openid,email",
        },
    )  # fmt: skip
    work, google = settings.oidc_issuers
    assert work.client_secret
    assert (work.client_secret.get_secret_value(), work.label, work.auto_create) == ("from a file", "Work", True)
    assert (work.email_domains, work.roles) == (("example.org", "quay.example"), {"a=b": "admin", "staff": "member"})
    assert (work.welcomes("A@EXAMPLE.org"), work.welcomes("a@sub.example.org")) == (True, False)
    assert (google.url, google.label, google.scopes) == (
        "https://accounts.example.com/",
        "My Google",
        ("openid", "email"),
    )
    assert google.roles == {"cn=boss,ou=x": "admin"}
    assert not google.welcomes("a@example.org")
    (line,) = [line for line in describe(settings) if line.startswith("OIDC_ISSUERS")]
    assert "from a file" not in line
    assert "https://accounts.example.com/" in line


@pytest.mark.parametrize(
    ("extra", "fault"),
    [
        ({"OIDC_WORK_URL": ""}, "OIDC_WORK_URL: required"),
        ({"OIDC_WORK_CLIENT_ID": ""}, "OIDC_WORK_CLIENT_ID: required"),
        ({"OIDC_WORK_URL": "http://login.example.org"}, "OIDC_WORK_URL: must be https"),
        ({"OIDC_WORK_URL": "login.example.org"}, "OIDC_WORK_URL: must be the provider's address"),
        ({"OIDC_WORK_URL": "https://login.example.org?x=1"}, "OIDC_WORK_URL: must be the provider's address"),
        ({"OIDC_WORK_URL": "https://a:b@login.example.org"}, "OIDC_WORK_URL: must not hold"),
        ({"OIDC_WORK_SCOPES": "email"}, "OIDC_WORK_SCOPES: must contain openid"),
        ({"OIDC_WORK_AUTO_CREATE": "perhaps"}, "OIDC_WORK_AUTO_CREATE: "),
        ({"OIDC_WORK_ROLE": "king"}, "OIDC_WORK_ROLE: knows no role king"),
        ({"OIDC_WORK_ROLES": "board=king"}, "OIDC_WORK_ROLES: knows no role king"),
        ({"OIDC_WORK_ROLES": "board"}, "OIDC_WORK_ROLES: must be like"),
        ({"OIDC_WORK_ROLES": "{board"}, "OIDC_WORK_ROLES: is not valid JSON"),
        ({"OIDC_WORK_EMAIL_DOMAINS": "a b@c"}, "OIDC_WORK_EMAIL_DOMAINS: "),
        ({"OIDC_WORK_CLIENT_SECRET": "s", "OIDC_WORK_CLIENT_SECRET_FILE": "/nowhere"}, "give one of the two"),
        ({"OIDC_WORK_CLIENT_SECRET_FILE": "/nowhere"}, "OIDC_WORK_CLIENT_SECRET_FILE: cannot be read"),
        ({"OIDC_WORK_COLOUR": "red"}, "OIDC_WORK_COLOUR: is no variable"),
        ({"OIDC_HOME_URL": "https://x.example"}, "OIDC_HOME_URL: is no variable"),
        ({"OIDC_ISSUERS": "work,Work!"}, "OIDC_ISSUERS: 'Work!' must be"),
        ({"OIDC_ISSUERS": "work,work"}, "OIDC_ISSUERS: names one provider twice"),
        (
            {"OIDC_ISSUERS": "work,twin", "OIDC_TWIN_URL": WORK["OIDC_WORK_URL"], "OIDC_TWIN_CLIENT_ID": "x"},
            "OIDC_ISSUERS: several have the address",
        ),
    ],
)
def test_each_fault_is_named_by_its_variable(tmp_path: Path, extra: dict[str, str], fault: str) -> None:
    known = WORK if any(name.endswith("_FILE") for name in extra) else WORK | {"OIDC_WORK_CLIENT_SECRET": "hush"}
    found = faults_of(tmp_path, **known | extra)
    assert any(fault in line for line in found), found
    assert "hush" not in str(found)


def test_http_is_for_this_machine_and_faults_come_together(tmp_path: Path) -> None:
    for host in ("localhost", "127.0.0.1", "[::1]", "id.localhost"):
        assert load(tmp_path, **WORK | {"OIDC_WORK_URL": f"http://{host}:9000"}).oidc_issuers
    found = faults_of(tmp_path, **WORK | {"OIDC_WORK_URL": "ftp://x", "OIDC_WORK_ROLE": "king", "TZ": "Nowhere"})
    assert len(found) == 3


def test_without_the_list_other_programs_variables_are_theirs(tmp_path: Path) -> None:
    assert load(tmp_path, OIDC_SOMETHING="else").oidc_issuers == ()
