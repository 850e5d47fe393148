"""The same epoch of LightGCN beside PyTorch's sparse CSR product, which is faster than the public code's COO."""

from __future__ import annotations

from benchmarks.lightgcn import Case, beside

name = "lightgcn_csr"
reach, aim = 3.5, 5.0


def cases(quick: bool) -> Case:
    """Beside CSR."""
    return beside(quick, "CSR")
