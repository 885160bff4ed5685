"""Target domains that one can make: declared degradations of HR photographs, with ground truth for measuring."""

from pdd_arch.degradations.camera import DOMAINS, Domain
from pdd_arch.target_domains.make import make_domain

__all__ = ['DOMAINS', 'Domain', 'make_domain']
