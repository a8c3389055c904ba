"""Load from the machines of a dask.distributed cluster."""

from .executor import DaskExecutor
from .options import DaskOptions

__all__ = ["DaskExecutor", "DaskOptions"]
