"""Log the export of a run to MLflow as a model (pyfunc), and register it.

MLflow's format: https://mlflow.org/docs/latest/ml/model/.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from tltool.export.golden import GOLDEN_ASSET
from tltool.export.saved_model import BYTES_SIGNATURE
from tltool.serving.signatures import Signature, TensorInfo, read_signatures

ARTIFACT = "model"
LOADER = "tltool_classifier"
_TYPES = {
    "DT_STRING": "string",
    "DT_BOOL": "boolean",
    "DT_FLOAT": "float",
    "DT_DOUBLE": "double",
    "DT_INT32": "integer",
    "DT_INT64": "long",
}


def log_model(client: Any, run_id: str, export: Path) -> None:
    """Log the SavedModel in ``export`` as the artifact ``model`` of a run.

    The golden set is left out, because it contains images of the data set.

    Args:
        client: MLflow's client.
        run_id: of the MLflow run.
        export: the version folder.
    """
    with tempfile.TemporaryDirectory(prefix="tltool-mlflow-") as temporary:
        folder = Path(temporary) / ARTIFACT
        write_model(export, folder)
        client.log_artifacts(run_id, str(folder), ARTIFACT)


def write_model(export: Path, folder: Path) -> None:
    """Write MLflow's model folder for the SavedModel in ``export``.

    Args:
        export: the version folder.
        folder: the new folder.
    """
    import mlflow.pyfunc

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    module = files("tltool.tracking.pyfunc") / f"{LOADER}.py"
    with (
        tempfile.TemporaryDirectory(prefix="tltool-mlflow-") as temporary,
        as_file(module) as code,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        copy = Path(temporary) / "saved_model"
        shutil.copytree(export, copy, ignore=shutil.ignore_patterns(GOLDEN_ASSET))
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=LOADER,
            data_path=str(copy),
            code_paths=[str(code)],
            signature=model_signature(read_signatures(export / "saved_model.pb")),
            pip_requirements=_requirements(),
        )


def _requirements() -> list[str]:
    import tensorflow as tf

    # every later version of TensorFlow reads the SavedModel
    return [f"tensorflow>={tf.__version__}", "pandas"]


def model_signature(signatures: Mapping[str, Signature]) -> Any:
    """Return MLflow's signature: the names and types of the columns.

    Args:
        signatures: of the SavedModel.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    served = signatures[BYTES_SIGNATURE]
    inputs = [ColSpec(DataType.binary, name) for name in served.inputs]
    outputs = [ColSpec(_column_type(info), name) for name, info in sorted(served.outputs.items())]
    return ModelSignature(Schema(inputs), Schema(outputs))


def _column_type(info: TensorInfo) -> Any:
    from mlflow.types import DataType
    from mlflow.types.schema import Array

    scalar = DataType[_TYPES[info.dtype]]
    return Array(scalar) if info.shape is not None and len(info.shape) > 1 else scalar


def register_model(client: Any, run_id: str, name: str) -> str:
    """Create the next version of the registered model ``name``; return its number.

    Args:
        client: MLflow's client.
        run_id: of the run with the logged model.
        name: of the registered model, which is created if there is none.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"{client.get_run(run_id).info.artifact_uri.rstrip('/')}/{ARTIFACT}"
    return str(client.create_model_version(name, source=source, run_id=run_id).version)
