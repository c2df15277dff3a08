"""The dashboard in a real browser: what an operator sees and does while a machine is about to go away.

Inputs -> outputs: one JSON object as argument (url, token, chromium, fleet, gate, screenshots) and the word "done" on standard input for
each thing asked for on standard output -> exit code 0, or a traceback. Must never: ask another host than the daemon's, or wait for
a fixed time.
"""

import json
import pathlib
import re
import sys

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

LIMIT_MS = 30_000
HOSTILE = "<img src=x onerror='window.fooled=1'><script>window.fooled=1</script>"
SIZES = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 390, "height": 844}}


def ask(what):
    """Has the test outside do something, and waits until it is done."""
    print(what, flush=True)
    answer = sys.stdin.readline().strip()
    assert answer == "done", f"{what}: {answer!r}"


class Watch:
    """What went on behind the page: errors, and hosts that were asked."""

    def __init__(self, page, own):
        self.errors, self.foreign = [], []
        page.on("console", self.said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(own) else self.foreign.append(request.url))

    def said(self, message):
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def must_be_silent(self, what):
        assert self.errors == [], f"{what}: {self.errors}"
        assert self.foreign == [], f"{what}: {self.foreign}"


class Desk:
    """A browser with pages of the dashboard."""

    def __init__(self, browser, given):
        self.browser, self.given = browser, given
        self.own = given["url"].split("#")[0]

    def open(self, scheme="light", size="wide", **more):
        context = self.browser.new_context(color_scheme=scheme, viewport=SIZES[size], locale="en-GB", **more)
        context.set_default_timeout(LIMIT_MS)
        page = context.new_page()
        watch = Watch(page, self.own)
        page.goto(self.given["url"])
        expect(page.locator("#link")).to_have_text("live", timeout=LIMIT_MS)
        return page, watch

    def picture(self, page, name):
        folder = self.given.get("screenshots")
        if folder:
            page.evaluate("window.scrollTo({top: 0, behavior: 'instant'})")
            page.screenshot(path=str(pathlib.Path(folder) / f"dashboard-{name}.png"), full_page=True)


