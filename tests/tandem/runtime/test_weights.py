"""Tests of the layout of published weights, their shared memory segment and fingerprints."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tandem.config.schema import ConfigError
from tandem.runtime.segment import PIECE_BYTES, WeightSegment
from tandem.runtime.weights import ALIGNMENT, SHM, PublishedWeights, TensorSpec, WeightLayout, checksum, lay_out

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.int8, torch.bool, torch.int64]

Change = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
shapes = st.lists(st.integers(0, 9), max_size=3).map(tuple)
listings = st.lists(st.tuples(shapes, st.sampled_from(DTYPES)), max_size=12)


def layout_of(listing: list[tuple[tuple[int, ...], torch.dtype]]) -> WeightLayout:
    return lay_out((f"w{i}", shape, dtype) for i, (shape, dtype) in enumerate(listing))


def random_tensors(layout: WeightLayout) -> dict[str, torch.Tensor]:
    return {t.name: (torch.randn(t.shape) * 50).to(getattr(torch, t.dtype)) for t in layout.tensors}


def filled(path: Path, tensors: dict[str, torch.Tensor]) -> WeightSegment:
    """A new segment that holds `tensors`."""
    segment = WeightSegment(path, lay_out((n, tuple(t.shape), t.dtype) for n, t in tensors.items()), create=True)
    segment.write([(spec, tensors[spec.name]) for spec in segment.layout.tensors])
    return segment


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "embed": torch.randn(6, 4),
        "norm": torch.randn(4).bfloat16(),
        "proj": torch.randn(6, 4),
        "scale": torch.tensor(0.5),
    }


# The layout


@given(listing=listings)
def test_tensors_are_ordered_aligned_and_disjoint(listing: list[tuple[tuple[int, ...], torch.dtype]]) -> None:
    layout = layout_of(listing)
    end = 0
    for spec, (shape, dtype) in zip(layout.tensors, listing, strict=True):
        assert spec.offset % ALIGNMENT == 0
        assert end <= spec.offset < end + ALIGNMENT
        assert spec.nbytes == torch.empty(shape, dtype=dtype).nbytes
        end = spec.offset + spec.nbytes
    assert layout.nbytes == end


@given(listing=listings, max_bytes=st.integers(1, 2_000))
def test_buckets_hold_all_tensors_in_order_up_to_limit(
    listing: list[tuple[tuple[int, ...], torch.dtype]], max_bytes: int
) -> None:
    layout = layout_of(listing)
    buckets = list(layout.buckets(max_bytes))
    assert tuple(spec for bucket in buckets for spec in bucket) == layout.tensors
    sizes = [sum(spec.nbytes for spec in bucket) for bucket in buckets]
    assert all(size <= max_bytes or len(bucket) == 1 for size, bucket in zip(sizes, buckets, strict=True))
    for size, following in zip(sizes, buckets[1:], strict=False):
        assert size + following[0].nbytes > max_bytes, "the next tensor would have fitted"


@given(listing=listings, version=st.integers(0, 10**6), digest=st.integers(0, 2**64 - 1))
def test_published_weights_survive_serialization(
    listing: list[tuple[tuple[int, ...], torch.dtype]], version: int, digest: int
) -> None:
    published = PublishedWeights(version, SHM, "/dev/shm/weights", layout_of(listing), digest)
    assert PublishedWeights.decode(published.encode()) == published


# The segment


@given(listing=listings)
def test_reader_gets_written_tensors(
    tmp_path_factory: pytest.TempPathFactory, listing: list[tuple[tuple[int, ...], torch.dtype]]
) -> None:
    path = tmp_path_factory.mktemp("segment") / "weights"
    tensors = random_tensors(layout_of(listing))
    written = filled(path, tensors)
    read = WeightSegment(path, written.layout)
    found = dict(read.tensors())
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
    assert read.checksum() == written.checksum() == written.written_checksum


@pytest.mark.parametrize("threads", [1, 3])
def test_checksum_is_equal_for_all_processes_and_covers_every_chunk(tmp_path: Path, threads: int) -> None:
    many = {"large": torch.randn(3 * PIECE_BYTES // 4 + 5), "small": torch.randn(7)}
    written = filled(tmp_path / "weights", many)
    read = WeightSegment(tmp_path / "weights", written.layout, threads=threads)
    seen = {read.checksum()}
    assert seen == {written.written_checksum}
    large, small = (written.view(spec) for spec in written.layout.tensors)
    for tensor, place in [(large, 0), (large, PIECE_BYTES // 4), (large, len(large) - 1), (small, 3)]:
        tensor[place] += 1
        seen.add(read.checksum())
    assert len(seen) == 5
    exchanged = large[: PIECE_BYTES // 4].clone()
    large[: PIECE_BYTES // 4] = large[PIECE_BYTES // 4 : PIECE_BYTES // 2]
    large[PIECE_BYTES // 4 : PIECE_BYTES // 2] = exchanged
    assert read.checksum() not in seen, "two chunks are exchanged"


@pytest.mark.parametrize("stale", ["embed", "norm", "proj"])
def test_segment_with_mixed_versions_has_another_checksum(tmp_path: Path, tensors: dict[str, torch.Tensor], stale: str) -> None:
    written = filled(tmp_path / "weights", tensors)
    old, newer = written.written_checksum, {name: tensor + 1 for name, tensor in tensors.items()}
    written.write([(spec, newer[spec.name]) for spec in written.layout.tensors])
    read = WeightSegment(tmp_path / "weights", written.layout)
    announced = written.written_checksum
    assert read.checksum() == announced != old
    (spec,) = (spec for spec in written.layout.tensors if spec.name == stale)
    written.view(spec).copy_(tensors[stale])
    assert read.checksum() not in (announced, old)


def test_open_mapping_shows_later_version(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    written = filled(tmp_path / "weights", tensors)
    read = WeightSegment(tmp_path / "weights", written.layout)
    before = read.checksum()
    written.view(written.layout.tensors[0])[3, 2] += 1
    assert torch.equal(dict(read.tensors())["embed"], written.view(written.layout.tensors[0]))
    assert read.checksum() == written.checksum() != before


def test_short_file_is_refused(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    layout = filled(tmp_path / "weights", tensors).layout
    os.truncate(tmp_path / "weights", layout.nbytes - 1)
    with pytest.raises(ValueError, match=f"weights holds {layout.nbytes - 1} bytes; the layout needs {layout.nbytes}"):
        WeightSegment(tmp_path / "weights", layout)


def test_missing_file_is_not_created_by_reader(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    layout = lay_out((n, tuple(t.shape), t.dtype) for n, t in tensors.items())
    with pytest.raises(FileNotFoundError):
        WeightSegment(tmp_path / "weights", layout)
    assert not (tmp_path / "weights").exists()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a file system of known size")
def test_weights_that_do_not_fit_leave_no_file() -> None:
    room = os.statvfs("/dev/shm")
    path = Path(f"/dev/shm/tandem-test-{os.getpid()}")
    too_many = room.f_blocks * room.f_frsize // 4 + mmap.PAGESIZE
    with pytest.raises(ConfigError, match="weights take .* of /dev/shm, and .* are free; enlarge it"):
        WeightSegment(path, lay_out([("w", (too_many,), torch.float32)]), create=True)
    assert not path.exists()


# The fingerprint


def test_fingerprint_does_not_depend_on_order(tensors: dict[str, torch.Tensor]) -> None:
    assert checksum(reversed(tensors.items())) == checksum(tensors.items())


def test_fingerprint_does_not_depend_on_memory_layout(tensors: dict[str, torch.Tensor]) -> None:
    column_major = tensors["embed"].T.contiguous().T
    assert not column_major.is_contiguous()
    assert checksum({**tensors, "embed": column_major}.items()) == checksum(tensors.items())


def test_fingerprint_changes_with_every_byte(tensors: dict[str, torch.Tensor]) -> None:
    seen = {checksum(tensors.items())}
    for tensor in tensors.values():
        raw = tensor.view(-1).view(torch.uint8)
        for i in range(len(raw)):
            raw[i] ^= 1
            seen.add(checksum(tensors.items()))
            raw[i] ^= 1
    assert len(seen) == 1 + sum(tensor.nbytes for tensor in tensors.values())
    assert checksum(tensors.items()) in seen


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {**t, "extra": torch.zeros(1)},
        lambda t: {name: tensor for name, tensor in t.items() if name != "norm"},
        lambda t: {("embedding" if name == "embed" else name): tensor for name, tensor in t.items()},
        lambda t: {**t, "embed": t["proj"], "proj": t["embed"]},
        lambda t: {**t, "embed": t["embed"].view(4, 6)},
        lambda t: {**t, "embed": t["embed"].view(torch.int32)},
    ],
    ids=["a tensor more", "a tensor less", "another name", "two exchanged", "another shape", "another dtype"],
)
def test_fingerprint_changes_with_name_shape_or_dtype(tensors: dict[str, torch.Tensor], change: Change) -> None:
    assert checksum(change(tensors).items()) != checksum(tensors.items())


def test_specs_locate_every_tensor() -> None:
    layout = lay_out([("a", (3,), torch.bfloat16), ("b", (), torch.float32), ("c", (2, 2), torch.float32)])
    assert layout.tensors == (
        TensorSpec("a", "bfloat16", (3,), 0, 6),
        TensorSpec("b", "float32", (), 64, 4),
        TensorSpec("c", "float32", (2, 2), 128, 16),
    )
    assert layout.nbytes == 144 and lay_out([]).nbytes == 0
