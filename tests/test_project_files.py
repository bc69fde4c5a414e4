"""The files of the project itself: contributing, citation, CI, release."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
GITHUB = ROOT / ".github"


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_every_file_that_a_page_for_developers_names_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    names = re.findall(r"`((?:tltool|tests|docs|recipes|\.ci)/[^`\s]*)`", text)
    assert names
    assert not [name for name in names if not (ROOT / name).exists()]


@pytest.mark.parametrize("path", GITHUB.rglob("*.yml"), ids=lambda path: path.name)
def test_a_file_of_github_is_valid_yaml(path):
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_ci_runs_the_script_on_every_supported_python():
    job = yaml.safe_load((GITHUB / "workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]["ci"]
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(project()["classifiers"]))
    assert job["strategy"]["matrix"]["python"] == versions
    assert ".ci/run" in [step.get("run") for step in job["steps"]]


def test_the_weekly_job_lifts_every_cap():
    script = (ROOT / ".ci/newest").read_text(encoding="utf-8")
    lines = [*project()["dependencies"], *project()["optional-dependencies"]["cpu"][:1]]
    capped = [line for line in lines if ",<" in line and not line.startswith("keras-cv")]
    assert capped
    for line in capped:
        assert re.search(rf"['\\n]{re.match(r'[a-z-]+', line)[0]}>=", script)


def test_the_citation_names_the_licence_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["license"] == project()["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)


# release --------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path):
    """Return a repository that is ready for release 1.2.3, without the tools to build it."""
    for name in ("tltool", ".ci"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / ".ci/release", tmp_path / ".ci")
    (tmp_path / "tltool/__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text("## [1.2.3] - 2026-01-02\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "ready")
    return tmp_path


def release(folder: Path) -> str:
    command = ["bash", ".ci/release"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"BIN": "/none"})
    assert done.returncode != 0
    return done.stderr


def test_a_release_that_cannot_be_built_is_not_tagged(checkout):
    assert "/none/python" in release(checkout)
    assert not git(checkout, "tag")


def test_a_release_needs_a_version_of_three_numbers(checkout):
    (checkout / "tltool/__init__.py").write_text('__version__ = "1.2.3.dev0"\n')
    assert "has the version 1.2.3.dev0" in release(checkout)


def test_a_release_needs_its_date_in_the_changelog(checkout):
    (checkout / "CHANGELOG.md").write_text("## [Unreleased]\n")
    assert "CHANGELOG.md has no line '## [1.2.3]" in release(checkout)


def test_a_release_needs_a_clean_working_tree(checkout):
    (checkout / "new.py").write_text("")
    assert "not committed" in release(checkout)


def test_a_release_is_made_once(checkout):
    git(checkout, "tag", "v1.2.3")
    assert "the tag v1.2.3 exists" in release(checkout)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "requirements/README.md"])
def test_links_of_pages_outside_the_site_lead_to_files_and_headings(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text)
    assert links
    for path, anchor in links:
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings]
            assert anchor in slugs, (path, anchor)
