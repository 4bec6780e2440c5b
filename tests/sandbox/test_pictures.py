"""The edits: right size, the input in its place, the rest made up, the same for the same seed."""

from __future__ import annotations

import base64
import io
from typing import Any

import aiohttp
import pytest
from PIL import Image, ImageChops, ImageDraw, ImageStat

from batcher.sandbox import Faults, faults
from batcher.sandbox.generation import generate, stock
from batcher.sandbox.job import JobFailed
from batcher.sandbox.model_pages import model_pages
from tests.support.caller import data_uri, fetch, finish, photo
from tests.support.sandboxes import MakeSandbox

SEGMIND = ["sd1.5-outpaint", "seg-beyond", "focus-outpaint", "sd1.5-inpainting", "sd1.5-img2img"]
PHOTO = stock.photograph("https://example.invalid/a.jpg")  # 768 x 512


def mask(box: tuple[int, int, int, int] = (256, 128, 512, 384)) -> bytes:
    image = Image.new("L", (768, 512))
    ImageDraw.Draw(image).rectangle(box, fill=255)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def made(slug: str, seed: int = 1, source: bytes = PHOTO, **body: Any) -> Image.Image:
    body = {"prompt": "streets in italy", **body}
    model = model_pages()[slug]
    values = {name: model.value(body, name) for name in model.parameters}
    inputs = {
        name: mask() if parameter.media == "mask" else source
        for name, parameter in model.parameters.items()
        if parameter.media
    }
    (picture,) = generate(slug, values, inputs, seed, 1)
    image = Image.open(io.BytesIO(picture.data))
    assert image.get_format_mimetype() == picture.content_type
    image.load()
    return image


