"""The images of a request, each checked before the model gets it."""

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
_MAX_NAME = 200  # characters


@dataclass(frozen=True)
class RequestImage:
    """One image of a request.

    Attributes:
        name: file name that the client sent.
        content: bytes that the model can decode; empty with an error.
        error: why it cannot be classified; None without an error.
        too_large: whether the error is its number of pixels.
    """

    name: str
    content: bytes
    error: str | None = None
    too_large: bool = False


class _InMemory(MultiPartParser):
    spool_max_size = 2**62  # starlette's own would write larger parts to a temporary file


async def read_uploads(body: bytes, headers: Headers, limits: Limits) -> list[tuple[str, bytes]]:
    """Return name and content of each image: the files of a form, or the body itself.

    Raises:
        ApiError: there is no image, or the form is invalid.
    """
    kind = headers.get("content-type", "")
    if not kind.lower().startswith("multipart/"):
        if not body:
            raise bad_request("The request contains no image")
        return [("", body)]
    try:
        form = await _InMemory(headers, _once(body), max_files=limits.images).parse()
    except MultiPartException as error:
        raise bad_request(f"The form cannot be read: {error.message}") from None
    except (KeyError, UnicodeError, ValueError):  # no boundary, or names in no known encoding
        raise bad_request("The form cannot be read") from None
    files = [one for _, one in form.multi_items() if isinstance(one, UploadFile)]
    uploads = [((one.filename or "")[:_MAX_NAME], await one.read()) for one in files]
    await form.close()
    if not uploads:
        raise bad_request("The form contains no file")
    return uploads


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


def prepare_image(name: str, content: bytes, limits: Limits) -> RequestImage:
    """Return the image in a format that the model can decode, or with an error."""
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
        # the details from Pillow are not for clients
        message = error.message.removeprefix("it is ").partition(":")[0]
        hint = "" if error.hint is None else f"; {error.hint}"
        return RequestImage(name, b"", f"{message}{hint}")


def count_pixels(content: bytes, limit: int) -> int:
    """Return the number of pixels in the header of an image; 0 if it cannot be read."""
    try:
        with open_image(io.BytesIO(content)) as image:
            return image.width * image.height
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return limit + 1
    except Exception:  # Pillow raises errors of any type on a damaged header
        return 0


def blank_large_images(inputs: Arrays, signature: Signature, limits: Limits) -> Arrays:
    """Replace images over the pixel limit in the inputs of a ``:predict`` request by empty bytes.

    For empty bytes ``ok`` is false. Of an animation only the first frame is kept.

    Raises:
        ApiError: an image is too large, and the signature has no ``ok`` output.
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
    """Return the error for an image over the pixel limit."""
    return ApiError(413, f"The image has more than {limits.pixels:,} pixels")


def image_error(image: RequestImage, *, ok: bool) -> str | None:
    """Return why an image has no prediction; None if it has one.

    Args:
        image: of the request.
        ok: whether the model could decode it.
    """
    if image.error is not None:
        return image.error
    return None if ok else _NOT_DECODABLE
