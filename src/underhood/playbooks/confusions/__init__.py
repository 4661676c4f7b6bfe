"""Which classes does the model confuse, and what do they have in common for it?"""

from underhood.playbooks.confusions.playbook import Confusions

__all__ = ["Confusions"]
