"""The page in a real browser, from the real server, under every path at which a gateway may show it."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import browser, console_errors, drop
from tests.running import make_service, running

PICTURES = Path(__file__).parents[3] / "examples/images"
COFFEE = PICTURES / "coffee.jpg"
PLACES = {"/": "/api/like/demo", "/api/demo/": "/api/demo", "/api/like/demo/": "/api/like/demo"}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context()
    yield context.new_page()
    context.close()


def run(line: str) -> Any:
    """Run a shell line in the folder of the pictures, and read the JSON that it prints."""
    done = subprocess.run(line, shell=True, cwd=PICTURES, capture_output=True, text=True, timeout=20, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("place", PLACES)
def test_a_dropped_picture_is_answered_in_bars_and_by_the_curl_line(demo: Any, page: Page, place: str) -> None:
    errors = console_errors(page)
    page.goto(demo.url + place)
    drop(page, COFFEE, "image/jpeg")
    expect(page.locator("#bars li").first).to_contain_text("espresso")
    expect(page.locator("#bars li").first).to_contain_text("%")
    expect(page.locator("#note")).to_contain_text("200 after")
    expect(page.locator("#pictures img")).to_be_visible()
    line = f"curl -F image=@coffee.jpg {urljoin(demo.url, PLACES[place])}"
    expect(page.locator("#curl")).to_have_text(line)
    assert run(line)["results"][0]["label"] == "espresso"
    assert errors == []


def test_a_picture_is_chosen_by_keyboard_or_pasted(demo: Any, page: Page) -> None:
    page.on("filechooser", lambda chooser: chooser.set_files(COFFEE))
    page.goto(demo.url)
    expect(page.locator("#ready")).to_have_text("ready")
    page.locator("#file").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#bars li").first).to_contain_text("espresso")
    page.evaluate("at('bars').replaceChildren()")
    drop(page, COFFEE, "image/jpeg", by="paste")
    expect(page.locator("#bars li").first).to_contain_text("espresso")


def test_the_queue_is_shown_and_stays_live(demo: Any, page: Page) -> None:
    page.goto(demo.url)
    expect(page.locator("#service")).to_have_text("demo")
    expect(page.locator("#ready")).to_have_text("ready")
    expect(page.locator("#rows")).to_contain_text("of 64")
    expect(page.locator("#oldest")).to_contain_text(" s")
    with page.expect_response(lambda response: response.url.endswith("/status")) as response:
        assert response.value.ok


def test_an_error_is_told_in_words(demo: Any, page: Page, tmp_path: Path) -> None:
    text = tmp_path / "a note; mine.txt"
    text.write_text("This is no picture.")
    page.goto(demo.url)
    drop(page, text, "text/plain")
    expect(page.locator("#trouble")).to_be_visible()
    expect(page.locator("#trouble")).to_contain_text("picture")
    expect(page.locator("#note")).to_contain_text("400 after")
    expect(page.locator("#bars li")).to_have_count(0)
    expect(page.locator("#pictures img")).to_be_hidden()


def test_a_server_that_is_gone_is_told_in_words(demo: Any, page: Page) -> None:
    page.goto(demo.url)
    expect(page.locator("#ready")).to_have_text("ready")
    page.context.set_offline(True)
    drop(page, COFFEE, "image/jpeg")
    expect(page.locator("#trouble")).to_contain_text("cannot be reached")
    expect(page.locator("#ready")).to_have_text("cannot be reached")


def test_names_that_a_shell_or_curl_would_misread_are_quoted(demo: Any, page: Page, tmp_path: Path) -> None:
    awkward = tmp_path / """it's "mine", $(really); a\\b.jpg"""
    awkward.write_bytes(COFFEE.read_bytes())
    page.goto(demo.url)
    drop(page, awkward, "image/jpeg")
    expect(page.locator("#bars li").first).to_contain_text("espresso")
    done = subprocess.run(
        page.locator("#curl").inner_text(), shell=True, cwd=tmp_path, capture_output=True, timeout=20, check=True
    )
    assert json.loads(done.stdout)["results"][0]["label"] == "espresso"


