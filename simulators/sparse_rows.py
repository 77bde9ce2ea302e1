"""Rows of a linear programme, collected term by term and handed over as one sparse matrix."""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class SparseRows:
    """Constraints of one kind. Add a block of right-hand sides first, then coefficients to its rows."""

    def __init__(self) -> None:
        self._row: list[IntArray] = []
        self._column: list[IntArray] = []
        self._value: list[FloatArray] = []
        self._bound: list[FloatArray] = []
        self._rows = 0

    def block(self, bound: FloatArray) -> int:
        """Add rows with these right-hand sides; returns the index of the first."""
        first = self._rows
        self._rows += bound.size
        self._bound.append(bound)
        return first

    def add(self, rows: IntArray, columns: IntArray, value: float) -> None:
        """Add `value` at each (row, column); several terms at one place add up."""
        self._row.append(rows)
        self._column.append(columns)
        self._value.append(np.full(rows.size, value))

    def matrix(self, columns: int) -> csr_array[np.float64]:
        """Return the matrix, shape (rows so far, columns)."""
        index = (np.concatenate(self._row), np.concatenate(self._column))
        return csr_array((np.concatenate(self._value), index), shape=(self._rows, columns))

    def bounds(self) -> FloatArray:
        """Return the right-hand sides, shape (rows so far,)."""
        return np.concatenate(self._bound)
