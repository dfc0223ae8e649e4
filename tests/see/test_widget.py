"""The report as a notebook widget: two of them on a page that is not theirs, and the class that anywidget shows."""

import base64
import functools
import sys

import pytest

from minidl import optim, see
from minidl.see.report import contents
from minidl.see.report.notebook import _kind
from minidl.see.report.page import pack, script, style
from tests.see.test_report import lenet_run

# What anywidget does, in a notebook that has a style, a table and keys of its own: the module comes from a blob, the
# style into the head, model.get() gives bytes as a DataView, and what render returns is called when the output goes.
NOTEBOOK = """<!doctype html>
<style>
body { margin: 13px; background: #fff; color: #123456 } table { width: 321px } #two { background: #111; width: 420px }
</style>
<h1>A notebook</h1><table><tr><td>mine</td></tr></table><pre>text</pre><button>mine</button>
<div id="one"></div><div id="two"></div>
<script>
window.heard = [];
document.addEventListener("keydown", (event) => heard.push(event.key));
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
window.load = async (module, css) => {
  document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
  window.widget = (await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })))).default;
};
window.show = async (place, data) => {
  const inside = new Uint8Array([1, 2, 3, ...bytes(data)]);  // a view that begins inside of its buffer, as they do
  const model = { get: (name) => ({ data: new DataView(inside.buffer, 3) })[name], on() {}, off() {} };
  const el = document.createElement("div");
  window[`${place}Closed`] = await widget.render({ model, el, experimental: {} });  // el has no place on the page yet
  document.getElementById(place).append(el);
};
</script>"""

LOOKS = """() => ["html", "body", "h1", "table", "pre", "button"].map((tag) => {
  const style = getComputedStyle(document.querySelector(tag));
  return ["margin", "padding", "color", "backgroundColor", "font", "width", "borderTop", "colorScheme"]
    .map((name) => style[name]).join(" / ");
})"""


@pytest.fixture
def notebook(browser):
    """The page above with the module loaded; at the end no error and nothing asked of the network."""
    context = browser.new_context(viewport={"width": 1300, "height": 800}, offline=True, color_scheme="light")
    page = context.new_page()
    errors, requests = [], []
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: requests.append(r.url))
    page.set_content(NOTEBOOK)
    page.looks = page.evaluate(LOOKS)
    page.evaluate("([module, css]) => load(module, css)", [script(), style()])
    yield page
    context.close()
    assert not errors
    assert all(url.startswith("blob:") for url in requests)


@functools.cache
def packed(title, limit):
    run, _ = lenet_run()
    return base64.b64encode(pack(*contents(run, title=title, optimizer=None, limit=limit))).decode()


def show(page, place, title, limit=6_000_000):
    page.evaluate("([place, data]) => show(place, data)", [place, packed(title, limit)])
    page.wait_for_selector(f"#{place} [data-ready]")


def title_of(page, place):
    return page.inner_text(f"#{place} .layer-title")


def test_two_widgets_leave_each_other_and_the_page_alone(notebook):
    show(notebook, "one", "first", limit=30_000)
    show(notebook, "two", "second")
    assert notebook.inner_text("#one h1").startswith("first")
    assert notebook.inner_text("#two h1").startswith("second")
    assert notebook.evaluate(LOOKS) == notebook.looks
    assert notebook.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)") == ["one", "two"]
    assert notebook.evaluate("scrollY") == 0, "to draw a widget does not scroll to it"

    notebook.click('#two [data-key="features.3"]')
    assert title_of(notebook, "two").startswith("features.3")
    assert title_of(notebook, "one").startswith("features.0")
    notebook.click("#one header >> text=light/dark")
    assert notebook.evaluate("[one, two].map(e => e.firstChild.firstChild.dataset.theme)") == ["dark", "dark"]
    assert notebook.evaluate("document.documentElement.dataset.theme") is None


