"""An audit finds what is wrong, and never takes silence for innocence."""

import json
import threading
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts.audit.__main__ import report
from scripts.audit.advisories import Advisories, advisories_of, check_python, npm_advisories_of
from scripts.audit.finding import Finding
from scripts.audit.licences import UNKNOWN, check_licences, is_doubtful, licence_of
from scripts.audit.pins import check_pins, read_pins, required
from scripts.audit.releases import releases_of
from scripts.audit.tool import audit_python

ROOT = Path(__file__).parents[2]


def test_pins_are_read_by_canonical_name(tmp_path):
    path = tmp_path / "pins.txt"
    path.write_text("# about\nPyYAML==6.0.3\n\nruamel_yaml==1.0+cpu  # why\n")
    assert read_pins(path) == {"pyyaml": "6.0.3", "ruamel-yaml": "1.0+cpu"}


@pytest.mark.parametrize("line", ["numpy", "numpy>=2", "numpy==2.*", "-e .", "numpy @ file:///x", "a==1\nA==1"])
def test_what_is_no_pin_is_refused(tmp_path, line):
    path = tmp_path / "pins.txt"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=r"pins\.txt: "):
        read_pins(path)


def test_what_is_needed_comes_with_what_that_needs():
    needed = required("pytest-cov", ())
    assert {"pytest", "coverage", "pluggy", "iniconfig"} <= needed
    assert "pytest-cov" not in needed
    assert required("no-such-distribution", ()) == set()


def test_a_package_without_a_pin_fails_and_a_pin_too_many_is_told():
    found = check_pins({"a": "1", "b": "2"}, {"a", "c"})
    assert not found.right
    assert found.lines[1:] == ("not pinned: c", "pinned, not needed here: b")
    assert check_pins({"a": "1", "b": "2"}, {"a"}).right


def told(**fields):
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        (told(License_Expression="MIT", License="else"), "MIT"),
        (told(Classifier="License :: OSI Approved :: BSD License"), "BSD License"),
        (told(Classifier="License :: OSI Approved", License="MIT"), "MIT"),
        (told(License="Copyright (c) somebody\nand a page more"), UNKNOWN),
        (told(), UNKNOWN),
    ],
)
def test_a_licence_is_what_the_metadata_says_of_it(metadata, licence):
    assert licence_of(metadata) == licence


@pytest.mark.parametrize(
    ("licence", "doubtful"),
    [
        ("MIT", False), ("MPL-2.0 AND MIT", False), ("LGPL-3.0-only", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False), ("GPL-3.0-or-later", True), ("GPLv3", True),
        ("GNU General Public License v3", True), ("AGPL-3.0", True), (UNKNOWN, True),
    ],
)  # fmt: skip
def test_copyleft_and_silence_need_a_look(licence, doubtful):
    assert is_doubtful(licence) == doubtful
    assert check_licences({"a": licence}).right != doubtful


def test_a_withdrawn_release_is_found():
    items = [
        {"metadata": {"name": "a", "version": "1"}},
        {"metadata": {"name": "b", "version": "2"}, "is_yanked": True},
    ]
    found = releases_of({"install": items}, "ci.txt")
    assert (found.right, found.lines[-1]) == (False, "withdrawn: b 2")
    assert releases_of({"install": items[:1]}, "ci.txt").right


def test_a_second_service_answers_for_what_the_first_left_out():
    known = Advisories(silent=dict.fromkeys(["a", "b", "c"], "no service answered"))
    known.learn(
        {"dependencies": [{"name": "A", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}]}
    )
    assert set(known.silent) == {"b", "c"}
    silent = advisories_of(known, "ci.txt")
    assert not silent.right
    assert silent.lines == ("ci.txt: 1 of 3 packages audited, 0 vulnerable", "not audited: b, c", "because: not found")
    wrong = {"id": "PYSEC-1", "fix_versions": ["3"]}
    known.learn(
        {
            "dependencies": [
                {"name": "a", "skip_reason": "not found"},
                {"name": "b", "version": "2", "vulns": [wrong]},
                {"name": "c", "vulns": []},
            ]
        }
    )
    assert advisories_of(known, "ci.txt").lines[1:] == ("b 2: PYSEC-1 (fixed in 3)",)


def test_nothing_learnt_is_not_right():
    assert not advisories_of(Advisories(silent={"a": "no service answered"}), "ci.txt").right
    assert not npm_advisories_of({"statusCode": 405, "message": "Method Not Allowed"}, "npm").right
    assert npm_advisories_of({"vulnerabilities": {}}, "npm").right
    assert not npm_advisories_of({"vulnerabilities": {"x": {"severity": "high"}}}, "npm").right


def test_one_wrong_finding_fails_the_audit(capsys):
    assert report([Finding("pins", ("all",), right=True)]) == 0
    assert report([Finding("pins", ("all",), right=True), Finding("releases", ("one",), right=False)]) == 1
    assert capsys.readouterr().out.endswith("audit: not passed: releases\n")


class Advice(BaseHTTPRequestHandler):
    """OSV's answer to every question: only idna is vulnerable."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        affected = {"package": {"name": "idna", "ecosystem": "PyPI"}, "ranges": [
            {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9999"}]},
        ]}  # fmt: skip
        vulnerability = {"id": "GHSA-xxxx", "summary": "made up", "affected": [affected]}
        body = json.dumps({"vulns": [vulnerability]} if asked == "idna" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Says nothing."""


@pytest.fixture
def advice():
    with ThreadingHTTPServer(("127.0.0.1", 0), Advice) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/query"
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_the_real_auditor_finds_a_vulnerability_and_says_where_nobody_answered(advice, tmp_path):
    python = audit_python(ROOT / "build/audit", ROOT / "constraints/audit.txt")
    if python is None:
        pytest.skip("pip-audit is not installed and no package index is reached")
    path = tmp_path / "pins.txt"
    path.write_text("idna==3.20\nurllib3==2.8.0\n")
    osv = ["--vulnerability-service=osv", "--osv-url"]
    found = check_python(python, path, ["idna", "urllib3"], services=[[*osv, advice]])
    assert found.lines == (
        "pins.txt: 2 of 2 packages audited, 1 vulnerable", "idna 3.20: GHSA-xxxx (fixed in 9999)",
    )  # fmt: skip
    nobody = check_python(python, path, ["idna", "urllib3"], services=[[*osv, "http://127.0.0.1:9/v1/query"]])
    assert nobody.lines[0] == "pins.txt: 0 of 2 packages audited, 0 vulnerable"
    assert not nobody.right
