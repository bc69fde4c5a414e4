"""Images out of a request, each judged by itself before the model sees it."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from PIL import Image
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from tltool.data.decoding.gif import first_frame
from tltool.data.decoding.transcode import decodes_as_stored, open_image, transcode
from tltool.errors import DataError
from tltool.serving.api_errors import ApiError, bad_request
from tltool.serving.requests import Arrays
from tltool.serving.settings import Limits
from tltool.serving.signatures import Signature

_NOT_DECODABLE = "not an image, damaged or truncated"
_LONGEST_NAME = 200  # characters


@dataclass(frozen=True)
class RequestImage:
    """One image of a request.

    Attributes:
        name: of its file, as the client gives it.
        content: that the model can decode; empty with a problem.
        problem: why it cannot be classified, None if nothing speaks against it.
        too_large: whether the problem is its number of pixels.
    """

    name: str
    content: bytes
    problem: str | None = None
    too_large: bool = False


class _InMemory(MultiPartParser):
    spool_max_size = 2**62  # starlette's own would write larger parts to a temporary file


async def uploaded(body: bytes, headers: Headers, limits: Limits) -> list[tuple[str, bytes]]:
    """Return name and content of each image: the files of a form, or else the body itself.

    Raises:
        ApiError: there is none, or the form is damaged.
    """
    kind = headers.get("content-type", "")
    if not kind.lower().startswith("multipart/"):
        if not body:
            raise bad_request("The request holds no image")
        return [("", body)]
    try:
        form = await _InMemory(headers, _once(body), max_files=limits.photos).parse()
    except MultiPartException as error:
        raise bad_request(f"The form cannot be read: {error.message}") from None
    except (KeyError, UnicodeError, ValueError):  # no boundary, or names in no known encoding
        raise bad_request("The form cannot be read") from None
    files = [one for _, one in form.multi_items() if isinstance(one, UploadFile)]
    found = [((one.filename or "")[:_LONGEST_NAME], await one.read()) for one in files]
    await form.close()
    if not found:
        raise bad_request("The form holds no file")
    return found


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


def examined(name: str, content: bytes, limits: Limits) -> RequestImage:
    """Return the image as the model can decode it, or what is wrong with it."""
    if not content:
        return RequestImage(name, b"", "the file is empty")
    pixels = count_pixels(content, limits.pixels)
    if pixels > limits.pixels:
        return RequestImage(name, b"", f"it has more than {limits.pixels:,} pixels", too_large=True)
    if decodes_as_stored(content):
        return RequestImage(name, first_frame(content))
    try:
        return RequestImage(name, transcode(content, name="it"))
    except DataError as error:
        # what Pillow says of the damage is no business of a stranger's
        told = error.message.removeprefix("it is ").partition(":")[0]
        return RequestImage(name, b"", told if error.hint is None else f"{told}; {error.hint}")


def count_pixels(content: bytes, limit: int) -> int:
    """Return how many pixels the header of an image claims; 0 where it cannot be read."""
    try:
        with open_image(io.BytesIO(content)) as image:
            return image.width * image.height
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return limit + 1
    except Exception:  # Pillow raises whatever it likes on a damaged header
        return 0


def within_pixels(inputs: Arrays, signature: Signature, limits: Limits) -> Arrays:
    """Return the inputs of a ``:predict`` request with no image in them over the limit.

    Such an item becomes empty, for which ``ok`` is false. Of an animation the first frame stays.

    Raises:
        ApiError: the signature has no ``ok`` to tell it by.
    """
    for name, array in inputs.items():
        if not signature.inputs[name].is_string:
            continue
        flat = array.reshape(-1)
        large = [
            i for i, one in enumerate(flat) if count_pixels(one, limits.pixels) > limits.pixels
        ]
        if large and "ok" not in signature.outputs:
            raise too_many_pixels(limits)
        for position, content in enumerate(flat):
            flat[position] = first_frame(content)
        for position in large:
            flat[position] = b""
    return inputs


def too_many_pixels(limits: Limits) -> ApiError:
    """Return the error for an image that is too large to be decoded."""
    return ApiError(413, f"The image has more than {limits.pixels:,} pixels")


def explained(photo: RequestImage, ok: bool) -> str | None:
    """Return why an image has no answer; None where it has one."""
    if photo.problem is not None:
        return photo.problem
    return None if ok else _NOT_DECODABLE
