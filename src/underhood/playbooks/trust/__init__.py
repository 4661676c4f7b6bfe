"""Trust: how far can the audit's own maps be believed?"""

from underhood.playbooks.trust.playbook import Trust

__all__ = ["Trust"]
