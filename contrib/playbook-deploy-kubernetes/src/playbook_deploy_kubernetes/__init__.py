"""Services on Kubernetes, by kubectl on a node."""

from .composer import KubernetesComposer

__all__ = ["KubernetesComposer"]
