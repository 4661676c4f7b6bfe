"""What do the model's errors have in common?"""

from underhood.playbooks.errors.playbook import Errors

__all__ = ["Errors"]