def test_json_is_sent_from_the_text_area_and_by_the_curl_line(demo: Any, page: Page) -> None:
    page.goto(demo.url)
    page.get_by_text("Send JSON").click()
    page.locator("#body").fill('{"image": "it\'s no base64", "uid": 7}')
    page.locator("#body").press("Control+Enter")
    expect(page.locator("#trouble")).to_be_visible()
    told = run(page.locator("#curl").inner_text())
    expect(page.locator("#trouble")).to_contain_text(told["error"])


def test_boxes_and_polygons_are_drawn_on_the_picture_in_its_own_pixels(demo: Any, page: Page) -> None:
    results = [
        {"label": "cup", "score": 0.9, "box": [10, 20, 300, 200]},
        {"label": "spoon", "score": 0.1, "polygon": [[1, 2], [30, 4], [5, 60]]},
    ]
    page.route("**/api/like/demo", lambda route: route.fulfill(json={"results": results, "msg": ""}))
    page.goto(demo.url)
    drop(page, COFFEE, "image/jpeg")
    outlines = page.locator("#pictures polygon")
    expect(outlines).to_have_count(2)
    expect(outlines.first).to_have_attribute("points", "10,20 300,20 300,200 10,200")
    picture, drawn = page.locator("#pictures img").bounding_box(), outlines.first.bounding_box()
    assert picture is not None
    assert drawn is not None
    scale = picture["width"] / page.evaluate("document.querySelector('#pictures img').naturalWidth")
    # The middle, since a browser may count the line's own width into the box.
    assert drawn["x"] + drawn["width"] / 2 == pytest.approx(picture["x"] + 155 * scale, abs=1)
    assert drawn["y"] + drawn["height"] / 2 == pytest.approx(picture["y"] + 110 * scale, abs=1)
    expect(page.locator("#bars li").first).to_contain_text("90.0 %")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(demo: Any, chromium: Browser, scheme: Any) -> None:
    context = chromium.new_context(viewport={"width": 375, "height": 700}, color_scheme=scheme)
    page = context.new_page()
    page.goto(demo.url)
    drop(page, COFFEE, "image/jpeg")
    expect(page.locator("#bars li").first).to_contain_text("espresso")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    context.close()


