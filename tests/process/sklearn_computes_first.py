"""The mistake that sklearn_cases.py avoids: OpenMP's threads are started at import, and no worker has them."""

from sklearn_cases import boosting, by_openmp

__all__ = ["by_openmp"]

boosting()
