"""Screenshots small enough for a README: PNGs with a palette, which Chromium can't write."""

from __future__ import annotations

import base64
import struct
import zlib

from playwright.async_api import Page

# 256 colours: each next one is that which would change most pixels most, so that small coloured
# texts keep theirs. Every other pixel gets the nearest of them.
TO_PALETTE = """async (png) => {
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes]));
  const {width, height} = image;
  const canvas = new OffscreenCanvas(width, height).getContext("2d");
  canvas.drawImage(image, 0, 0);
  const {data} = canvas.getImageData(0, 0, width, height);
  const colours = new Uint32Array(data.buffer);
  const counts = new Map();
  for (const colour of colours) counts.set(colour, (counts.get(colour) ?? 0) + 1);
  const split = (colour) => [colour & 255, (colour >> 8) & 255, (colour >> 16) & 255];
  const left = [...counts].map(([colour, count]) => ({at: split(colour), count, off: Infinity}));
  const kept = [];
  while (kept.length < 256) {
    const worst = left.reduce((one, other) =>
      other.off * other.count > one.off * one.count ? other : one);
    if (!worst.off) break;
    kept.push(worst.at);
    for (const each of left) {
      const off = each.at.reduce((sum, part, n) => sum + (part - worst.at[n]) ** 2, 0);
      each.off = Math.min(each.off, off);
    }
  }
  const nearest = (colour) => {
    const distances = kept.map((each) =>
      split(colour).reduce((sum, part, index) => sum + (part - each[index]) ** 2, 0));
    return distances.indexOf(Math.min(...distances));
  };
  const indices = new Map([...counts.keys()].map((colour) => [colour, nearest(colour)]));
  const letters = Array.from(colours, (colour) => String.fromCharCode(indices.get(colour)));
  return {width, height, palette: kept.flat(), pixels: btoa(letters.join(""))};
}"""


async def picture(page: Page) -> bytes:
    """A screenshot of the page, as a PNG with at most 256 colours."""
    whole = base64.b64encode(await page.screenshot()).decode()
    image = await page.evaluate(TO_PALETTE, whole)
    width, height = image["width"], image["height"]
    pixels = base64.b64decode(image["pixels"])
    rows = (b"\0" + pixels[at : at + width] for at in range(0, len(pixels), width))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", bytes(image["palette"])),
            _chunk(b"IDAT", zlib.compress(b"".join(rows), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
