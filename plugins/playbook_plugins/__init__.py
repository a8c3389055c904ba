"""The plugins that come with playbook-kernel; they enter by the same door as a stranger's."""
