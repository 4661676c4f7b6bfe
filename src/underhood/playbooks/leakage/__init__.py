"""Leakage: what tells the label though it should not."""

from underhood.playbooks.leakage.playbook import Leakage

__all__ = ["Leakage"]
