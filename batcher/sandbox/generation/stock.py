"""Photographs that no network has to deliver: the same URL always gives the same landscape or mask."""

from __future__ import annotations

import functools
import hashlib
import io
import math
import random

from PIL import Image, ImageDraw, ImageFilter

SIZE = (768, 512)


@functools.lru_cache(maxsize=64)
def photograph(url: str) -> bytes:
    """A landscape (JPEG) made up from the URL: sky, a sun, ranges of hills, houses."""
    chance = random.Random(hashlib.sha256(url.encode()).digest())
    width, height = SIZE
    high, low = _sky(chance)
    image = Image.new("RGB", SIZE)
    draw = ImageDraw.Draw(image)
    for y in range(height):
        draw.line(((0, y), (width, y)), fill=_between(high, low, min(1.0, y / height * 1.5)))
    x, y, radius = chance.randrange(80, width - 80), chance.randrange(60, 180), chance.randrange(26, 48)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 244, 214))
    image = image.filter(ImageFilter.GaussianBlur(3))
    draw = ImageDraw.Draw(image)
    ground = (chance.randrange(30, 70), chance.randrange(60, 100), chance.randrange(40, 80))
    for layer in range(4):
        colour = _between(low, ground, (layer + 1) / 4)
        _hills(draw, chance, height * (0.42 + 0.14 * layer), 46 - 8 * layer, colour)
        if layer in (1, 2):
            _houses(draw, chance, int(height * (0.52 + 0.15 * layer)), 14 * layer)
    grain = Image.frombytes("L", SIZE, chance.randbytes(width * height)).convert("RGB")
    image = Image.blend(image.filter(ImageFilter.GaussianBlur(0.7)), grain, 0.04)
    return _saved(image, "JPEG")


@functools.lru_cache(maxsize=64)
def mask(url: str) -> bytes:
    """A mask (PNG) made up from the URL: one white ellipse near the middle."""
    chance = random.Random(hashlib.sha256(url.encode()).digest())
    width, height = SIZE
    x, y = width / 2 + chance.uniform(-60, 60), height / 2 + chance.uniform(-30, 60)
    across, down = chance.uniform(90, 150), chance.uniform(90, 150)
    image = Image.new("L", SIZE)
    ImageDraw.Draw(image).ellipse((x - across, y - down, x + across, y + down), fill=255)
    return _saved(image, "PNG")


def _sky(chance: random.Random) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    skies = (
        ((58, 110, 180), (214, 226, 232)),
        ((44, 52, 110), (244, 178, 128)),
        ((96, 140, 170), (240, 232, 206)),
        ((70, 90, 140), (236, 200, 196)),
    )
    return chance.choice(skies)


def _hills(
    draw: ImageDraw.ImageDraw, chance: random.Random, base: float, swing: float, colour: tuple[int, int, int]
) -> None:
    width, height = SIZE
    waves = [(chance.uniform(0.5, 4), chance.uniform(0, math.tau), chance.uniform(0.2, 1)) for _ in range(4)]
    ridge = [
        (
            x,
            base
            - swing
            * sum(size * math.sin(count * math.tau * x / width + start) for count, start, size in waves),
        )
        for x in range(0, width + 8, 8)
    ]
    draw.polygon([(0, height), *ridge, (width, height)], fill=colour)


def _houses(draw: ImageDraw.ImageDraw, chance: random.Random, floor: int, size: int) -> None:
    for _ in range(chance.randrange(3, 7)):
        x, wide = chance.randrange(0, SIZE[0] - 40), int(size * chance.uniform(1, 1.8))
        tall, light = int(size * chance.uniform(0.8, 1.8)), chance.randrange(170, 240)
        draw.rectangle((x, floor - tall, x + wide, floor), fill=(light, light - 18, light - 44))
        roof = (
            (x - 3, floor - tall),
            (x + wide // 2, floor - tall - size // 2),
            (x + wide + 3, floor - tall),
        )
        draw.polygon(roof, fill=(chance.randrange(120, 180), 70, 54))
        for window in range(x + 4, x + wide - 6, 10):
            draw.rectangle((window, floor - tall + 6, window + 4, floor - tall + 12), fill=(70, 84, 104))


def _between(one: tuple[int, int, int], other: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _saved(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()
