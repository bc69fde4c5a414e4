"""What Google Vertex AI and Amazon SageMaker require of a container. No framework is imported here.

Vertex AI sets environment variables:
https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
SageMaker runs the container with the argument ``serve``; the model is below /opt/ml/model, the port
8080:
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tltool.errors import UsageError
from tltool.serving.settings import URL_PATH, PlatformRoutes

SAGEMAKER_MODEL = Path("/opt/ml/model")
ALL_NETWORKS = "0.0.0.0"
_PORT = 8080
_LAST_PORT = 65535
_VERTEX = ("AIP_HTTP_PORT", "AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE", "AIP_STORAGE_URI")


@dataclass(frozen=True)
class Platform:
    """The platform on which the server runs.

    Attributes:
        name: of the platform.
        port: on which the server must listen, in all networks.
        model: folder or gs:// address of the model; None if the platform gives none.
        routes: further routes.
    """

    name: str
    port: int
    model: str | None
    routes: PlatformRoutes


def find_platform(
    environ: Mapping[str, str],
    *,
    model_given: bool = False,
    sagemaker_model: Path = SAGEMAKER_MODEL,
) -> Platform | None:
    """Return the platform that the environment variables describe; None for another machine.

    Without variables, a folder ``/opt/ml/model`` shows SageMaker, unless the user gives a model or
    there is a folder saved_models/.

    Args:
        environ: environment variables.
        model_given: whether the user gives a model.
        sagemaker_model: the folder into which SageMaker unpacks the model.

    Raises:
        UsageError: a variable has an invalid value.

    Examples:
        >>> find_platform({"AIP_HTTP_PORT": "8080", "AIP_HEALTH_ROUTE": "/health"}).port
        8080
    """
    has_model = sagemaker_model.is_dir()
    if any(environ.get(name) for name in _VERTEX):
        routes = PlatformRoutes(_route(environ, _VERTEX[1]), _route(environ, _VERTEX[2]))
        model = environ.get("AIP_STORAGE_URI") or None
        return Platform("Vertex AI", _port(environ, "AIP_HTTP_PORT"), model, routes)
    by_folder = has_model and not model_given and not Path("saved_models").is_dir()
    if "SAGEMAKER_BIND_TO_PORT" in environ or by_folder:
        model = str(sagemaker_model) if has_model else None
        return Platform(
            "SageMaker", _port(environ, "SAGEMAKER_BIND_TO_PORT"), model, PlatformRoutes()
        )
    return None


def _port(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name) or str(_PORT)
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= _LAST_PORT):
        raise UsageError(
            f"the environment variable {name} is '{text}', which is not a port",
            hint=f"set it to a number from 1 to {_LAST_PORT}, or unset it",
        )
    return int(text)


def _route(environ: Mapping[str, str], name: str) -> str | None:
    text = environ.get(name) or None
    if text is not None and not URL_PATH.fullmatch(text):
        raise UsageError(
            f"the environment variable {name} is '{text}', which is not the path of a URL",
            hint="it starts with a slash, as in /predict",
        )
    return text