def test_the_page_asks_nothing_of_any_other_host(demo: Any, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(demo.url)
    drop(page, COFFEE, "image/jpeg")
    expect(page.locator("#bars li").first).to_contain_text("espresso")
    assert all(url.startswith((demo.url, "blob:", "data:")) for url in asked)


def test_a_model_of_plain_tensors_starts_with_an_example_to_send(page: Page, tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/digits.onnx"', models=("tests/models/digits.onnx",))
    with running(folder) as small:
        page.goto(f"{small.url}/api/like/small/")
        expect(page.locator("#body")).to_have_value(re.compile(r'"data": \['))
        expect(page.locator("#files")).to_be_hidden()
        page.locator("#send").click()
        expect(page.locator("#note")).to_contain_text("200 after")
        expect(page.locator("#raw")).to_contain_text('"results"')
        assert run(page.locator("#curl").inner_text()) == json.loads(page.locator("#raw").inner_text())


SHAPES = """
from PIL import Image
import io

from serving.service.service import Answer, Service, route
from serving.service.request import Request


class Shapes(Service):
    pictures = True

    def handle(self, request: Request) -> object:
        parts = [{"label": "left", "score": 0.75, "box": [0, 0, 300, 400], "landmarks": [[10, 10], [20, 30]]}]
        return {"label": "whole", "score": 0.5, "parts": parts, "seconds": 1.5, "same": False, "kind": None, "size": [1, 2]}

    @route("/compare", pictures=2)
    def compare(self, request: Request) -> object:
        \"\"\"Compare two pictures.\"\"\"
        sizes = [picture.size for picture in request.images(2)]
        return [{"label": f"{w} x {h}", "score": 1, "picture": i, "box": [0, 0, w, h]} for i, (w, h) in enumerate(sizes)]

    @route("/query", example={"question": "why?"})
    def query(self, request: Request) -> object:
        return [{"label": request.value("question", str), "score": 0.25}]

    @route("/paint", pictures=1, fields={"colour": ("red", "blue"), "size": ("1", "2")})
    def paint(self, request: Request) -> object:
        return [{"label": request.value("colour", str) + request.value("size", str), "score": 1.0}]

    @route("/grey", pictures=1)
    def grey(self, request: Request) -> Answer:
        out = io.BytesIO()
        request.image().convert("L").save(out, "PNG")
        return Answer(out.getvalue(), "image/png")
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running(make_service(tmp_path_factory.mktemp("shapes") / "small", "", SHAPES)) as service:
        yield service


def test_an_object_and_its_parts_become_bars_and_points_are_drawn(shapes: Any, page: Page) -> None:
    page.goto(shapes.url)
    drop(page, COFFEE, "image/jpeg")
    expect(page.locator("#bars li")).to_have_text([re.compile("whole.*50.0 %"), re.compile("left.*75.0 %")])
    expect(page.locator("#pictures circle")).to_have_count(2)
    expect(page.locator("#pictures circle").last).to_have_attribute("cy", "30")


def test_an_objects_other_words_and_numbers_stand_above_its_bars(shapes: Any, page: Page) -> None:
    errors = console_errors(page)
    page.goto(shapes.url)
    expect(page.locator("#facts")).to_be_hidden()
    drop(page, COFFEE, "image/jpeg")
    expect(page.locator("#facts")).to_have_text("seconds: 1.5 · same: false · kind: none")
    page.locator("#routes").select_option(label="/query")
    expect(page.locator("#facts")).to_be_hidden()
    page.locator("#send").click()  # its answer is a list
    expect(page.locator("#bars li")).to_contain_text("why?")
    expect(page.locator("#facts")).to_be_hidden()
    assert errors == []


def test_a_route_of_two_pictures_waits_for_both_and_marks_each(shapes: Any, page: Page) -> None:
    errors = console_errors(page)
    page.goto(shapes.url + "/api/small/")
    page.locator("#routes").select_option(label="/compare Compare two pictures.")
    drop(page, COFFEE, "image/jpeg")
    expect(page.locator("#name")).to_have_text("coffee.jpg, and 1 more")
    drop(page, PICTURES / "chelsea.jpg", "image/jpeg")
    expect(page.locator("#bars li")).to_have_text([re.compile("600 x 400"), re.compile("451 x 300")])
    for number, points in enumerate(("0,0 600,0 600,400 0,400", "0,0 451,0 451,300 0,300")):
        outline = page.locator("#pictures figure").nth(number).locator("polygon")
        expect(outline).to_have_attribute("points", points)
    line = page.locator("#curl").inner_text()
    assert line == f"curl -F image=@coffee.jpg -F image=@chelsea.jpg {shapes.url}/api/small/compare"
    assert run(line)["results"][1]["label"] == "451 x 300"
    assert errors == []


def test_another_route_offers_its_own_example(shapes: Any, page: Page) -> None:
    page.goto(shapes.url)
    page.locator("#routes").select_option(label="/query")
    expect(page.locator("#files")).to_be_hidden()
    page.locator("#send").click()
    expect(page.locator("#bars li")).to_contain_text("why?")
    assert run(page.locator("#curl").inner_text())["results"][0]["label"] == "why?"


def test_an_answer_that_is_a_picture_is_shown(shapes: Any, page: Page) -> None:
    errors = console_errors(page)
    page.goto(shapes.url)
    page.locator("#routes").select_option(label="/grey")
    drop(page, COFFEE, "image/jpeg")
    expect(page.locator("#drawn")).to_be_visible()
    page.wait_for_function("at('drawn').naturalWidth === 600")
    assert errors == []


def test_fields_of_known_values_are_chosen_and_sent_beside_the_picture(shapes: Any, page: Page) -> None:
    page.goto(shapes.url)
    page.locator("#routes").select_option(label="/paint")
    drop(page, COFFEE, "image/jpeg")
    expect(page.locator("#bars li")).to_contain_text("red1")
    page.get_by_label("colour").select_option("blue")
    expect(page.locator("#bars li")).to_contain_text("blue1")
    line = page.locator("#curl").inner_text()
    assert line == f"curl -F image=@coffee.jpg -F colour=blue -F size=1 {shapes.url}/paint"
    assert run(line)["results"][0]["label"] == "blue1"
