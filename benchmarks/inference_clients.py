"""Send requests to a running server with the clients of KServe and Triton; exit 1 if one fails.

Both clients need an environment of their own: ``pip install kserve 'tritonclient[http]'``. Then

    python benchmarks/inference_clients.py http://127.0.0.1:8501 digits digits/7/0007.png
"""

import asyncio
import base64
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(url: str, name: str, image: str) -> int:
    """Run all checks and print what differs; return the exit code."""
    content = Path(image).read_bytes()
    answers = {
        **asyncio.run(kserve_answers(url, name, content)),
        **triton_answers(url, name, content),
    }
    classes = {key: value for key, value in answers.items() if not isinstance(value, bool)}
    failed = [key for key, value in answers.items() if value is False]
    if len(set(classes.values())) > 1:
        failed += [f"{key}: {value}" for key, value in classes.items()]
    for key in failed:
        print(f"failed: {key}")
    print(
        f"{len(answers) - len(failed)} of {len(answers)} requests right; "
        f"class {', '.join(set(classes.values()))}"
    )
    return 1 if failed else 0


async def kserve_answers(url: str, name: str, content: bytes) -> dict[str, Any]:
    """Return readiness and the predicted class by protocol and encoding."""
    from kserve import InferenceRESTClient, InferInput, InferRequest
    from kserve.inference_client import RESTConfig

    first = InferenceRESTClient(config=RESTConfig(protocol="v1", timeout=60))
    second = InferenceRESTClient(config=RESTConfig(protocol="v2", timeout=60))
    json_headers = {"Accept": "application/json"}
    rows = {"instances": [{"image_bytes": {"b64": base64.b64encode(content).decode()}}]}
    answers = {
        "kserve v1 live": await first.is_server_live(url, headers=json_headers),
        "kserve v1 ready": await first.is_model_ready(url, name),
        "kserve v2 live": await second.is_server_live(url),
        "kserve v2 ready": await second.is_server_ready(url),
        "kserve v2 model ready": await second.is_model_ready(url, name),
    }
    response = await first.infer(url, rows, model_name=name)
    answers["kserve v1"] = response["predictions"][0]["class_name"]
    for binary in (True, False):
        data = [content] if binary else [base64.b64encode(content)]
        tensor = InferInput("image_bytes", [1], "BYTES")
        tensor.set_data_from_numpy(np.array(data, dtype=object), binary_data=binary)
        response = await second.infer(url, InferRequest(name, [tensor]), model_name=name)
        outputs = {one.name: one.as_numpy().tolist() for one in response.outputs}
        answers[f"kserve v2, binary {binary}"] = outputs["class_name"][0]
    return answers


def triton_answers(url: str, name: str, content: bytes) -> dict[str, Any]:
    """Return readiness and the predicted class by encoding and compression."""
    import tritonclient.http as triton

    client = triton.InferenceServerClient(url.removeprefix("http://"))
    (tensor, *_) = client.get_model_metadata(name)["inputs"]
    answers: dict[str, Any] = {
        "triton live": client.is_server_live(),
        "triton ready": client.is_server_ready(),
        "triton model ready": client.is_model_ready(name),
        "triton metadata": tensor["name"] == "image_bytes",
    }
    given = triton.InferInput(tensor["name"], [1], tensor["datatype"])
    given.set_data_from_numpy(np.array([content], dtype=object))
    for binary in (True, False):
        wanted = [triton.InferRequestedOutput("class_name", binary_data=binary)]
        for coding in (None, "gzip", "deflate"):
            result = client.infer(
                name, [given], outputs=wanted, request_compression_algorithm=coding
            )
            (answer,) = result.as_numpy("class_name")
            text = answer.decode() if isinstance(answer, bytes) else answer
            answers[f"triton, binary {binary}, {coding}"] = text
    return answers


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
