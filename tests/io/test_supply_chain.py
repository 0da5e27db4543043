"""The bill of materials is that of the lock file, and the sources hold nothing that runs data as code."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from types import ModuleType

import pytest

from tests.data import ROOT

SAFETY = ROOT / "docs" / "safety"


def script(name: str) -> ModuleType:
    """A program of the safety folder as a module."""
    spec = importlib.util.spec_from_file_location(name, SAFETY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bill_of_materials_is_that_of_the_lock_file() -> None:
    assert (SAFETY / "sbom.cdx.json").read_text(encoding="utf-8") == script("make_sbom").text(), (
        "run docs/safety/make_sbom.py"
    )
    names = {c["name"] for c in json.loads((SAFETY / "sbom.cdx.json").read_text(encoding="utf-8"))["components"]}
    assert {"pydicom", "numpy", "python-gdcm"} <= names
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert names == {n.lower().replace("_", "-") for n in re.findall(r"^([\w.-]+)==", lock, re.M)}


def test_a_line_that_pins_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="pins nothing"):
        script("make_sbom").bill("numpy>=2\n")


def test_no_pinned_package_has_a_known_hole() -> None:
    """Fails on a hole; where the advisories cannot be asked it says so, and claims nothing."""
    audit = script("audit")
    code, sentence = audit.audit()
    if code == audit.UNKNOWN:
        pytest.skip(sentence)
    assert code == audit.CLEAN, sentence


SOUND = {"name": "numpy", "version": "2.0", "vulns": []}
HOLED = {"name": "jinja2", "version": "2.10", "vulns": [{"id": "PYSEC-2019-217"}]}
MISSED = {"name": "numpy", "version": "2.0", "skip_reason": "not found"}


@pytest.mark.parametrize(("known", "found", "code", "words"), [
    ([HOLED], [SOUND, SOUND], 0, "None of 2"), ([HOLED], [SOUND, HOLED], 1, "jinja2 2.10: PYSEC-2019-217"),
    ([HOLED], [MISSED, HOLED], 1, "jinja2 2.10"), ([HOLED], [SOUND, MISSED], 3, "numpy"),
    ([HOLED], None, 3, "no answer"),
    ([{**SOUND, "name": "jinja2"}], [SOUND], 3, "does not know"), ([MISSED], [SOUND], 3, "does not know"),
    (None, None, 3, "not there"),
])  # fmt: skip
def test_only_a_service_that_knows_a_known_hole_can_clear_the_pins(
    known: object, found: object, code: int, words: str
) -> None:
    said = script("audit").judge(known, found)
    assert said[0] == code
    assert words in said[1]


@pytest.mark.hazard("H17")
def test_no_source_runs_data_as_code() -> None:
    """No pickle, eval, exec, shell or XML parser in the package; arrays are loaded without pickle."""
    forbidden = {"pickle", "marshal", "shelve", "dill", "xml"}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                # This one module only escapes text.
                parsers = {n.split(".")[0] for n in names if n != "xml.sax.saxutils"}
                assert not forbidden & parsers, path.name
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"eval", "exec", "os.system", "os.popen"}, path.name
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert keywords.get("shell", "False") == "False", path.name
                if called == "np.load":
                    assert keywords.get("allow_pickle", "False") == "False", path.name


@pytest.mark.hazard("H17")
def test_nothing_listens_but_the_workstation_on_this_machine() -> None:
    """No receiving DICOM server exists, so none can be on; the one listening door is asked for, and local."""
    listening = {"start_server", "listen", "bind", "create_server", "serve_forever", "AE.start_server"}
    found = {}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called.rpartition(".")[2] in listening:
                found[path.relative_to(ROOT / "src" / "sacroplasty").as_posix()] = ast.unparse(node)
    assert found == {"workstation/serve.py": "one.bind((LOOPBACK, port))"}
    from sacroplasty.workstation.serve import LOOPBACK

    assert LOOPBACK == "127.0.0.1"
