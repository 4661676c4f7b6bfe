"""Does the model use what it should not? Candidates are found in pictures and maps, and tested causally."""

from underhood.playbooks.shortcuts.playbook import Shortcuts

__all__ = ["Shortcuts"]
