"""JupyterLab, the book and the explorer in a real browser: headless Chromium, if it is there."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest
import yaml

from miewid_lib.paths import ROOT

selenium = pytest.importorskip("selenium", reason="no selenium here")
from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not (CHROMIUM and DRIVER):
    pytest.skip("no chromium and chromium-driver here", allow_module_level=True)

WIDTHS_PX = (360, 800, 1440)
CUT_OFF = """
const inside = (e, test) => {
  for (; e; e = e.parentElement) if (test(getComputedStyle(e))) return e;
};
const unseen = (s) => s.visibility === "hidden" || s.position === "fixed" || s.clip !== "auto";
return [...document.querySelectorAll("body *")].filter((e) => {
  const box = e.getBoundingClientRect();
  const text = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  if (!text || box.width < 2 || box.height < 2 || e.closest("svg, select, dialog, script")) return;
  if (inside(e, unseen)) return;
  if (e.closest(".bd-sidebar-primary, .bd-sidebar-secondary, .skip-link, #pst-skip-link")) return;
  const scrolls = inside(e, (s) => /auto|scroll/.test(s.overflowX));
  const right = scrolls ? Infinity : document.documentElement.clientWidth;
  const clips = /hidden|clip/.test(getComputedStyle(e).overflowX);
  return (clips && e.scrollWidth > e.clientWidth + 1) || box.right > right + 1 || box.left < -1;
}).map((e) => e.tagName + "." + e.className + ": " + e.textContent.trim().slice(0, 40));
"""
NOTEBOOK_STATE = """
const panel = window.jupyterapp.shell.currentWidget;
if (!panel || !panel.content || !panel.content.widgets || !panel.context.isReady) return null;
const code = panel.content.widgets.filter((cell) => cell.model.type === "code");
return {
  path: panel.context.path,
  cells: panel.content.widgets.length,
  code: code.length,
  done: code.filter((cell) => cell.model.executionCount).length,
  errors: code.flatMap((cell) => cell.model.outputs.toJSON())
    .filter((out) => out.output_type === "error").map((out) => out.evalue),
  kernel: panel.sessionContext.session?.kernel?.status,
  dirty: panel.context.model.dirty,
};
"""


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(30)
    yield driver
    driver.quit()


def resize(browser, width_px):
    size = {"width": width_px, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def assert_quiet(browser):
    """No error in the console, and no request but to the disk and to this machine."""
    bad = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    assert not bad, bad
    events = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"].endswith("WillBeSent")
             and "request" in e["params"]]  # fmt: skip
    local = re.compile(r"file:|data:|blob:|about:|chrome|https?://(127\.0\.0\.1|localhost)[:/]")
    assert asked and not [url for url in asked if not local.match(url)]


def until(browser, condition, what, seconds=30):
    return WebDriverWait(browser, seconds, 0.1).until(lambda _: condition(), what)


def assert_whole(browser, width_px):
    """No text is cut off and the page does not scroll sideways, once its bars have settled."""
    end = time.monotonic() + 3
    while cut := browser.execute_script(CUT_OFF):
        assert time.monotonic() < end, f"{browser.current_url} at {width_px} px: {cut}"
        time.sleep(0.1)
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width_px, f"{browser.current_url} scrolls sideways at {width_px} px"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_book_reads_at_every_width(browser, site, dark):
    value = "dark" if dark else "light"
    scheme = [{"name": "prefers-color-scheme", "value": value}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    for page in ("index", "chapters/04_evaluate", "exercises/99_toy", "glossary"):
        browser.get((site / f"{page}.html").as_uri())
        until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "html[data-theme]"), "theme")
        assert browser.execute_script("return document.documentElement.dataset.theme") == value
        for width_px in WIDTHS_PX:
            resize(browser, width_px)
            assert_whole(browser, width_px)
        broken = "return [...document.images].filter(i => i.complete && !i.naturalWidth).length"
        assert browser.execute_script(broken) == 0, page
    assert_quiet(browser)


def test_search_finds_words_and_shows_them_in_place(browser, site):
    resize(browser, 1440)
    browser.get((site / "index.html").as_uri())
    browser.find_element(By.CSS_SELECTOR, ".search-button-field").click()
    field = until(
        browser,
        lambda: [e for e in browser.find_elements(By.CSS_SELECTOR, "input[type=search]")
                 if e.is_displayed()],
        "the search field",
    )[0]  # fmt: skip
    field.send_keys("teapots", Keys.ENTER)
    results = until(
        browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#search-results li"), "a result"
    )
    assert "zebras from teapots" in results[0].text
    results[0].find_element(By.TAG_NAME, "a").click()
    until(browser, lambda: "04_evaluate.html" in browser.current_url, "the page that was found")
    assert_quiet(browser)


def test_a_solution_unfolds_and_folds_by_keyboard(browser, site):
    browser.get((site / "exercises" / "99_toy.html").as_uri())
    folded = browser.find_element(By.CSS_SELECTOR, "details.solution")
    code = folded.find_element(By.CSS_SELECTOR, "pre")
    assert not code.is_displayed()
    for shown in (True, False):
        folded.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
        assert code.is_displayed() is shown
    assert "return 2 * x" in code.get_attribute("textContent")
    assert_quiet(browser)


def test_explorer_answers_by_keyboard_and_by_click(browser):
    page = ROOT / "reports" / "explorer.html"
    if not page.is_file():
        pytest.skip("no reports/explorer.html here, run dvc repro")
    browser.get(page.as_uri())
    answer = lambda: browser.find_element(By.ID, "answer").text  # noqa: E731
    query = lambda: browser.find_element(By.ID, "photo").get_attribute("value")  # noqa: E731
    first, seen = answer(), [query()]
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.ARROW_RIGHT)
    seen.append(query())
    body.send_keys(Keys.ARROW_LEFT)
    assert query() == seen[0] != seen[1] and answer() == first
    near = browser.find_elements(By.CSS_SELECTOR, "#near button")
    assert len(near) > 1 and all(e.find_element(By.TAG_NAME, "img").get_attribute("alt")
                                 for e in near)  # fmt: skip
    near[0].click()
    assert query() != seen[0]
    for box in ("species", "model"):
        options = browser.find_elements(By.CSS_SELECTOR, f"#{box} option")
        assert len(options) > 1
        options[-1].click()
        assert browser.find_element(By.ID, "near").find_elements(By.TAG_NAME, "img")
    for width_px in WIDTHS_PX:
        resize(browser, width_px)
        assert_whole(browser, width_px)
    assert_quiet(browser)


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab in a copy of what chapter 12 needs; its address and the copy."""
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["claims"]["deps"]
    data = [name for name in deps if name.startswith("data/")]
    if missing := [name for name in [*data, "reports/tables"] if not (ROOT / name).exists()]:
        pytest.skip(f"chapter 12 needs {missing[0]}, run dvc repro")
    root = tmp_path_factory.mktemp("lab")
    for name in ("miewid_lib", "reports/tables"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "reports" / "tables" / "claims.csv").unlink(missing_ok=True)  # chapter 12 writes it
    for folder in ("data", "notebooks"):
        (root / folder).mkdir()
    files = [*data, "notebooks/12_claims.py", "notebooks/12_claims.ipynb", "jupytext.toml"]
    for name in files:
        shutil.copyfile(ROOT / name, root / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = [f"--ServerApp.port={port}", "--ServerApp.token=", "--ServerApp.password="]
    settings += ["--ServerApp.ip=127.0.0.1", "--no-browser", "--allow-root"]
    settings += ["--expose-app-in-browser", "--LabApp.news_url=None"]
    settings += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    settings += ["--KernelManager.transport_encryption=auto", f"--ServerApp.root_dir={root}"]
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    own = {"PYTHONPATH": str(root), "PATH": path, "JUPYTER_PREFER_ENV_PATH": "1", "HOME": str(root)}
    with (root / "lab.log").open("wb") as log:
        command = [sys.executable, "-m", "jupyterlab", *settings]
        server = subprocess.Popen(
            command, cwd=root, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        end = time.monotonic() + 40
        while not listens(port):
            assert server.poll() is None and time.monotonic() < end, (root / "lab.log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/lab", root
    finally:
        server.terminate()
        server.wait(20)


def open_in_lab(browser, path, factory):
    ready = (
        "return !!(window.jupyterapp && window.jupyterapp.commands.hasCommand('docmanager:open'))"
    )
    until(browser, lambda: browser.execute_script(ready), "JupyterLab")
    failed = browser.execute_async_script(
        "const [path, factory, done] = arguments;"
        "window.jupyterapp.restored.then(() => window.jupyterapp.commands"
        ".execute('docmanager:open', { path, factory }))"
        ".then(() => done(null), (error) => done(String(error)));",
        path,
        factory,
    )
    assert failed is None
    opened = lambda: browser.execute_script(NOTEBOOK_STATE)  # noqa: E731
    until(browser, lambda: (opened() or {}).get("path") == path, f"{path} as a notebook")
    return opened()


def test_a_chapter_runs_in_jupyterlab_and_saving_leaves_its_source(browser, lab):
    address, root = lab
    resize(browser, 1440)
    source = root / "notebooks" / "12_claims.py"
    before = source.read_bytes()
    browser.get(address)
    as_text = open_in_lab(browser, "notebooks/12_claims.py", "Jupytext Notebook")
    opened = open_in_lab(browser, "notebooks/12_claims.ipynb", "Notebook")
    assert opened["cells"] == as_text["cells"] > 10

    state = lambda: browser.execute_script(NOTEBOOK_STATE)  # noqa: E731
    until(browser, lambda: state()["kernel"] == "idle", "a kernel")
    run = "window.jupyterapp.commands.execute('notebook:run-all-cells')"
    browser.execute_script(run)
    until(browser, lambda: state()["errors"] or state()["done"] == state()["code"], "cells", 60)
    assert state()["errors"] == []
    until(browser, lambda: state()["kernel"] == "idle", "the last cell")
    browser.execute_script("window.jupyterapp.commands.execute('docmanager:save')")
    until(browser, lambda: not state()["dirty"], "saving")
    saved = json.loads((root / "notebooks" / "12_claims.ipynb").read_text())
    until(browser, lambda: (root / "reports" / "tables" / "claims.csv").is_file(), "the table")
    assert any(cell.get("outputs") for cell in saved["cells"])
    assert source.read_bytes() == before
    assert_quiet(browser)
