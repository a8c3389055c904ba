"""Notes the version of the accelerators' driver; it stands in the report's fingerprint, and comparisons show it."""

from collections.abc import Mapping

from playbook_kernel.api import Fact, Node, Session, TrialContext, hookimpl


@hookimpl
def playbook_discover(ctx: TrialContext, node: Node, session: Session) -> Mapping[str, Fact] | None:
    """None for a node without accelerators: this plugin has nothing to say of it."""
    done = session.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], check=False)
    versions = sorted(set(done.text.split()))
    return {"site.driver": versions[0] if len(versions) == 1 else list(versions)} if done.ok else None
