"""Which device and number format is chosen, with torch's answers replaced."""

import pytest
import torch

from roi_cls.base.errors import TrainingError
from roi_cls.classifier.config import Device, Precision
from roi_cls.classifier.models.device import Backend, choose_backend


def _offer(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool, bf16: bool = True) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    # Of emulated bf16, torch says yes for any GPU unless it is asked without.
    supported = lambda including_emulation=True: bf16 or including_emulation  # noqa: E731  (short)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_absent_device_is_an_error(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    _offer(monkeypatch, cuda=False, mps=False)
    with pytest.raises(TrainingError) as caught:
        choose_backend(device)
    assert str(caught.value) == (
        f"Cannot use the device {device!r}: torch {torch.__version__} sees none. "
        "Use --device auto, or install the torch built for it; `roi-cls doctor` tells more."
    )


def test_fp16_on_the_cpu_is_an_error() -> None:
    with pytest.raises(TrainingError) as caught:
        choose_backend("cpu", "fp16")
    assert str(caught.value) == (
        "Cannot compute in fp16 on the CPU: torch has no fast fp16 there. "
        "Use --precision bf16, fp32 or auto."
    )


@pytest.mark.parametrize(
    ("cuda", "mps", "bf16", "expected"),
    [
        (True, True, True, Backend(torch.device("cuda"), torch.bfloat16)),
        (True, False, False, Backend(torch.device("cuda"), torch.float16)),
        (False, True, True, Backend(torch.device("mps"), torch.float32)),
    ],
)
def test_auto_takes_the_best_there_is(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, bf16: bool, expected: Backend
) -> None:
    _offer(monkeypatch, cuda=cuda, mps=mps, bf16=bf16)
    assert choose_backend() == expected


@pytest.mark.parametrize(
    ("avx512", "amx", "expected"),
    [(True, False, torch.bfloat16), (False, True, torch.bfloat16), (False, False, torch.float32)],
)
def test_bf16_on_the_cpu_only_where_it_is_not_emulated(
    monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool, expected: torch.dtype
) -> None:
    _offer(monkeypatch, cuda=False, mps=False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert choose_backend("auto") == Backend(torch.device("cpu"), expected)


def test_cpu_without_mkldnn_bf16_computes_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert choose_backend("cpu").format == torch.float32


@pytest.mark.parametrize(("precision", "name"), [("fp32", "cpu (fp32)"), ("bf16", "cpu (bf16)")])
def test_backend_is_named_by_chip_and_format(precision: Precision, name: str) -> None:
    assert choose_backend("cpu", precision).name == name


def test_gpu_is_named_by_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA X")
    assert Backend(torch.device("cuda"), torch.float16).name == "NVIDIA X (fp16)"
    assert Backend(torch.device("mps"), torch.float32).name == "mps (fp32)"


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_products_are_computed_in_the_format(precision: Precision, dtype: torch.dtype) -> None:
    values = torch.ones(2, 2)
    with choose_backend("cpu", precision).autocast():
        assert (values @ values).dtype == dtype


@pytest.mark.parametrize(("precision", "rounds"), [("fp32", False), ("bf16", True)])
def test_convolutions_round_only_where_the_format_does(precision: Precision, rounds: bool) -> None:
    backend = choose_backend("cpu", precision)
    before = torch.backends.cudnn.allow_tf32
    for block in (backend.autocast, backend.rounding):
        with block():
            assert torch.backends.cudnn.allow_tf32 == rounds
        assert torch.backends.cudnn.allow_tf32 == before


def test_who_is_done_does_not_let_others_round() -> None:
    backend = choose_backend("cpu", "fp32")
    first, second = backend.rounding(), backend.rounding()  # of two threads
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not torch.backends.cudnn.allow_tf32
    second.__exit__(None, None, None)
    assert torch.backends.cudnn.allow_tf32
