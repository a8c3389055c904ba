"""For benchmarks that run another project's command line, on a node or in a container there, and read what it wrote."""

from .figures import collect, latencies
from .tool import ToolBenchmark, ToolOptions

__all__ = ["ToolBenchmark", "ToolOptions", "collect", "latencies"]
