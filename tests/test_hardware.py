"""The number type that a processor computes with."""

from pathlib import Path

import pytest

from wm_envs import hardware


@pytest.mark.parametrize(("processor", "fast"), [
    ("vendor_id : GenuineIntel\nflags : avx2 avx512f avx512_bf16", False),
    ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16 amx_bf16 amx_tile", True),
    ("vendor_id : AuthenticAMD\nflags : avx2 avx512f avx512_bf16", True),
    ("vendor_id : AuthenticAMD\nflags : avx2", False),
    ("", False),
])  # fmt: skip
def test_bfloat16_where_it_is_faster(processor: str, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: processor)
    assert hardware.fast_bfloat16.__wrapped__() is fast


def test_float32_where_the_processor_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> str:
        raise OSError

    monkeypatch.setattr(Path, "read_text", fail)
    assert hardware.fast_bfloat16.__wrapped__() is False
