"""Health checks that ask the cluster; their keys are those of a step's check."""

from __future__ import annotations

from typing import TypeVar

from attrs import AttrsInstance, asdict, frozen
from playbook_kernel.api import Health, Probe, Target

from .checks import answer
from .kubectl import ClusterError, ClusterOptions, Kubectl
from .manifests import SERVICE, TRIAL

OptionsT = TypeVar("OptionsT", bound=AttrsInstance)


@frozen
class PodOptions:
    """``min_ready`` pods that ``selector`` names (the service's own, without one) must be ready."""

    selector: str = ""
    min_ready: int = 1
    namespace: str = ""


@frozen
class DeploymentOptions:
    """``name``: the service's, unless said otherwise; ``replicas``: as many as the deployment asks for, likewise."""

    name: str = ""
    replicas: int | None = None
    namespace: str = ""


@frozen
class ResourceOptions:
    """Which object."""

    kind: str
    name: str
    namespace: str = ""


@frozen
class EndpointsOptions:
    """``min_endpoints`` ready addresses of the service object ``name`` (the service's, unless said otherwise)."""

    name: str = ""
    min_endpoints: int = 1
    namespace: str = ""


class _ClusterProbe(Probe[OptionsT]):
    asks = ""

    def check(self, target: Target) -> Health:
        node, service = target.node, target.service
        options = ClusterOptions(**dict(node.composer_options))
        told = asdict(self.options)
        namespace = str(service.options.get("namespace") or options.namespace)
        own = f"{TRIAL}={target.owner},{SERVICE}={service.name}"
        try:
            kubectl = Kubectl(target.session, options)
            seen = answer(kubectl, self.asks, told, service=service.name, namespace=namespace, own=own)
        except ClusterError as error:
            return Health(ok=False, detail=str(error))
        return Health(ok=seen.ok, detail=seen.detail)


class PodReady(_ClusterProbe[PodOptions]):
    """So many pods are running and ready."""

    asks = "pod_ready"


class DeploymentReady(_ClusterProbe[DeploymentOptions]):
    """All replicas of a deployment are ready and available."""

    asks = "deployment_ready"


class ResourceExists(_ClusterProbe[ResourceOptions]):
    """An object of any kind is there."""

    asks = "resource_exists"


class ResourceReady(_ClusterProbe[ResourceOptions]):
    """An object is there and ready: a volume claim bound, a deployment complete."""

    asks = "resource_ready"


class ServiceEndpoints(_ClusterProbe[EndpointsOptions]):
    """A service object has so many ready addresses."""

    asks = "service_endpoints"
