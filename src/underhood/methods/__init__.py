"""Why this prediction: one file per method, each pure maths over the engine."""

from underhood.methods.ablationcam import AblationCAM
from underhood.methods.attention import RawAttention
from underhood.methods.attention_relevance import AttentionRelevance
from underhood.methods.blur_ig import BlurIG
from underhood.methods.card import QUESTIONS, Card
from underhood.methods.deconvnet_sheet import DeconvnetSheet, deconvnet_sheet
from underhood.methods.deeplift import DeepLIFT, DeepSHAP
from underhood.methods.eigencam import EigenCAM, EigenGradCAM
from underhood.methods.expected_gradients import ExpectedGradients
from underhood.methods.explain import METHODS, as_methods, explain, explain_each
from underhood.methods.explanation import Explanation, Explanations, Subject
from underhood.methods.fullgrad import FullGrad
from underhood.methods.given import Drawn, Given
from underhood.methods.gradcam import GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM
from underhood.methods.guided import Deconvnet, GuidedBackprop
from underhood.methods.guided_gradcam import GuidedGradCAM
from underhood.methods.guided_ig import GuidedIG
from underhood.methods.integrated_gradients import IntegratedGradients
from underhood.methods.kernel_shap import KernelSHAP
from underhood.methods.lime import LIME
from underhood.methods.lrp import LRP
from underhood.methods.method import Attribution, Method
from underhood.methods.occlusion import Occlusion
from underhood.methods.partition_shap import PartitionSHAP
from underhood.methods.rise import RISE
from underhood.methods.rollout import AttentionRollout
from underhood.methods.saliency import InputXGradient, Saliency
from underhood.methods.saved import load_explanations, model_of
from underhood.methods.scorecam import ScoreCAM
from underhood.methods.shapley import ExactShapley, ShapleySampling
from underhood.methods.smoothgrad import SmoothGrad

__all__ = [
    "LIME",
    "LRP",
    "METHODS",
    "QUESTIONS",
    "RISE",
    "AblationCAM",
    "AttentionRelevance",
    "AttentionRollout",
    "Attribution",
    "BlurIG",
    "Card",
    "Deconvnet",
    "DeconvnetSheet",
    "DeepLIFT",
    "DeepSHAP",
    "Drawn",
    "EigenCAM",
    "EigenGradCAM",
    "ExactShapley",
    "ExpectedGradients",
    "Explanation",
    "Explanations",
    "FullGrad",
    "Given",
    "GradCAM",
    "GradCAMPlusPlus",
    "GuidedBackprop",
    "GuidedGradCAM",
    "GuidedIG",
    "HiResCAM",
    "InputXGradient",
    "IntegratedGradients",
    "KernelSHAP",
    "LayerCAM",
    "Method",
    "Occlusion",
    "PartitionSHAP",
    "RawAttention",
    "Saliency",
    "ScoreCAM",
    "ShapleySampling",
    "SmoothGrad",
    "Subject",
    "XGradCAM",
    "as_methods",
    "deconvnet_sheet",
    "explain",
    "explain_each",
    "load_explanations",
    "model_of",
]
