"""The report's file, and its page in a real browser: what it computes is what the run had and what the API says."""

import numpy as np
import pytest

import minidl
from minidl import models, nn, optim, see
from minidl.nn import functional as F
from minidl.see.report import contents, document, render, report


class Mixed(nn.Module):
    """Everything that the page can take apart in one small network, shapes awkward on purpose."""

    def __init__(self):
        super().__init__()
        self.grouped = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.up = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, groups=2, output_padding=1)
        self.side = nn.Conv2d(6, 3, 1, bias=False)
        self.trained = nn.BatchNorm2d(3).eval()
        self.linear = nn.Linear(3 * 3 * 4, 5)

    def forward(self, x):
        x = self.norm(self.grouped(x)).relu()
        y = self.up(x).sigmoid()
        y = F.max_pool2d(y, 3, 2, ceil_mode=True)
        side = F.avg_pool2d(self.trained(self.side(x)), 2, 1, padding=1, count_include_pad=False)
        both = minidl.cat([y[:, 1:3], side[:, :, : y.shape[2], : y.shape[3]]], 1)
        both = both * 0.5 - both.mean((2, 3), True) / 3.0
        z = F.adaptive_avg_pool2d(both, (3, 4)).transpose(2, 3)
        return self.linear(z[:, :3].flatten(1)).tanh()


def mixed_run(dtype):
    minidl.manual_seed(3)
    x = minidl.randn(2, 4, 7, 6).to(dtype)
    model = Mixed().to(dtype)
    return see.trace(model, x, target=np.array([1, 4]), loss="cross_entropy"), model


def lenet_run(**options):
    minidl.manual_seed(1)
    model = models.lenet5()
    return see.trace(model, minidl.randn(2, 1, 32, 32), target=np.array([3, 7]), loss="cross_entropy", **options), model


# ---- the file ----------------------------------------------------------------------------------------------------


def test_the_file_needs_nothing_from_anywhere(tmp_path):
    run, _ = lenet_run()
    report(run, tmp_path / "run.html", title="LeNet & <friends>")
    text = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert "<title>LeNet &amp; &lt;friends&gt;: minidl report</title>" in text
    assert "default-src 'none'" in text
    for outside in ('src="', 'href="', "@import", "url(", "fetch("):
        assert outside not in text.replace("dagre", "")
    assert "Permission is hereby granted" in text, "the licence of the layout library goes with it"


def test_the_same_run_gives_the_same_file():
    run, _ = lenet_run()
    assert render(run) == render(run)


def test_a_run_without_values_is_refused(tmp_path):
    run, _ = lenet_run(keep_values=False)
    with pytest.raises(see.SeeError, match="a report shows numbers, and this run was traced with keep_values=False"):
        report(run, tmp_path / "run.html")
    assert not (tmp_path / "run.html").exists()


def test_an_older_report_is_left_whole_when_writing_fails(tmp_path):
    run, _ = lenet_run()
    (tmp_path / "run.html").mkdir()
    with pytest.raises(OSError):
        report(run, tmp_path / "run.html")
    assert list(tmp_path.iterdir()) == [tmp_path / "run.html"]


def test_the_step_leaves_model_and_optimiser_as_they_were():
    run, model = lenet_run()
    before = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    render(run, optimizer=optimizer)
    assert all(np.array_equal(before[k], v.numpy()) for k, v in model.state_dict().items())
    assert not optimizer.state and all(p.grad is None for p in model.parameters())
    assert see.explain(run, "output[0,1]").value == pytest.approx(float(run.outputs[0].read()[0, 1]))


def test_an_optimiser_that_the_page_cannot_explain_is_refused():
    run, model = lenet_run()
    with pytest.raises(see.SeeError, match="the first step of SGD, Adam or AdamW with one group of parameters"):
        render(run, optimizer=optim.RMSprop(model.parameters()))


