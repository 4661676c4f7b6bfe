"""Subgroups: for whom is the model worse?"""

from underhood.playbooks.subgroups.playbook import Subgroups

__all__ = ["Subgroups"]
