"""DeepLIFT and DeepSHAP: multipliers of all operations, RevealCancel, the methods."""

from underhood.methods.deeplift.method import DeepLIFT, DeepSHAP

__all__ = ["DeepLIFT", "DeepSHAP"]
