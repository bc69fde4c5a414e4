"""The images of a request, each checked before the model gets it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from tltool.data.decoding.bounded_work import check_size, decoded_bytes, without_unused_parts
from tltool.data.decoding.image_errors import DamagedError
from tltool.data.decoding.image_size import read_size
from tltool.data.decoding.transcode import decodes_as_stored, prepare
from tltool.errors import DataError
from tltool.serving.api_errors import ApiError, bad_request
from tltool.serving.json_values import Arrays
from tltool.serving.served_model import IMAGE_INPUT
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
    size = read_size(content)
    if size is not None and size.pixels > limits.pixels:
        return RequestImage(name, b"", f"it has more than {limits.pixels:,} pixels", too_large=True)
    try:
        return RequestImage(name, prepare(content, name="it", max_pixels=limits.pixels))
    except DataError as error:
        message = error.message.removeprefix("it is ")
        if isinstance(error, DamagedError):  # the details from Pillow are not for clients
            message = message.partition(":")[0]
        hint = "" if error.hint is None else f"; {error.hint}"
        return RequestImage(name, b"", f"{message}{hint}")


def is_long_conversion(content: bytes) -> bool:
    """Whether an image is large and must be converted for the model, which takes seconds."""
    return not decodes_as_stored(content) and decoded_bytes(content) > 0


def bound_images(inputs: Arrays, signature: Signature, limits: Limits) -> tuple[int, ...]:
    """Replace images that cannot be decoded within the limits by empty bytes.

    For empty bytes ``ok`` is false. Of an animation only the first frame is kept.

    Returns:
        ``PredictRequest.decoded``.

    Raises:
        ApiError: an image is too large, and the signature has no ``ok`` output.
    """
    decoded: tuple[int, ...] = ()
    for name, array in inputs.items():
        if not signature.inputs[name].is_string:
            continue
        flat = array.reshape(-1)
        only_images = name == IMAGE_INPUT and "ok" in signature.outputs
        for position, content in enumerate(flat):
            flat[position] = _bounded(content, limits, only_images=only_images)
        decoded = tuple(map(decoded_bytes, flat))
    return decoded if any(decoded) else ()


def _bounded(content: bytes, limits: Limits, *, only_images: bool) -> bytes:
    """Return an image for the model; other bytes are kept unless there are ``only_images``."""
    if not only_images and read_size(content) is None:
        return content
    try:
        check_size(content, name="it", max_pixels=limits.pixels)
    except DataError:
        if only_images:
            return b""
        raise too_many_pixels(limits) from None
    return without_unused_parts(content)


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