def must_be_for_everybody(page, what):
    """Nothing that axe calls serious. The page has to let axe in: its own policy would not."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    bad = [(one["id"], one["impact"], [node["target"] for node in one["nodes"]]) for one in found]
    assert not [one for one in bad if one[1] in ("serious", "critical")], f"{what}: {bad}"
    if bad:
        print(f"# axe, {what}: {bad}", file=sys.stderr)


def shows_the_state(page, has_group):
    assert "token" not in page.url, page.url
    expect(page.get_by_role("heading", level=1)).to_have_text("CloudSnooze")
    source = page.locator("#sources").get_by_role("row", name="aws")
    expect(source).to_contain_text("seeing")
    plan = page.locator("#plans details", has_text="cloud.spot.interrupt").first
    for name in ("database", "cache", "ledger", "pager"):
        expect(plan.get_by_role("rowheader", name=name)).to_have_count(1)
    expect(page.locator("#plugins").get_by_role("row", name="cloud.spot.interrupt/database")).to_contain_text("active")
    expect(page.locator("#running")).to_contain_text("No event is in progress")
    group = page.locator("#fleet")
    if has_group:
        for words in ("web", "(front)", "this machine", "no operation yet"):
            expect(group).to_contain_text(words, timeout=LIMIT_MS)
    else:
        expect(group).to_be_hidden()


def seconds(text):
    minutes = re.search(r"(\d+) min", text)
    return (60 * int(minutes[1]) if minutes else 0) + float(re.search(r"([\d.]+) s", text)[1])


def follows_an_interruption(desk, page):
    """From the notice to the end, without a reload; `cache` waits at a gate so that the middle can be looked at."""
    ask("interrupt")
    card = page.locator("#running article", has_text="cloud.spot.interrupt")
    expect(card).to_be_visible(timeout=LIMIT_MS)
    row = card.get_by_role("row")
    expect(row.filter(has_text="database")).to_contain_text("handled", timeout=LIMIT_MS)
    expect(row.filter(has_text="cache")).to_contain_text("running", timeout=LIMIT_MS)
    expect(row.filter(has_text="pager")).to_contain_text("waiting")
    expect(page.locator("#told")).to_contain_text("Event cloud.spot.interrupt has begun")
    first = seconds(card.locator(".clock").inner_text())
    assert 0 < first <= 120, first
    moved = "before => parseFloat(document.querySelector('#running .clock b').textContent) !== before"
    page.wait_for_function(moved, arg=float(re.match(r"[\d.]+", card.locator(".clock b").inner_text())[0]))
    assert seconds(card.locator(".clock").inner_text()) < first
    for scheme in ("light", "dark"):
        for size in SIZES:
            other, watch = desk.open(scheme, size, bypass_csp=True)
            middle = other.locator("#running article")
            expect(middle).to_contain_text("left until the cloud acts")
            expect(middle.get_by_role("row").filter(has_text="cache")).to_contain_text("running")
            desk.picture(other, f"running-{scheme}-{size}")
            must_be_for_everybody(other, f"running, {scheme} {size}")
            watch.must_be_silent("opened in the middle")
            other.context.close()
    pathlib.Path(desk.given["gate"]).touch()
    expect(card).to_contain_text("over after", timeout=LIMIT_MS)
    for name, word in (("cache", "handled"), ("ledger", "failed"), ("pager", "handled")):
        expect(row.filter(has_text=name)).to_contain_text(word)
    expect(page.locator("#told")).to_contain_text("cloud.spot.interrupt is over")


def has_bars_where_the_report_has_their_times(page):
    """The bars lie where the numbers of the report say, on one scale."""
    item = page.locator("#events li", has_text="cloud.spot.interrupt").first
    expect(item).not_to_contain_text("(test)")
    button = item.get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    lanes = item.locator(".timeline tbody tr")
    expect(lanes).to_have_count(4)
    report = page.evaluate("""async () => (await fetch('/v1/reports/last',
        {headers: {Authorization: `Bearer ${sessionStorage.getItem('cloudsnooze-token')}`}})).json()""")
    starts = sorted(report["handlers"], key=lambda handler: handler["start_ms"])
    assert [lanes.nth(n).locator("th").inner_text().split("\n")[0] for n in range(4)] == [h["handler"] for h in starts]
    bars = [lanes.nth(n).locator(".ran").evaluate("bar => [parseFloat(bar.style.left), parseFloat(bar.style.width)]") for n in range(4)]
    whole = max(h["start_ms"] + h["duration_ms"] for h in starts)
    widest = max(left + width for left, width in bars)
    for (left, width), handler in zip(bars, starts):
        assert abs(left / widest - handler["start_ms"] / whole) < 0.01, (bars, report)
        assert abs(width / widest - handler["duration_ms"] / whole) < 0.01, (bars, report)


def shows_what_others_wrote_as_text(page):
    ask("hostile")
    card = page.locator("#running article", has_text="custom.hostile")
    expect(card).to_contain_text(HOSTILE, timeout=LIMIT_MS)
    item = page.locator("#events li", has_text="custom.hostile").first
    expect(item).to_be_visible(timeout=LIMIT_MS)
    item.get_by_role("button").click()
    item.get_by_text("the event as it was published").click()
    expect(item.locator("pre")).to_contain_text("<script>window.fooled=1</script>")
    assert page.evaluate("window.fooled") is None
    assert page.locator("main img, main script").count() == 0


def drills_by_keyboard_alone(desk):
    page, watch = desk.open()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "running"
    for _ in range(200):
        page.keyboard.press("Tab")
        style = page.evaluate("(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.outlineWidth })()")
        assert style == "solid3px", f"no visible focus on {page.evaluate('document.activeElement.outerHTML')}: {style}"
        if page.evaluate("document.activeElement.id") == "drill-type":
            break
    assert page.evaluate("document.activeElement.value") == "cloud.spot.interrupt"
    page.keyboard.press("Tab")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("60")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Have a drill now?")
    expect(dialog).to_contain_text("1 min")
    desk.picture(page, "drill-asked-light-wide")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("#drill-body")).to_be_empty()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    body = page.locator("#drill-body")
    expect(body).to_contain_text("The drill went well.", timeout=LIMIT_MS)
    expect(body).to_contain_text("And put back")
    expect(body.get_by_role("table").first.get_by_role("row").filter(has_text="database")).to_contain_text("handled")
    expect(body.get_by_role("table").nth(1).get_by_role("row").filter(has_text="database")).to_contain_text("handled")
    expect(page.locator("#events li", has_text="(test)").first).to_be_visible(timeout=LIMIT_MS)
    desk.picture(page, "drill-light-wide")
    watch.must_be_silent("drill")
    page.context.close()


def is_usable_however_it_is_seen(desk):
    """Light and dark, wide and narrow: nothing of what axe calls serious, nothing wider than the window."""
    for scheme in ("light", "dark"):
        for size in SIZES:
            page, watch = desk.open(scheme, size, bypass_csp=True, reduced_motion="reduce")
            page.locator("#events li button").first.click()
            expect(page.locator("#events .timeline").first).to_be_visible()
            must_be_for_everybody(page, f"{scheme} {size}")
            wide = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert wide[0] <= wide[1], f"{scheme} {size}: {wide}"
            assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
            desk.picture(page, f"{scheme}-{size}")
            watch.must_be_silent(f"{scheme} {size}")
            page.context.close()


def finds_the_daemon_again(page):
    """The browser itself notes that nobody listens meanwhile."""
    ask("stop")
    expect(page.locator("#link")).to_have_text("no connection", timeout=LIMIT_MS)
    ask("start")
    expect(page.locator("#link")).to_have_text("live", timeout=LIMIT_MS)
    expect(page.locator("#state")).to_contain_text("0 taken in", timeout=LIMIT_MS)
    expect(page.locator("#events li")).not_to_have_count(0)


def asks_for_the_token(desk):
    """Without it there is a door; a wrong one does not open it. The browser itself notes each 401."""
    context = desk.browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(desk.own)
    expect(page.get_by_role("alert")).to_contain_text("wants the token")
    expect(page.locator("#page")).to_be_hidden()
    must_be_for_everybody(page, "the door")
    page.locator("#door-token").fill("0123456789abcdef")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not the token")
    page.locator("#door-token").fill(desk.given["token"])
    page.keyboard.press("Enter")
    expect(page.locator("#link")).to_have_text("live", timeout=LIMIT_MS)
    expect(page.locator("#page")).to_be_visible()
    context.close()


def main():
    given = json.loads(sys.argv[1])
    # A busy machine is not what this is about.
    expect.set_options(timeout=LIMIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given["chromium"], args=["--no-sandbox", "--disable-dev-shm-usage"])
        desk = Desk(browser, given)
        page, watch = desk.open()
        shows_the_state(page, given["fleet"])
        follows_an_interruption(desk, page)
        has_bars_where_the_report_has_their_times(page)
        shows_what_others_wrote_as_text(page)
        drills_by_keyboard_alone(desk)
        is_usable_however_it_is_seen(desk)
        watch.must_be_silent("all this time")
        finds_the_daemon_again(page)
        asks_for_the_token(desk)
        browser.close()


main()
