"""Keras layers for sequences of items with feedback."""

from keras_negrec.layers.convolutional_sequence_embedding import ConvolutionalSequenceEmbedding
from keras_negrec.layers.event_dropout import EventDropout
from keras_negrec.layers.feedback_embedding import FeedbackEmbedding
from keras_negrec.layers.feedback_similarity import FeedbackSimilarity
from keras_negrec.layers.gated_attention import GatedAttention
from keras_negrec.layers.item_embedding import ItemEmbedding
from keras_negrec.layers.keep_logit import KeepLogit
from keras_negrec.layers.ligr_block import LiGRBlock
from keras_negrec.layers.negative_sampler import NegativeSampler
from keras_negrec.layers.periodic_time_embedding import PeriodicTimeEmbedding
from keras_negrec.layers.prediction_head import PredictionHead
from keras_negrec.layers.projection_head import ProjectionHead
from keras_negrec.layers.sampled_logits import SampledLogits
from keras_negrec.layers.session_position_embedding import SessionPositionEmbedding
from keras_negrec.layers.swiglu import SwiGLU
from keras_negrec.layers.take_positions import TakePositions
from keras_negrec.layers.time_buckets import TimeBuckets
from keras_negrec.layers.transformer_block import TransformerBlock

__all__ = [
    "ConvolutionalSequenceEmbedding",
    "EventDropout",
    "FeedbackEmbedding",
    "FeedbackSimilarity",
    "GatedAttention",
    "ItemEmbedding",
    "KeepLogit",
    "LiGRBlock",
    "NegativeSampler",
    "PeriodicTimeEmbedding",
    "PredictionHead",
    "ProjectionHead",
    "SampledLogits",
    "SessionPositionEmbedding",
    "SwiGLU",
    "TakePositions",
    "TimeBuckets",
    "TransformerBlock",
]


def __dir__():
    return __all__
