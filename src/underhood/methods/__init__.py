"""Why this prediction: one file per method, each pure maths over the engine."""

from underhood.methods.card import QUESTIONS, Card
from underhood.methods.eigencam import EigenCAM, EigenGradCAM
from underhood.methods.explain import METHODS, as_methods, explain, explain_each
from underhood.methods.explanation import Explanation, Explanations, Subject
from underhood.methods.gradcam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
from underhood.methods.guided import Deconvnet, GuidedBackprop
from underhood.methods.integrated_gradients import IntegratedGradients
from underhood.methods.method import Attribution, Method
from underhood.methods.occlusion import Occlusion
from underhood.methods.saliency import InputXGradient, Saliency
from underhood.methods.smoothgrad import SmoothGrad

__all__ = [
    "METHODS",
    "QUESTIONS",
    "Attribution",
    "Card",
    "Deconvnet",
    "EigenCAM",
    "EigenGradCAM",
    "Explanation",
    "Explanations",
    "GradCAM",
    "GradCAMPlusPlus",
    "GuidedBackprop",
    "HiResCAM",
    "InputXGradient",
    "IntegratedGradients",
    "LayerCAM",
    "Method",
    "Occlusion",
    "Saliency",
    "SmoothGrad",
    "Subject",
    "XGradCAM",
    "as_methods",
    "explain",
    "explain_each",
]