def source(size: tuple[int, int] | None = None) -> Image.Image:
    image = Image.open(io.BytesIO(PHOTO)).convert("RGB")
    return image.resize(size, Image.Resampling.BICUBIC) if size else image


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures of one size, 0 to 255."""
    return sum(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean) / 3


def inner(image: Image.Image, at: tuple[int, int], size: tuple[int, int], seam: int = 16) -> Image.Image:
    box = (at[0] + seam, at[1] + seam, at[0] + size[0] - seam, at[1] + size[1] - seam)
    return image.crop(box)


@pytest.mark.parametrize(
    ("slug", "body", "size"),
    [
        ("sd1.5-outpaint", {}, (1024, 1024)),
        ("sd1.5-outpaint", {"img_width": 768, "img_height": 1024, "scale": 10}, (768, 1024)),
        ("sd1.5-outpaint", {"scale": 0.1, "offset_x": 1024, "mask_expand": 256}, (1024, 1024)),
        ("sd1.5-outpaint", {"scale": 0.1, "mask_expand": 0, "strength": 0.1}, (1024, 1024)),
        ("seg-beyond", {}, (768, 512)),
        ("seg-beyond", {"left": 300, "right": 100}, (1168, 512)),
        ("seg-beyond", {"top": 1024, "bottom": 10}, (768, 1546)),
        ("focus-outpaint", {}, (1024, 1024)),
        ("focus-outpaint", {"aspect_ratios": "704*1408"}, (704, 1408)),
        ("focus-outpaint", {"outpaint_selections": "Right, Left, Top, Bottom"}, (1024, 1024)),
        ("focus-outpaint", {"outpaint_selections": "sideways"}, (1024, 1024)),
        ("sd1.5-inpainting", {}, (512, 512)),
        ("sd1.5-inpainting", {"img_width": 768}, (768, 512)),
        ("sd1.5-img2img", {"img_height": 768, "strength": 0.1}, (512, 768)),
    ],
)
def test_the_output_has_the_size_that_was_asked_for(
    slug: str, body: dict[str, Any], size: tuple[int, int]
) -> None:
    assert made(slug, **body).size == size


def test_outpaint_puts_the_scaled_input_at_its_offset_and_makes_up_the_rest() -> None:
    image = made("sd1.5-outpaint", scale=1, offset_x=256, offset_y=300)
    assert difference(inner(image, (256, 300), (512, 341)), inner(source((512, 341)), (0, 0), (512, 341))) < 3
    assert len(image.crop((0, 0, 1024, 290)).resize((32, 32)).getcolors(1024) or []) > 100


def test_beyond_extends_the_sides_asked_for_and_no_other() -> None:
    image = made("seg-beyond", left=300, top=40)
    assert difference(inner(image, (300, 40), (768, 512)), inner(source(), (0, 0), (768, 512))) < 3
    edge = image.crop((1060, 200, 1068, 500))
    assert difference(edge, source().crop((760, 160, 768, 460))) < 4


@pytest.mark.parametrize(
    ("selections", "at", "size"),
    [
        ("Right", (0, 256), (768, 512)),
        ("Left", (256, 256), (768, 512)),
        ("Left, Right", (256, 341), (512, 341)),
        ("Bottom", (0, 0), (1024, 683)),
    ],
)
def test_focus_outpaint_makes_room_on_the_selected_sides(
    selections: str, at: tuple[int, int], size: tuple[int, int]
) -> None:
    image = made("focus-outpaint", outpaint_selections=selections)
    assert difference(inner(image, at, size), inner(source(size), (0, 0), size)) < 4


def test_inpainting_refills_the_white_of_the_mask_and_nothing_else() -> None:
    image = made("sd1.5-inpainting")
    before = source().crop((128, 0, 640, 512))
    assert difference(image.crop((0, 0, 512, 110)), before.crop((0, 0, 512, 110))) < 3
    assert difference(image.crop((150, 150, 362, 362)), before.crop((150, 150, 362, 362))) > 12


def test_img2img_departs_from_its_input_by_strength() -> None:
    before = source().crop((128, 0, 640, 512))
    steps = [difference(made("sd1.5-img2img", strength=strength), before) for strength in (0.1, 0.4, 0.7, 1)]
    assert steps == sorted(steps)
    assert steps[0] < 6 < 12 < steps[-1]


@pytest.mark.parametrize("slug", SEGMIND)
def test_the_same_seed_draws_the_same_picture_and_another_seed_or_prompt_another(slug: str) -> None:
    body = {"left": 200} if slug == "seg-beyond" else {}
    first = made(slug, seed=1, **body)
    assert made(slug, seed=1, **body).tobytes() == first.tobytes()
    assert difference(made(slug, seed=2, **body), first) > 0.5
    winter, summer = (made(slug, prompt=f"streets, {season}", **body) for season in ("winter", "summer"))
    assert difference(winter, summer) > 2


@pytest.mark.parametrize("slug", SEGMIND)
def test_any_small_or_odd_input_is_edited(slug: str) -> None:
    for size in ((1, 1), (3, 700), (900, 2)):
        made(slug, source=photo(size), **({"left": 50, "bottom": 9} if slug == "seg-beyond" else {}))


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_usual_format_is_read(form: str) -> None:
    assert made("sd1.5-img2img", source=photo(form=form)).size == (512, 512)


def test_a_transparent_input_stands_on_white() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (512, 512), (0, 0, 0, 0)).convert("P").save(buffer, "PNG", transparency=b"\0")
    image = made("seg-beyond", source=buffer.getvalue())
    assert image.getpixel((256, 256)) == (255, 255, 255)


def test_a_broken_or_monstrous_input_fails() -> None:
    with pytest.raises(JobFailed, match="cannot identify"):
        made("sd1.5-img2img", source=PHOTO[:2000])
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")
    with pytest.raises(JobFailed, match="too large"):
        made("sd1.5-img2img", source=bomb.getvalue())


@pytest.mark.parametrize("body", [{"prompt": "a \ud800"}, {"scale": float("nan")}])
async def test_an_input_that_a_model_chokes_on_fails_its_job_and_no_other(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, body: dict[str, Any]
) -> None:
    good = {"image": data_uri(photo()), "prompt": "x"}
    async with sandbox(pictures=True, workers=1) as server:
        choked = await finish(http, server.url, {**good, **body})
        assert choked["status"] == "FAILED"
        assert (await finish(http, server.url, good))["status"] == "COMPLETED"
        assert server.billed == 1


@pytest.mark.parametrize("slug", SEGMIND)
async def test_the_example_of_every_page_runs(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, slug: str
) -> None:
    async with sandbox(pictures=True) as server:
        result = await finish(http, server.url, dict(model_pages()[slug].example), slug)
        assert result["status"] == "COMPLETED", result
        data = await fetch(result["output"])
        assert Image.open(io.BytesIO(data)).format == "JPEG"
        assert result["output"].endswith(".jpg")


async def test_base64_gives_png(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    body = {"image": data_uri(photo()), "prompt": "x", "base64": True, "samples": 2}
    async with sandbox(pictures=True) as server:
        result = await finish(http, server.url, body, "sd1.5-img2img")
        first, second = (Image.open(io.BytesIO(base64.b64decode(text))) for text in result["output"])
        assert first.format == second.format == "PNG"
        assert difference(first, second) > 0.5


def test_a_foreign_url_always_gives_the_same_landscape() -> None:
    stock.photograph.cache_clear()
    assert stock.photograph("https://example.invalid/a.jpg") == PHOTO
    assert stock.photograph("https://example.invalid/b.jpg") != PHOTO
    assert Image.open(io.BytesIO(stock.mask("https://example.invalid/m.png"))).getextrema() == (0, 255)


# --- pictures that nobody asked for


async def outputs(http: aiohttp.ClientSession, url: str, **body: Any) -> list[Image.Image]:
    body = {"image": data_uri(photo()), "prompt": "x", "seed": 1, **body}
    result = await finish(http, url, body, "sd1.5-img2img")
    urls = result["output"] if isinstance(result["output"], list) else [result["output"]]
    return [Image.open(io.BytesIO(await fetch(each))).convert("RGB") for each in urls]


async def test_a_picture_is_black(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    script = Faults([faults.BlackPicture(calls=[2])])
    async with sandbox(pictures=True, faults=script) as server:
        (good,), black = [await outputs(http, server.url, samples=n) for n in (1, 2)]
        assert [image.size for image in black] == [good.size] * 2
        assert [image.getextrema() for image in black] == [((0, 0),) * 3] * 2
        assert good.getextrema() != black[0].getextrema()
        assert server.billed == 2


async def test_a_picture_is_that_of_the_job_before(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(pictures=True, faults=Faults([faults.RepeatedPicture(every=2)])) as server:
        pictures = [(await outputs(http, server.url, seed=seed))[0].tobytes() for seed in (1, 2, 3)]
        assert pictures[0] == pictures[1] != pictures[2]


async def test_a_picture_is_its_source_again(sandbox: MakeSandbox, http: aiohttp.ClientSession) -> None:
    async with sandbox(pictures=True, faults=Faults([faults.UnchangedPicture()])) as server:
        (image,) = await outputs(http, server.url, img_width=768, strength=1.0)
        assert image.size == (768, 512)
        again = Image.open(io.BytesIO(photo())).convert("RGB").resize(image.size, Image.Resampling.BICUBIC)
        assert difference(image, again) < 3


@pytest.mark.parametrize(("scale", "size"), [(0.5, (256, 256)), (2, (1024, 1024)), (1, (513, 512))])
async def test_a_picture_has_the_wrong_size(
    sandbox: MakeSandbox, http: aiohttp.ClientSession, scale: float, size: tuple[int, int]
) -> None:
    async with sandbox(pictures=True, faults=Faults([faults.WrongSize(scale=scale)])) as server:
        (image,) = await outputs(http, server.url)
        assert image.size == size


async def test_a_rate_of_the_pictures_is_spoilt_and_a_blocking_call_too(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    script = [{"fault": "wrong_size", "rate": 0.3}, {"fault": "black_picture"}]
    async with sandbox(faults=Faults.load(script)) as server:
        sizes = [(await outputs(http, server.url))[0].size for _ in range(40)]
        assert 4 < sizes.count((2, 1)) < 20
        assert set(sizes) == {(1, 1), (2, 1)}
        body = {"image": data_uri(photo()), "prompt": "x"}
        async with http.post(f"{server.url}/v1/sd1.5-img2img", json=body) as answer:
            image = Image.open(io.BytesIO(await answer.read())).convert("RGB")
        assert image.getextrema() == ((0, 0),) * 3 or image.size == (2, 1)


async def test_a_job_without_a_source_or_a_job_before_keeps_its_picture(
    sandbox: MakeSandbox, http: aiohttp.ClientSession
) -> None:
    script = Faults([faults.RepeatedPicture(calls=[1]), faults.UnchangedPicture(calls=[2])])
    async with sandbox(faults=script) as server:
        assert (await outputs(http, server.url))[0].size == (1, 1)
        assert (await finish(http, server.url, {"sleep": 1}, "mock-inference"))["output"]
