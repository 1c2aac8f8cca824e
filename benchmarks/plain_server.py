"""A run's model behind FastAPI, MediaPipe and ONNX Runtime, as most people write it.

    .venv/bin/python -m benchmarks.plain_server RUN_FOLDER

The side that `benchmarks.serving --plain` compares with: a function for each request, in the
threads that the framework gives it; one detector and one session, shared, the detector behind a
lock. It decodes with Pillow, looks with MediaPipe's short-range detector, cuts a square around the
box, and scores one crop at a time. It ends when asked to.
"""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import mediapipe as mp
import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse
from mediapipe.tasks import python as tasks
from mediapipe.tasks.python import vision
from PIL import Image

from roi_cls.roi.detection.models import KNOWN_MODELS

_MARGIN = 0.3


def make_app(run: Path) -> FastAPI:
    """Return the application; POST /predict takes a picture's bytes."""
    session = onnxruntime.InferenceSession(str(run / "model.onnx"))
    given = session.get_inputs()[0]
    side = int(given.shape[1])
    short_range = run / "detector" / f"{KNOWN_MODELS[0].sha256}.tflite"
    model = tasks.BaseOptions(model_asset_path=str(short_range))
    detector = vision.FaceDetector.create_from_options(
        vision.FaceDetectorOptions(base_options=model)
    )
    lock = threading.Lock()
    app = FastAPI()

    def judge(data: bytes) -> dict[str, Any]:
        try:
            image = Image.open(io.BytesIO(data)).convert("RGB")
        except OSError as err:
            raise HTTPException(422, str(err)) from err
        with lock:
            found = detector.detect(mp.Image(mp.ImageFormat.SRGB, np.asarray(image)))
        if found.detections:
            box = found.detections[0].bounding_box
            half = max(box.width, box.height) * (0.5 + _MARGIN)
            x, y = box.origin_x + box.width / 2, box.origin_y + box.height / 2
            image = image.crop((round(x - half), round(y - half), round(x + half), round(y + half)))
        crop = np.asarray(image.resize((side, side)))
        scores = session.run(None, {given.name: crop[None]})[0]
        return {"scores": np.asarray(scores)[0].tolist()}

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        return await run_in_threadpool(judge, await request.body())

    @app.get("/metrics")
    def metrics() -> PlainTextResponse:
        return PlainTextResponse(f"process_cpu_seconds_total {time.process_time()}\n")

    return app


def main() -> None:
    """Serve on a free port of this machine, and say which as `roi-cls serve` does."""
    app = make_app(Path(sys.argv[1]))
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"at http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    # uvicorn ends by it, and raises it once more afterwards.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    server.run(sockets=[listener])
    os._exit(0)  # MediaPipe's threads may outlive the server


if __name__ == "__main__":
    main()
