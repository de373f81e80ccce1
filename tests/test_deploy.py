"""The image and the composition: no engine builds them here, so they are read and held against the repository."""

import re
from pathlib import Path

import yaml

from webapp import monitoring

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


def services():
    return yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]


def test_the_image_is_made_by_the_steps_of_make_run():
    makefile = (ROOT / "Makefile").read_text()
    for step in ("-m venv", "install -r requirements.txt", "-m pipeline.models fetch photo", "python app.py"):
        assert step in makefile.replace("$(BIN)/", "").replace("-m pip ", "")
    step = r"-m venv|-r \$\{REQUIREMENTS\}|-m pipeline.models fetch photo|\"python\", \"app.py\""
    assert len(re.findall(step, DOCKERFILE)) == 4 and "ARG REQUIREMENTS=requirements.txt" in DOCKERFILE
    assert re.findall(r"^COPY --chown=studio (.+)$", DOCKERFILE, re.M) == ["requirements*.txt ./", ". ."]
    assert {"/ready"} <= {route.path for route in monitoring.ROUTES} and "/ready'" in DOCKERFILE


def test_no_image_holds_what_git_leaves_out():
    left_out = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().split()
    ignored = [line for line in (ROOT / ".gitignore").read_text().splitlines() if "checkpoints/" in line]
    assert len(ignored) == 3 and set(ignored) <= set(left_out) and {".git", ".venv", ".cache"} <= set(left_out)


def test_the_proxy_knows_every_page_and_waits_for_it():
    found, nginx = services(), (ROOT / "deploy" / "nginx.conf").read_text()
    pages = sorted(name for name in found if name.startswith("page"))
    assert sorted(set(re.findall(r"server (\w+):7860;", nginx))) == pages == sorted(found["nginx"]["depends_on"])
    for page in pages:  # each in the chances, the cookie's map, what stands in for it, and who needs no cookie
        assert len(re.findall(rf"\b{page}\b", nginx)) >= 7
        assert found[page]["depends_on"] == {"ray": {"condition": "service_healthy"}}
        assert "ports" not in found[page]  # only nginx is reached from outside, whose header the pages trust
    assert found["nginx"]["ports"] == ["8080:80"] and "listen 80;" in nginx
    assert "HEALTHCHECK" in DOCKERFILE  # by which nginx waits


def test_both_images_are_one_and_hold_ray():
    found = services()
    builds = [found[name]["build"] for name in ("page1", "page2", "ray")]
    assert builds[0] == builds[1] == builds[2] and builds[0]["args"]["REQUIREMENTS"] == "requirements-ray.txt"
    assert (ROOT / "deploy" / builds[0]["context"] / builds[0]["dockerfile"]).is_file()
    for name in re.findall(r"^\s*# (BASE|TORCH):", (ROOT / "deploy" / "compose.yaml").read_text(), re.M):
        assert f"ARG {name}=" in DOCKERFILE
