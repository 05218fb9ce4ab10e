"""Pages of `tinycnn explain` in a browser: that their self-test holds and would see a wrong number, hovering, stepping, keys, colours, a phone's screen."""
import base64
import json
import re

import numpy as np
import pytest
from browsers import chromium, console, screen

from tinycnn.cli import main
from tinycnn.kernels.conv import reference
from tinycnn.kernels.conv.geometry import Geometry

pytestmark = pytest.mark.browser

STRIDED = ("conv", "--input", "6x5", "--kernel", "3", "--stride", "2", "--padding", "1", "--channels", "2", "--filters", "2")
PAGES = {
    "plain": ("conv",),
    "strided": STRIDED,
    "dilated": ("conv", *"--input 6x7 --kernel 2x3 --dilation 2x1 --stride 1x2 --padding 1x2".split()),
    "groups, dilation, left over": ("conv", *"--input 7x6 --kernel 3x2 --dilation 1x2 --stride 2 --channels 4 --filters 6 --groups 2 --batch 2".split(),
                                    "--numbers", "normal", "--no-bias"),
    "padding beyond the filter": ("conv", *"--input 4x3 --kernel 2x1 --padding 3x2 --stride 3x1".split()),
    "one by one": ("conv", *"--input 1x1 --kernel 1 --stride 3".split()),
    "maxpool": ("maxpool", *"--input 6x7 --kernel 3x2 --stride 2 --padding 1 --ceil-mode --channels 2 --batch 2".split()),
    "maxpool, dilated": ("maxpool", *"--input 7 --kernel 2 --stride 1x3 --dilation 2".split()),
    "avgpool": ("avgpool", *"--input 6x7 --kernel 3 --stride 2 --padding 1 --ceil-mode --no-count-pad".split()),
    "lrn": ("lrn", *"--channels 6 --size 4 --batch 2 --numbers normal".split()),
    "relu": ("relu", "--channels", "2"),
    "inception": ("inception",),
    "residual": ("residual", "--batch", "2", "--numbers", "normal"),
    "residual, projected": ("residual", "--filters", "3", "--stride", "2", "--input", "6x5"),
    "too large to draw all": ("conv", *"--input 20x21 --kernel 5 --padding 2 --channels 6 --filters 5 --numbers normal".split()),
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A function: the file of a page, written once."""
    folder = tmp_path_factory.mktemp("pages")

    def page(name):
        path = folder / f"{name}.html"
        if not path.exists():
            main(["explain", *PAGES[name], "-o", str(path)])
        return path
    return page


@pytest.fixture
def opened(browser, pages):
    """A function that opens a page and waits for its self-test; afterwards nothing may have gone wrong."""
    def visit(name):
        show(browser, pages(name))
        return browser
    screen(browser, 1280, 1000)
    yield visit
    assert console(browser) == []


def show(browser, path):
    from selenium.webdriver.support.ui import WebDriverWait
    browser.get(path.as_uri())
    WebDriverWait(browser, 600).until(lambda _: state(browser) != "working")


def state(browser):
    return browser.execute_script("return document.querySelector('#badge').dataset.state")


def one(browser, selector):
    return browser.find_element("css selector", selector)


def cell(browser, figure, i, j, panel=0):
    return one(browser, f'figure[data-figure="{figure}"] table[data-panel="{panel}"] td[data-i="{i}"][data-j="{j}"]')


def hover(browser, element):
    from selenium.webdriver import ActionChains
    ActionChains(browser).move_to_element(element).perform()


def press(browser, *keys):
    from selenium.webdriver import ActionChains
    ActionChains(browser).send_keys(*keys).perform()


def result(browser):
    """(name, value) of the sum that is shown."""
    return one(browser, ".result b").text, float(one(browser, ".result output").text.replace("−", "-"))


def view(browser, tab, name=None):
    one(browser, f"#tab-{tab}").click()
    if name:
        one(browser, f'#views label:has([value="{name}"])').click()


@pytest.mark.parametrize("name", PAGES)
def test_the_page_agrees_with_the_engine(opened, name):
    """Kills: a geometry that JavaScript works out otherwise, an error while drawing any view."""
    browser = opened(name)
    assert state(browser) == "good", one(browser, "#selftest").get_attribute("innerText")
    for tab in browser.find_elements("css selector", "#tabs button"):
        tab.click()
        for value in [radio.get_attribute("value") for radio in browser.find_elements("css selector", "#views:not([hidden]) input")] or [None]:
            view(browser, tab.get_attribute("data-tab"), value)
            browser.execute_script("for (let i = 0; i < 12; i++) document.querySelector('#next').click()")
            name, total = result(browser)
            engine = browser.find_elements("css selector", ".engine")
            assert not engine or float(engine[0].text.removeprefix("the engine says ").replace("−", "-")) == pytest.approx(total, rel=1e-4, abs=1e-4), (value, name)


CHECKED = {"strided": ("y", "dx", "dw", "db", "used", "met"), "maxpool": ("y", "places", "dx"), "avgpool": ("y", "dx"), "lrn": ("base", "y", "dx"), "relu": ("y", "dx")}
NODES = {"inception": ("reduce3", "three", "pool", "y"), "residual": ("first", "second", "x"), "residual, projected": ("shortcut", "y")}


@pytest.mark.parametrize("name, array", [(name, array) for name, names in CHECKED.items() for array in names])
def test_the_self_test_sees_a_wrong_number(browser, pages, tmp_path, name, array):
    """One number of one array is changed by a hundredth. Kills: a check that compares an array with itself, or is left out."""
    def wrong(match):
        data = json.loads(match[2])
        numbers = np.frombuffer(base64.b64decode(data["arrays"][array]["base64"]), "<f4").copy()
        numbers[-1] += 0.01
        data["arrays"][array]["base64"] = base64.b64encode(numbers).decode()
        return match[1] + json.dumps(data) + match[3]
    text = re.sub(r'(<script type="application/json" id="data">)(.*?)(</script>)', wrong, pages(name).read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "wrong.html").write_text(text, encoding="utf-8")
    show(browser, tmp_path / "wrong.html")
    assert state(browser) == "bad" and "disagree" in one(browser, "#badge").text


@pytest.mark.parametrize("name, node", [(name, node) for name, nodes in NODES.items() for node in nodes])
@pytest.mark.parametrize("what", ["value", "gradient"])
def test_the_self_test_sees_a_wrong_number_in_a_block(browser, pages, tmp_path, name, node, what):
    """Kills: a node that is not checked forward, or not backward."""
    if (node, what) in (("x", "value"), ("y", "gradient")):
        name, node = "inception", "five"  # what a block is given has nothing to be checked against
    text = pages(name).read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    array = next(one for one in data["nodes"] if one["id"] == node)[what]
    right = array["base64"]
    numbers = np.frombuffer(base64.b64decode(right), "<f4").copy()
    numbers[-1] += 0.05
    (tmp_path / "wrong.html").write_text(text.replace(right, base64.b64encode(numbers).decode()), encoding="utf-8")
    show(browser, tmp_path / "wrong.html")
    assert state(browser) == "bad"


def arrays(path):
    data = json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)[1])["arrays"]
    return {name: np.frombuffer(base64.b64decode(array["base64"]), "<f4").reshape(array["shape"]).astype(np.float64) for name, array in data.items()}


def test_hovering_shows_where_a_number_comes_from(opened, pages):
    """What is coloured is exactly what the number depends on, as the reference kernel has it. Kills: a window that lies elsewhere, a letter on the wrong cell."""
    browser, a, geometry = opened("strided"), arrays(pages("strided")), Geometry((2, 2), (1, 1))

    def factors(figure, panel):
        return {(int(td.get_attribute("data-i")), int(td.get_attribute("data-j"))): td.get_attribute("data-product")
                for td in browser.find_elements("css selector", f'figure[data-figure="{figure}"] table[data-panel="{panel}"] td.factor')}
    view(browser, "forward")
    hover(browser, cell(browser, "y", 1, 2))
    assert result(browser) == ("y[0, 0, 1, 2]", a["y"][0, 0, 1, 2])
    for c in range(2):
        seen = reference.input_grad(np.eye(9)[5].reshape(1, 1, 3, 3), np.ones((1, 1, 3, 3)), (1, 1, 6, 5), geometry)[0, 0]
        assert set(factors("x", c)) == {(h + 1, v + 1) for h, v in zip(*np.nonzero(seen))}
    view(browser, "dx", "collect")
    for h, v in ((0, 0), (1, 1), (5, 4)):
        hover(browser, cell(browser, "dx", h, v))
        assert result(browser) == (f"dx[0, 0, {h}, {v}]", a["dx"][0, 0, h, v])
        for k in range(2):
            dys, ws, total = factors("dy", k), factors("w", k), 0
            used = reference.forward(np.eye(30)[h * 5 + v].reshape(1, 1, 6, 5), np.ones((1, 1, 3, 3)), None, geometry)[0, 0]
            assert set(dys) == set(zip(*np.nonzero(used)))
            for (p, q), letter in dys.items():
                r, s = next(tap for tap, other in ws.items() if other == letter)
                assert (p * 2 + r - 1, q * 2 + s - 1) == (h, v)
                total += a["dy"][0, k, p, q] * a["w"][k, 0, r, s]
            assert total == pytest.approx(reference.input_grad(a["dy"][:, k:k + 1], a["w"][k:k + 1], a["x"].shape, geometry)[0, 0, h, v])
    view(browser, "dw", "weights")
    hover(browser, cell(browser, "dw", 0, 2))
    assert result(browser) == ("dw[0, 0, 0, 2]", a["dw"][0, 0, 0, 2])
    positions = {letter: at for at, letter in factors("dy", 0).items()}
    assert {(1 + 2 * p + 0 - 1, 1 + 2 * q + 2 - 1) for p, q in positions.values()} == set(factors("x", 0))


PAIRED = {  # tab and view -> what is multiplied in it, and where the result stands
    ("forward", "window"): ("x", "w", "y"), ("forward", "columns"): ("W", "U", "Y"),
    ("dx", "collect"): ("dy", "w", "dx"), ("dx", "correlation"): ("spread", "w", "dx"), ("dx", "transposed"): ("A", "dy", "dx"),
    ("dw", "weights"): ("x", "dy", "dw"), ("dw", "dilated"): ("x", "filter", "dw"), ("dw", "transposedColumns"): ("dY", "U", "dW")}
MARKED = """const [figure] = arguments;
return [...document.querySelectorAll(`figure[data-figure="${figure}"] td.factor`)]
  .map((td) => [`${td.closest("table").dataset.panel} ${td.dataset.product}`, Number(td.textContent.replace("−", "-"))]);"""


@pytest.mark.parametrize("page", ["strided", "dilated"])
@pytest.mark.parametrize("tab, name", PAIRED)
def test_what_is_coloured_adds_up(opened, page, tab, name):
    """In every view, cells of one colour, multiplied, and these products added up make the chosen number (and the bias). Kills: a letter on another cell in any view."""
    browser = opened(page)
    first, second, target = PAIRED[tab, name]
    view(browser, tab, name)
    for chosen in browser.find_elements("css selector", f'figure[data-figure="{target}"] td')[::7]:
        hover(browser, chosen)
        one_side, other_side = (dict(browser.execute_script(MARKED, figure)) for figure in (first, second))
        if name in ("columns", "transposedColumns"):
            assert set(one_side) == set(other_side)
        total = sum(value * other_side[product] for product, value in one_side.items())
        start = browser.find_elements("css selector", ".sum .start td:last-child")
        assert total + (float(start[0].text.replace("−", "-")) if start else 0) == result(browser)[1], result(browser)[0]
        assert "chosen" in chosen.get_attribute("class")


def test_scattering_ends_with_dx(opened, pages):
    """Kills: a step that overwrites, a step that is left out, an order that is not that of the loops."""
    browser, dx = opened("strided"), arrays(pages("strided"))["dx"][0, 0]
    view(browser, "dx", "scatter")
    hover(browser, cell(browser, "dy", 2, 2, panel=1))
    shown = browser.execute_script("return [...document.querySelectorAll('figure[data-figure=dx] td')].map((td) => Number(td.textContent.replace('−', '-')))")
    np.testing.assert_array_equal(np.reshape(shown, dx.shape), dx)
    hover(browser, cell(browser, "dy", 0, 0))
    assert len(browser.find_elements("css selector", "figure[data-figure=dx] td.factor")) == 4  # of nine taps five lie on padding


def test_a_maximum_sends_its_gradient_to_the_winner(opened, pages):
    """Kills: a gradient that losers get, windows that are not those of the element."""
    browser, a = opened("maxpool"), arrays(pages("maxpool"))
    view(browser, "dx", "collect")
    winner = int(a["places"][0, 0, 1, 1])
    hover(browser, cell(browser, "dx", winner // 7, winner % 7))
    assert result(browser) == (f"dx[0, 0, {winner // 7}, {winner % 7}]", a["dx"][0, 0, winner // 7, winner % 7])
    assert "factor" in cell(browser, "dy", 1, 1).get_attribute("class")
    view(browser, "forward")
    hover(browser, cell(browser, "y", 1, 1))
    assert [(int(td.get_attribute("data-i")), int(td.get_attribute("data-j"))) for td in browser.find_elements("css selector", "figure[data-figure=x] td.factor")] == [
        (winner // 7, winner % 7)]


def test_a_block_adds_up_its_paths(opened, pages):
    """Kills: a branch left out of dx, a gradient that is cut into the wrong maps, a node's input that is not coloured."""
    from selenium.webdriver.support.ui import Select
    browser = opened("inception")
    nodes = {node["id"]: node for node in json.loads(re.search(r'id="data">(.*?)</script>', pages("inception").read_text(encoding="utf-8"), re.DOTALL)[1])["nodes"]}
    gradient = {name: np.frombuffer(base64.b64decode(node["gradient"]["base64"]), "<f4").reshape(node["gradient"]["shape"]) for name, node in nodes.items()}
    np.testing.assert_array_equal(np.concatenate([gradient[name] for name in ("one", "three", "five", "projection")], 1), gradient["y"])
    view(browser, "backward")
    hover(browser, cell(browser, "x", 1, 3))
    assert result(browser)[1] == pytest.approx(gradient["x"][0, 0, 1, 3], abs=1e-4)
    shares = [float(td.text.replace("−", "-")) for td in browser.find_elements("css selector", ".sum td:last-child")]
    assert len(shares) == 4 and sum(shares) == pytest.approx(gradient["x"][0, 0, 1, 3], abs=1e-2)
    view(browser, "forward")
    Select(one(browser, '[data-index="k"]')).select_by_visible_text("3")  # the second of the 3x3 branch's
    hover(browser, cell(browser, "y", 2, 2))
    assert cell(browser, "three", 2, 2).get_attribute("data-product") == "a" and "c 1" in one(browser, 'figure[data-figure="three"]').text
    hover(browser, cell(browser, "three", 2, 2))
    assert len(browser.find_elements("css selector", 'figure[data-figure="reduce3"] td.factor')) == 9
    assert len(browser.find_elements("css selector", ".arrows > path")) == 11


def test_lrn_goes_to_the_place_that_was_chosen(opened, pages):
    """Kills: a line of channels that stays at the first place."""
    browser, a = opened("lrn"), arrays(pages("lrn"))
    view(browser, "dx")
    hover(browser, cell(browser, "map", 2, 1))
    hover(browser, cell(browser, "dx", 0, 4))
    assert result(browser)[0] == "dx[0, 4, 2, 1]" and result(browser)[1] == pytest.approx(a["dx"][0, 4, 2, 1], rel=1e-4)


def test_steps_keys_and_playing(opened):
    """Kills: keys that do nothing or leave the grid, a play button that does not stop."""
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait
    browser = opened("plain")
    press(browser, "2")
    assert one(browser, "#tab-dx").get_attribute("aria-selected") == "true"
    press(browser, "1")
    assert result(browser)[0] == "y[0, 0, 0, 0]"
    press(browser, "n", "n")
    assert result(browser)[0] == "y[0, 0, 0, 2]" and one(browser, "#at").text == "3 of 9"
    one(browser, "#next").click()
    one(browser, "#back").click()
    press(browser, "b", "b", "b")
    assert result(browser)[0] == "y[0, 0, 2, 2]"  # round the end
    browser.execute_script("arguments[0].focus()", cell(browser, "y", 2, 2))
    press(browser, Keys.ARROW_UP, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert result(browser)[0] == "y[0, 0, 1, 0]" and browser.switch_to.active_element.get_attribute("data-i") == "1"
    assert len(browser.find_elements("css selector", ".grid td[tabindex='0']")) == 1
    before = result(browser)
    press(browser, " ")
    assert one(browser, "#play").get_attribute("aria-pressed") == "true"
    WebDriverWait(browser, 600).until(lambda _: result(browser) != before)
    press(browser, " ")
    assert one(browser, "#play").get_attribute("aria-pressed") == "false"
    one(browser, "#tab-forward").click()
    press(browser, Keys.ARROW_LEFT)
    assert one(browser, "#tab-use").get_attribute("aria-selected") == "true" and browser.switch_to.active_element.get_attribute("id") == "tab-use"


def test_channels_follow_filters_into_their_group(opened):
    """Kills: a filter shown with a channel that it does not see."""
    from selenium.webdriver.support.ui import Select
    browser = opened("groups, dilation, left over")
    Select(one(browser, '[data-index="k"]')).select_by_visible_text("4")
    assert one(browser, '[data-index="c"]').get_property("value") == "2" and result(browser)[0].startswith("y[0, 4,")
    Select(one(browser, '[data-index="c"]')).select_by_visible_text("1")
    assert one(browser, '[data-index="k"]').get_property("value") == "1"
    Select(one(browser, '[data-index="n"]')).select_by_visible_text("1")
    assert result(browser)[0].startswith("y[1, 1,")
    view(browser, "use")
    assert browser.find_elements("css selector", "figure[data-figure=used] td.never")


def test_links_to_the_reference(opened):
    """Kills: a link to a line that is not there, or stays folded away."""
    browser = opened("plain")
    view(browser, "dx")
    one(browser, "#loops a").click()
    line = one(browser, "#source span:target")
    assert line.is_displayed() and line.text.strip().startswith("part += np.einsum")


CONTRAST = """
const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const seen = (colours) => {
  canvas.clearRect(0, 0, 1, 1);
  for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255);
};
const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const luminance = (rgb) => 0.2126 * linear(rgb[0]) + 0.7152 * linear(rgb[1]) + 0.0722 * linear(rgb[2]);
const grounds = (element) => (element ? [...grounds(element.parentElement), getComputedStyle(element).backgroundColor] : ["white"]);
return [...document.querySelectorAll("td, th, p, b, button, label, code, output, #loops span, summary, #badge")]
  .filter((element) => element.textContent.trim() && element.offsetParent)
  .map((element) => {
    const pair = [[...grounds(element), getComputedStyle(element).color], grounds(element)].map(seen).map(luminance).sort((a, b) => b - a);
    return [(pair[0] + 0.05) / (pair[1] + 0.05), `${element.tagName}.${element.className} ${element.textContent.slice(0, 20)}`];
  });
"""


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(opened, dark):
    """Text on its ground, as WCAG 2 counts it (AA: 4.5). Kills: colours that were made for the other scheme."""
    browser = opened("strided")
    screen(browser, 1280, 1000, dark)
    view(browser, "dx", "collect")
    ratios = browser.execute_script(CONTRAST)
    assert len(ratios) > 100
    assert min(ratios)[0] >= 4.5, sorted(ratios)[:5]
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 200) == dark


@pytest.mark.parametrize("name", ["strided", "maxpool", "lrn", "inception", "too large to draw all"])
def test_a_phone(opened, name):
    """375 pixels wide. Kills: a page that scrolls sideways, grids or buttons that stick out."""
    browser = opened(name)
    screen(browser, 375, 700)
    for tab in [button.get_attribute("data-tab") for button in browser.find_elements("css selector", "#tabs button")]:
        view(browser, tab)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 375
        wide = browser.execute_script("""return [...document.querySelectorAll(".grid, button, select, #about")]
            .filter((element) => element.getBoundingClientRect().right > 375.5).map((element) => element.outerHTML.slice(0, 80))""")
        assert not wide, tab


def test_names_for_those_who_do_not_see(opened):
    """Kills: a control or grid without a name, a region that does not say what was chosen."""
    browser = opened("strided")
    unnamed = browser.execute_script("""return [...document.querySelectorAll("button, select, input, [role=grid]")]
        .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() || e.closest("label")?.textContent.trim())).map((e) => e.outerHTML)""")
    assert unnamed == []
    hover(browser, cell(browser, "y", 0, 1))
    assert one(browser, "#live").get_attribute("textContent").startswith("y[0, 0, 0, 1] is ")
    assert browser.execute_script("return document.documentElement.lang") == "en"


def test_printing_leaves_out_what_needs_hands(opened):
    """Kills: buttons on paper, and figures that are cut off."""
    browser = opened("plain")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not one(browser, ".controls").is_displayed() and one(browser, "#figures").is_displayed() and one(browser, ".facts").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
