"""The default pool size, on control group trees as the kernel, Docker and Kubernetes lay them out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from consumer.config.cpu_count import usable_cpus


def count(tmp_path: Path, groups: str, files: dict[str, str], affinity: int = 16) -> int:
    """Lay out a tree, ask, with `affinity` CPUs allowed."""
    proc = tmp_path / "cgroup"
    proc.write_text(groups)
    for name, content in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return usable_cpus(affinity=affinity, proc=proc, root=tmp_path / "root")


@pytest.mark.parametrize(
    ("content", "cpus"),
    [
        ("max 100000", 16),
        ("400000 100000", 4),
        ("250000 100000", 3),
        ("10000 100000", 1),
        ("50000 10000", 5),
        ("9900000 100000", 16),
    ],
)
def test_a_v2_quota_limits_the_affinity_and_is_rounded_up(tmp_path: Path, content: str, cpus: int) -> None:
    assert count(tmp_path, "0::/app\n", {"app/cpu.max": content}) == cpus


@pytest.mark.parametrize(
    ("quota", "period", "cpus"), [("-1", "100000", 16), ("300000", "100000", 3), ("150000", "100000", 2)]
)
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
def test_a_v1_quota_limits_too(tmp_path: Path, controllers: str, quota: str, period: str, cpus: int) -> None:
    files = {"cpu/app/cpu.cfs_quota_us": quota, "cpu/app/cpu.cfs_period_us": period}
    assert count(tmp_path, f"3:memory:/app\n2:{controllers}:/app\n", files) == cpus


def test_the_tightest_group_on_the_way_up_counts(tmp_path: Path) -> None:
    files = {"a/b/c/cpu.max": "max 100000", "a/b/cpu.max": "200000 100000", "a/cpu.max": "800000 100000"}
    assert count(tmp_path, "0::/a/b/c\n", files) == 2


def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    assert count(tmp_path, "0::/\n", {"cpu.max": "300000 100000"}) == 3


def test_a_v1_container_sees_the_hosts_path_and_its_own_files(tmp_path: Path) -> None:
    files = {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}
    assert count(tmp_path, "4:cpu,cpuacct:/docker/0123abcd\n", files) == 2


def test_a_mixed_machine_keeps_the_quota_in_v1(tmp_path: Path) -> None:
    files = {"cpu/app/cpu.cfs_quota_us": "200000", "cpu/app/cpu.cfs_period_us": "100000", "app/x": ""}
    assert count(tmp_path, "2:cpu:/app\n0::/app\n", files) == 2


def test_controllers_with_cpu_in_their_name_are_not_cpu(tmp_path: Path) -> None:
    files = {"cpu/app/cpu.cfs_quota_us": "200000", "cpu/app/cpu.cfs_period_us": "100000"}
    assert count(tmp_path, "5:cpuset:/app\n6:cpuacct:/app\n", files) == 16


def test_a_group_with_a_colon_in_its_name_is_read(tmp_path: Path) -> None:
    assert count(tmp_path, "0::/a:b\n", {"a:b/cpu.max": "200000 100000"}) == 2


def test_affinity_counts_where_it_is_tighter(tmp_path: Path) -> None:
    assert count(tmp_path, "0::/app\n", {"app/cpu.max": "400000 100000"}, affinity=2) == 2


def test_without_control_groups_affinity_is_all(tmp_path: Path) -> None:
    assert usable_cpus(affinity=7, proc=tmp_path / "none", root=tmp_path) == 7


def test_on_this_machine_it_is_between_one_and_the_affinity() -> None:
    assert 1 <= usable_cpus() <= len(os.sched_getaffinity(0))