def test_keys_act_where_the_focus_is_and_the_notebook_keeps_its_own(notebook):
    show(notebook, "one", "first")
    show(notebook, "two", "second")
    notebook.focus("body > button")
    notebook.keyboard.press("n")
    assert [title_of(notebook, place)[:10] for place in ("one", "two")] == ["features.0"] * 2
    assert notebook.evaluate("heard") == ["n"]

    notebook.focus("#one .middle")
    for key in ("n", "n", "x", "ArrowDown", "Enter"):
        notebook.keyboard.press(key)
    assert [title_of(notebook, place)[:10] for place in ("one", "two")] == ["features.2", "features.0"]
    assert notebook.evaluate("heard") == ["n"], "x would cut the cell"
    for key in ("Escape", "Shift+Enter", "Control+s"):
        notebook.keyboard.press(key)
    assert [key for key in notebook.evaluate("heard") if len(key) > 1] == ["Escape", "Shift", "Enter", "Control"]

    notebook.keyboard.press("/")
    assert notebook.evaluate("one.contains(document.activeElement)")
    notebook.keyboard.type("features.3[0,1,2,3]")
    notebook.keyboard.press("Enter")
    assert notebook.inner_text("#one .explain-title").startswith("features.3[0,1,2,3] = ")
    assert not notebook.inner_text("#two .explain-title").startswith("features.3")


def test_a_widget_goes_without_a_trace(notebook):
    empty = notebook.evaluate("one.innerHTML + document.body.children.length")
    show(notebook, "one", "first")
    show(notebook, "two", "second")
    notebook.focus("#one .middle")
    notebook.evaluate("oneClosed()")
    assert notebook.evaluate("one.firstChild.remove(); one.innerHTML + document.body.children.length") == empty
    notebook.keyboard.press("n")
    assert notebook.evaluate("heard") == ["n"]
    assert title_of(notebook, "two").startswith("features.0")


def test_a_widget_fits_its_cell_and_takes_its_light(notebook):
    show(notebook, "one", "first")
    show(notebook, "two", "second")  # 420 pixels wide, on black
    wide, narrow = (
        notebook.evaluate(f"(e => [e.scrollWidth, e.clientWidth])({place}.firstChild.firstChild)")
        for place in ("one", "two")
    )
    assert wide[0] == wide[1] > 1200
    assert narrow == [420, 420]
    assert notebook.locator("#one .middle").bounding_box()["x"] > notebook.locator("#one .side").bounding_box()["x"]
    assert notebook.locator("#two .middle").bounding_box()["x"] == notebook.locator("#two .side").bounding_box()["x"]
    notebook.wait_for_selector("#two [data-theme=dark]")
    notebook.wait_for_selector("#one [data-theme=light]")


# ---- the Python side ---------------------------------------------------------------------------------------------


def test_without_anywidget_it_says_what_to_install(monkeypatch):
    run, _ = lenet_run()
    monkeypatch.setitem(sys.modules, "anywidget", None)
    _kind.cache_clear()
    sentence = r"a report in a notebook needs the package anywidget \(.*\): python -m pip install anywidget$"
    with pytest.raises(see.SeeError, match=sentence):
        see.widget(run)


def test_the_widget_holds_what_the_report_holds():
    pytest.importorskip("anywidget", reason="needs anywidget, of the extra minidl[notebook]")
    _kind.cache_clear()
    run, model = lenet_run()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    shown = see.widget(run, title="mine", optimizer=optimizer, limit=50_000)
    assert shown.data == pack(*contents(run, title="mine", optimizer=optimizer, limit=50_000))
    assert shown.get_state()["_esm"] == script()
    assert shown.get_state()["_css"] == style()
    assert repr(shown) == f"<report of mine, {len(shown.data) / 1e6:.1f} MB>"
    assert "application/vnd.jupyter.widget-view+json" in shown._repr_mimebundle_()[0]
    assert isinstance(shown, _kind()) and isinstance(see.widget(run), _kind())


def test_a_run_without_values_is_refused():
    pytest.importorskip("anywidget", reason="needs anywidget, of the extra minidl[notebook]")
    run, _ = lenet_run(keep_values=False)
    with pytest.raises(see.SeeError, match="a report shows numbers, and this run was traced with keep_values=False"):
        see.widget(run)
