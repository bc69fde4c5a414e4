"""`--track` and `--register`: what cannot work is an error before anything is read."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--track", "mlflow", "--register", " "], "--register is empty"),
        (["--register", "ants"], "--register names a model in MLflow's registry"),
        (["--track", "wandb", "--register", "ants"], "the run is not logged to MLflow"),
        (["--kfold", "2", "--track", "mlflow", "--register", "ants"], "--kfold exports nothing"),
        (["--find-lr", "--register", "ants"], "--find-lr keeps nothing"),
        (
            ["--track", "mlflow", "--register", "ants", "--set", "export.enabled=false"],
            "--register needs an exported model",
        ),
        (["--track", "wandbb"], "Did you mean 'wandb'?"),
    ],
)
def test_options_that_cannot_work(tltool, the_error, tmp_path, monkeypatch, options, message):
    monkeypatch.setenv("TLTOOL_OFFLINE", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "photos" / "ants").mkdir(parents=True)
    for name in ("a", "b"):
        (tmp_path / "photos" / "ants" / f"{name}.png").write_bytes(b"")
        (tmp_path / "photos" / name).mkdir()
    result = tltool("finetune", tmp_path / "photos", *options, "--set", "model.weights=random")
    assert result.exit_code == 2
    assert message in the_error(result)
    assert not (tmp_path / "runs").exists()


def test_wandb_without_an_account(tltool, the_error, tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "TLTOOL_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    result = tltool("finetune", tmp_path, "--track", "wandb")
    assert result.exit_code == 2
    assert "no API key" in the_error(result)
    assert "WANDB_MODE=offline" in result.stderr
