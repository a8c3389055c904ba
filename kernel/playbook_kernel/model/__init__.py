"""Plain data that flows between kernel and plugins: frozen attrs classes, no behaviour beyond arithmetic.

Everything here can cross a process boundary: it is made of JSON-like values, paths and other classes of this package.
"""

from .events import (
    EVENTS,
    ArtifactKept,
    CampaignEnded,
    CampaignStarted,
    Event,
    FactsFound,
    HealthChecked,
    Output,
    PhaseEnded,
    PhaseStarted,
    Progress,
    ReportWritten,
    ResidueFound,
    ScenarioEnded,
    ScenarioSkipped,
    ServiceChanged,
    TrialEnded,
    TrialStarted,
    Waiting,
    Warned,
)
from .fleet import DriverRef, Endpoint, Node
from .results import (
    Artifact,
    CampaignResult,
    Deployment,
    Fact,
    Health,
    Instance,
    Measurement,
    Metric,
    PhaseOutcome,
    PhaseStatus,
    Residue,
    ScenarioResult,
    ServiceStatus,
    Status,
    TrialResult,
)
from .scenario import (
    PHASES,
    Check,
    Condition,
    Configuration,
    Edge,
    HealthPolicy,
    Load,
    Phase,
    PluginPolicy,
    Policy,
    RetryPolicy,
    Scenario,
    Service,
    Timeouts,
    Trial,
)

__all__ = [
    "EVENTS", "PHASES", "Artifact", "ArtifactKept", "CampaignEnded", "CampaignResult", "CampaignStarted", "Check",
    "Condition", "Configuration", "Deployment", "DriverRef", "Edge", "Endpoint", "Event", "Fact", "FactsFound", "Health",
    "HealthChecked", "HealthPolicy", "Instance", "Load", "Measurement", "Metric", "Node", "Output", "Phase", "PhaseEnded",
    "PhaseOutcome", "PhaseStarted", "PhaseStatus", "PluginPolicy", "Policy", "Progress", "ReportWritten", "Residue",
    "ResidueFound", "RetryPolicy", "Scenario", "ScenarioEnded", "ScenarioResult", "ScenarioSkipped", "Service",
    "ServiceChanged", "ServiceStatus", "Status", "Timeouts", "Trial", "TrialEnded", "TrialResult", "TrialStarted",
    "Waiting", "Warned",
]  # fmt: skip