# ---- the page ----------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a run's report without a network; at the end no error and no request but for the file."""
    errors, requests, contexts = [], [], []

    def open_(run, width=1400, height=900, **options):
        report(run, tmp_path / "run.html", **options)
        context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("request", lambda r: requests.append(r.url))
        page.goto((tmp_path / "run.html").as_uri())
        page.wait_for_selector("#report[data-ready]")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not errors
    assert all(url.endswith("run.html") for url in requests)


_ASK = """places => places.map(([number, index, which]) => {
  const value = minidl.run.value(number);
  const answer = minidl.explainer.explain(value, index, which);
  return { sum: answer.sum, stored: answer.stored, terms: answer.terms.filter(t => !t.padding).length,
           weight: answer.terms.reduce((s, t) => s + Math.abs(t.product), 0) };
})"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kind_of_number_adds_up_in_the_page(opened, dtype):
    run, _ = mixed_run(dtype)
    page = opened(run)
    rng = np.random.default_rng(0)
    places = []
    for value in {
        v.number: v for r in run if r.phase != "backward" for v in (*r.args, *r.outputs) if hasattr(v, "read")
    }.values():
        if value.dtype.kind != "f" or (value.record is not None and value.record.op == "max_pool" and value.output):
            continue
        for _ in range(4):
            index = [int(rng.integers(n)) for n in value.shape]
            places.append([value.number, index, "own"])
            try:
                run.gradient(value)
            except see.SeeError:
                continue
            places.append([value.number, index, "grad"])
    assert len(places) > 200
    eps = float(np.finfo(dtype).eps)
    for place, found in zip(places, page.evaluate(_ASK, places)):
        assert abs(found["sum"] - found["stored"]) <= 64 * eps * max(found["weight"], abs(found["stored"]), 1e-6), place


def test_the_page_and_the_api_agree(opened):
    run, _ = lenet_run()
    page = opened(run)
    names = [
        "features.0[1,3,7,20]",
        "features.3[0,15,9,0]",
        "features.2[1,5,13,13]",
        "features.0.weight.grad[4,0,2,3]",
        "features.3.weight.grad[3,5,0,4]",
        "input.grad[1,0,16,9]",
        "classifier.0.weight.grad[7,300]",
        "features.5.grad[0,9,2,2]",
    ]
    for name in names:
        value, index, grad = see.names.find_element(run, name)
        [found] = page.evaluate(_ASK, [[value.number, list(index), "grad" if grad else "own"]])
        answer = see.explain_grad(run, name) if grad else see.explain(run, name)
        assert found["stored"] == pytest.approx(answer.value, rel=1e-12), name
        assert found["sum"] == pytest.approx(answer.computed, rel=1e-9, abs=1e-9), name


def test_clicking_a_pixel_explains_it(opened):
    run, _ = lenet_run()
    page = opened(run)
    page.click('[data-key="features.3"]')
    assert page.inner_text(".layer-title").startswith("features.3 Conv2d(6, 16")
    canvas = page.locator(".middle canvas").nth(2)
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 0.45, "y": box["height"] * 0.75})  # of 10 by 10: row 7, column 4
    stored = float(run.names["features.3"].read()[0, 2, 7, 4])
    assert page.inner_text(".explain-title").startswith("features.3[0,2,7,4] = ")
    proof = page.locator(".explanation .sum")
    assert float(proof.get_attribute("data-stored")) == stored
    assert float(proof.get_attribute("data-sum")) == pytest.approx(stored, abs=1e-5)
    assert page.locator(".explanation caption").inner_text() == "151 terms"  # 6 x 5 x 5 and the bias
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".explain-title").startswith("features.3[0,2,7,5] = ")
    page.click(".explanation .terms .ref >> nth=0")  # a factor leads on to its own explanation
    assert "features.3[" not in page.inner_text(".explain-title")


def test_a_linear_layer_is_one_sum_of_inputs_times_weights(opened):
    run, _ = lenet_run()
    page = opened(run)
    output = run.outputs[0]
    ask = """([number, index]) => minidl.explainer.explain(minidl.run.value(number), index, "own").terms
      .map(t => t.parts.map(p => p.value.name))"""
    terms = page.evaluate(ask, [output.number, [1, 7]])
    assert terms == [["classifier.3", "classifier.4.weight"]] * 84 + [["classifier.4.bias"]]


def test_why_a_weight_changes(opened):
    run, model = lenet_run()
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    page = opened(run, optimizer=optimizer)
    page.fill(".goto", "features.0.weight[2,0,1,3]")
    page.press(".goto", "Enter")
    page.click("text=its change in one step")
    pressed = page.locator(".explanation [aria-pressed]").evaluate_all("all => all.map(e => e.ariaPressed)")
    assert pressed == ["false", "false", "true"], "the number, its gradient, its change"
    w = model.get_parameter("features.0.weight").numpy()[2, 0, 1, 3]
    g = run.gradients["features.0.weight"].read()[2, 0, 1, 3]
    proof = page.locator(".explanation .sum")
    assert float(proof.get_attribute("data-stored")) == pytest.approx(w - 0.05 * (g + 0.01 * w), rel=1e-6)
    assert float(proof.get_attribute("data-sum")) == pytest.approx(w - 0.05 * (g + 0.01 * w), rel=1e-6)


@pytest.mark.parametrize("kind", ["Adam", "AdamW"])
def test_a_step_of_adam_adds_up(opened, kind):
    run, model = lenet_run()
    page = opened(run, optimizer=getattr(optim, kind)(model.parameters(), lr=0.01, weight_decay=0.1))
    page.fill(".goto", "classifier.4.weight[2,11]")
    page.press(".goto", "Enter")
    page.click("text=its change in one step")
    proof = page.locator(".explanation .sum")
    assert float(proof.get_attribute("data-sum")) == pytest.approx(float(proof.get_attribute("data-stored")), rel=1e-5)
    assert float(proof.get_attribute("data-stored")) != model.get_parameter("classifier.4.weight").numpy()[2, 11]


def test_steps_go_forward_and_then_back(opened):
    run, _ = lenet_run()
    page = opened(run)
    page.locator(".middle").focus()
    page.keyboard.press("n")
    assert page.inner_text(".layer-title").startswith("features.1 Tanh")
    forward = sum(r.phase != "backward" for r in run)
    for _ in range(forward - 1):
        page.keyboard.press("n")
    assert page.get_attribute(".gradients", "aria-pressed") == "true"  # the backward pass begins, at the loss
    page.keyboard.press("p")
    assert page.get_attribute(".gradients", "aria-pressed") == "false"
    page.keyboard.press("g")
    page.click('[data-key="features.3"]')
    captions = page.locator(".middle figcaption").all_inner_texts()
    assert [c.split(": ")[0] for c in captions] == ["gradient", "features.3.weight.grad", "features.3.bias.grad"]


def test_keys_go_on_working_where_what_had_the_focus_is_drawn_anew(opened):
    run, _ = lenet_run()
    page = opened(run)
    position = page.locator("header output")
    page.locator(".middle canvas").first.click()  # has the focus, and goes with the layer
    page.keyboard.press("n")
    page.keyboard.press("n")
    assert position.inner_text().startswith("3/")
    page.locator(".explanation .ref").first.click()  # goes with the explanation
    page.keyboard.press("g")
    assert page.get_attribute(".gradients", "aria-pressed") == "true"
    page.click("text=Fold features")
    page.keyboard.press("f")  # unfolds again
    assert page.locator('[data-key="features.3"]').count() == 1
    page.locator('[data-key="features.3"]').focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.key") == "features.3"
    page.keyboard.press("t")
    assert page.evaluate("document.querySelector('#report').dataset.theme") in ("light", "dark")


def test_modules_fold_and_unfold(opened):
    run, _ = lenet_run()
    page = opened(run)
    page.click('[data-key="features.0"]')
    page.click("text=Fold features")
    assert page.locator('[data-key="features"]').count() == 1
    assert page.locator('[data-key="features.0"]').count() == 0
    page.click("text=Unfold this module")
    assert page.locator('[data-key="features.0"]').count() == 1
    page.dblclick('[data-key="loss"]')
    assert page.locator('[data-key="loss"]').count() == 0
    assert page.inner_text(".layer-title") == "log_softmax", "what the unfolded box begins with is shown"


def test_a_wrong_name_is_answered_at_the_field(opened):
    run, _ = lenet_run()
    page = opened(run)
    for wrong, answer in [("feat[0]", "no such name"), ("features.0[9,9,9,9]", "has shape 2×6×28×28")]:
        page.fill(".goto", wrong)
        page.press(".goto", "Enter")
        assert page.get_attribute(".goto", "aria-invalid") == "true"
        assert answer in page.evaluate("document.querySelector('.goto').validationMessage")


def test_tables_of_layers_and_memory(opened):
    run, _ = lenet_run()
    page = opened(run)
    page.click("header >> text=table")
    assert page.locator(".middle tbody tr").count() == page.locator(".graph .box").count()
    page.click("header >> text=memory")
    text = page.inner_text(".middle")
    kept = {value.number: value for r in run for _, value, _ in r.saved}
    assert f"{len(kept)} arrays are kept" in text
    assert "the gradient of w reads it as x" in text
    assert "(a view)" in text, "the transposed weight of a linear layer takes no memory of its own"


def test_a_large_network_gets_pictures_and_a_pointer_to_the_terminal(opened, monkeypatch):
    monkeypatch.setattr(document, "_SAMPLE", 2 * 6 * 28 * 28 // 3)
    run, _ = lenet_run()
    page = opened(run, limit=30_000)
    page.click('[data-key="features.0"]')
    assert "the numbers did not fit into the page" in page.inner_text(".middle")
    assert "(of every 3rd number)" in page.inner_text(".middle")
    page.fill(".goto", "features.0[0,1,2,3]")
    page.press(".goto", "Enter")
    assert 'minidl explain MODEL --input X --at "features.0[0,1,2,3]"' in page.inner_text(".explanation")


def test_many_values_have_small_pictures(monkeypatch):
    run, _ = lenet_run()
    shown = {}
    for budget in (10**9, 20_000, 1):
        monkeypatch.setattr(document, "_PICTURES", budget)
        entries, _ = contents(run, title=None, optimizer=None, limit=2_000)
        found = [
            n["picture"] for v in entries["values"].values() for n in (v["own"], v["grad"]) if "picture" in (n or ())
        ]
        shown[budget] = sum(p["data"]["count"] for p in found), max(p["shape"][0] for p in found), len(found)
    (_, most, pictures), (size, some, _), (_, one, _) = shown.values()
    assert (most, one) == (12, 1) and 1 < some < 12 and size <= 20_000 and pictures > 5


@pytest.mark.parametrize("width", [390, 1400, 1920])
def test_nothing_runs_over_the_edge(opened, width):
    run, _ = lenet_run()
    page = opened(run, width=width)
    page.fill(".goto", "features.3.weight.grad[3,5,0,4]")
    page.press(".goto", "Enter")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_every_control_has_a_name_for_a_screen_reader(opened):
    run, _ = lenet_run()
    page = opened(run)
    page.fill(".goto", "features.3[0,0,1,1]")
    page.press(".goto", "Enter")
    controls = "button, canvas, input, select, [role=button], [role=img]"
    nameless = page.evaluate(
        """controls => [...document.querySelectorAll(controls)]
        .filter(e => !(e.getAttribute("aria-label") || e.textContent.trim() || e.closest("label")?.textContent.trim()))
        .map(e => e.outerHTML.slice(0, 80))""",
        controls,
    )
    assert nameless == []
